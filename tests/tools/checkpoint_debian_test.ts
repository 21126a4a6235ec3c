/**
 * Claims about checkpoints of Debian on the command line: it goes on with its files, forks of it are somebody
 * else, and what differs between two moments has names.
 */
import { assert, assertEquals } from "@std/assert";
import { debianTest } from "../_support/debian.ts";
import { REAL, User } from "./user.ts";

debianTest(
  "disks are what they were at a checkpoint, whatever is written to them since",
  async () => {
    await using user = await User.make(REAL);
    const done = async (...words: string[]) => {
      const { code, out, err } = await user.cli(...words);
      assertEquals([words, code, err], [words, 0, ""]);
      return out;
    };
    const write = (vm: string, text: string) =>
      done("exec", vm, "--", "sh", "-c", `echo ${text} > /dev/vda; sync`);
    const read = (vm: string) => done("exec", vm, "--", "head", "-n", "1", "/dev/vda");
    await done("disk", "create", "d.qcow2", "16M");
    await done("run", "debian", "-d", "--name", "w", "--memory", "256M", "--drive", "d.qcow2");
    await write("w", "one");
    await done("checkpoint", "create", "w", "A");
    await write("w", "two");
    const kept = await done("checkpoint", "create", "w", "B", "--disk", "retain");
    assert(/^a disk goes on in .*\.qcow2$/m.test(kept), kept);
    await write("w", "three");
    await done("fork", "w");
    assertEquals(await read("w-1"), "three\n");
    await write("w-1", "four");
    assertEquals(await done("checkpoint", "restore", "A", "-d"), "w-2\n");
    assertEquals(await done("checkpoint", "restore", "B", "-d"), "w-3\n");
    assertEquals([await read("w-2"), await read("w-3")], ["one\n", "two\n"]);
    await done("suspend", "w");
    await done("resume", "w", "-d");
    assertEquals([await read("w"), await read("w-1")], ["three\n", "four\n"]);
    await done("stop", "w", "w-1", "w-2", "w-3", "--force");
    assertEquals(await done("checkpoint", "verify"), "3 checkpoints: no damage\n");
  },
);

debianTest("Debian is kept, suspended, resumed and forked", async () => {
  await using user = await User.make(REAL);
  const done = async (...words: string[]) => {
    const { code, out, err } = await user.cli(...words);
    assertEquals([words, code, err], [words, 0, ""]);
    return out;
  };
  const inVm = (vm: string, command: string) => done("exec", vm, "--", "sh", "-c", command);
  await done("run", "debian", "-d", "--name", "web", "--memory", "256M");
  const uuid = await inVm("web", "echo one > /tmp/note; cat /proc/sys/kernel/random/boot_id");
  await done("checkpoint", "create", "web", "before");
  await inVm("web", "echo two > /tmp/note");
  const { counts } = JSON.parse(await done("checkpoint", "create", "web", "after", "--json"));
  assert(counts.added < 20_000, `${counts.added} pages were written by one command`);

  await Deno.writeTextFile(`${user.home}/kallsyms`, await inVm("web", "cat /proc/kallsyms"));
  const words = ["checkpoint", "diff", "before", "after", "--symbols", "kallsyms", "--json"];
  const { pages, registers } = JSON.parse(await done(...words));
  const names: string[] = pages.named.flatMap(({ symbols }: { symbols: string[] }) => symbols);
  // Ticks were counted meanwhile, and that counter lies in the kernel's data.
  assert(pages.namedCount > 0 && pages.namedCount < pages.count, JSON.stringify(pages.named));
  assert(names.length > 0 && registers.length > 0);

  await done("suspend", "web");
  assertEquals(await done("resume", "web", "-d"), "web\n");
  assertEquals(await inVm("web", "cat /tmp/note /proc/sys/kernel/random/boot_id"), `two\n${uuid}`);
  assertEquals(await done("fork", "web", "-n", "2"), "web-1\nweb-2\n");
  assertEquals(
    await inVm("web-1", "cat /tmp/note; hostname; echo three > /tmp/note"),
    "two\nweb-1\n",
  );
  assertEquals(await inVm("web-2", "cat /tmp/note; hostname"), "two\nweb-2\n");
  await done("stop", "web", "web-1", "web-2", "--force");
  assertEquals(await done("checkpoint", "restore", "before", "-d"), "web\n");
  assertEquals(await inVm("web", "cat /tmp/note /proc/sys/kernel/random/boot_id"), `one\n${uuid}`);
  assertEquals(await done("checkpoint", "verify"), "3 checkpoints: no damage\n");
});
