/**
 * A Debian that is ready at once, because it was booted before (`Kernel.ready`): the checkpoint of its kind is
 * used, by VMs that are their own; whatever is wrong with it, the guest boots.
 */
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import type { CheckpointHead, Kernel, ReadyOptions, VM } from "../../mod.ts";
import { ConfigError, VMKernel } from "../../mod.ts";
import { aboutOf, saveMemory } from "../_support/checkpoints.ts";
import { debianTest } from "../_support/debian.ts";
import { until } from "../_support/until.ts";
import { countingGuest } from "../_support/counting_guest.ts";
import { writingGuest } from "../_support/writing_guest.ts";
import { hostFiles } from "../../kernel/host/files.ts";
import { hostEntropy } from "../../kernel/host/entropy.ts";
import { hostPageCodec } from "../../kernel/host/page_codec.ts";
import { CheckpointStore } from "../../kernel/checkpoint/checkpoint_store.ts";
import { withFolder } from "../_support/folder.ts";

const DEBIAN: ReadyOptions = { guest: "debian", memory: "128M" };
/** More instructions than a command takes, and far fewer than a boot. */
const SOME_INSTRUCTIONS = 100_000_000;

interface Started {
  readonly kernel: Kernel;
  readonly warnings: string[];
  readonly warm: () => number;
}

async function start(checkpoints: string): Promise<Started & AsyncDisposable> {
  const warnings: string[] = [];
  const kernel = await VMKernel.start({ checkpoints, warn: (line) => warnings.push(line) });
  const warm = () => kernel.metrics.snapshot().vms_warm_total!;
  return { kernel, warnings, warm, [Symbol.asyncDispose]: () => kernel.stop() };
}

function storeOf(path: string): CheckpointStore {
  return new CheckpointStore(
    { files: hostFiles, codec: hostPageCodec, entropy: hostEntropy },
    path,
  );
}

const readyOf = (path: string) =>
  storeOf(path).list().flatMap(({ head }) => head?.kind === "ready" ? [head] : []);

const withStore = (act: (folder: string) => Promise<void>) =>
  withFolder((folder) => act(`${folder}/store`));

let booted: Promise<string> | undefined;

/** The same for a folder in which a Debian is kept already; booted once for all tests. */
async function withBooted(act: (folder: string, head: CheckpointHead) => Promise<void>) {
  const from = await (booted ??= boot());
  await withStore(async (folder) => {
    for (const part of ["", "/packs", "/checkpoints"]) {
      await Deno.mkdir(`${folder}${part}`);
      for (const { name, isFile } of Deno.readDirSync(`${from}${part}`)) {
        if (isFile) await Deno.copyFile(`${from}${part}/${name}`, `${folder}${part}/${name}`);
      }
    }
    await act(folder, readyOf(folder)[0]!);
  });
}

async function boot(): Promise<string> {
  const folder = `${await Deno.makeTempDir()}/store`;
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  await using started = await start(folder);
  const vm = await started.kernel.ready(DEBIAN);
  assertEquals(started.warm(), 0);
  // The command runs while the guest is kept as it was before.
  assertEquals((await vm.exec("echo first > /run/mark; echo $?")).text, "0\n");
  await vm.powerOff();
  // The kernel's end waits for it, though not for ever.
  await until("the guest is kept", () => readyOf(folder).length > 0);
  await started.kernel.stop();
  assertEquals(started.warnings, []);
  const [head, ...others] = readyOf(folder);
  assert(head !== undefined && head.kind === "ready" && head.key.length === 64);
  assertEquals([others, await storeOf(folder).verify()], [[], []]);
  return folder;
}

async function shell(vm: VM, lines: string): Promise<string> {
  const { status, text, stderr } = await vm.exec(["sh", "-ec", lines]);
  assertEquals(status, 0, new TextDecoder().decode(stderr));
  return text.trim();
}

debianTest("a guest that is kept is ready at once, each time as a VM of its own", async () => {
  await withBooted(async (folder, head) => {
    const seen: string[][] = [];
    for (let time = 1; time <= 3; time++) {
      await using started = await start(folder);
      const { kernel, warm } = started;
      const vm = await kernel.ready({ ...DEBIAN, name: `web${time}` });
      assertEquals([warm(), vm.name, vm.guest], [1, `web${time}`, "debian"]);
      const who = await shell(vm, "cat /sys/class/net/eth0/address; hostname; ! cat /run/mark");
      // Nothing of the first command is there: the guest was kept before it.
      assertEquals(who, `${vm.identity!.mac}\nweb${time}`);
      const random = await shell(vm, "head -c 16 /dev/urandom | od -An -tx1");
      const { instructions } = await vm.stats();
      assert(instructions - head.icount < SOME_INSTRUCTIONS, `${instructions - head.icount}`);
      const { mac, uuid, generation } = vm.identity!;
      seen.push([mac, uuid, generation, random]);
      // The first one teaches what the others use first.
      const workingSet = `${folder}/checkpoints/${head.id}.working-set`;
      if (time === 2) assert(await Deno.stat(workingSet));
      await until("the working set is kept", async () => {
        await vm.stats();
        return hostFiles.exists(workingSet);
      });
      await vm.powerOff();
      assertEquals(started.warnings, []);
    }
    for (let part = 0; part < 4; part++) {
      assertEquals(
        new Set(seen.map((who) => who[part])).size,
        3,
        `${seen.map((who) => who[part])}`,
      );
    }
    // Two in one kernel.
    await using started = await start(folder);
    const [a, b] = await Promise.all([started.kernel.ready(DEBIAN), started.kernel.ready(DEBIAN)]);
    assertEquals(started.warm(), 2);
    assertNotEquals(a.identity!.uuid, b.identity!.uuid);
    assertEquals(await Promise.all([shell(a, "echo a"), shell(b, "echo b")]), ["a", "b"]);
  });
});

debianTest("a working set that is damaged is a warning, and learned again", async () => {
  await withBooted(async (folder, { id }) => {
    const path = `${folder}/checkpoints/${id}.working-set`;
    await Deno.writeTextFile(path, "no working set");
    for (const warnings of [1, 0]) {
      await using started = await start(folder);
      const vm = await started.kernel.ready(DEBIAN);
      assertEquals([started.warm(), await shell(vm, "echo here")], [1, "here"]);
      await vm.powerOff();
      assertEquals(started.warnings.length, warnings, started.warnings.join());
      assert(started.warnings.every((line) => line.includes(`working set of checkpoint ${id}`)));
    }
    // How many pages are used in a second, a busy host decides.
    assert((await Deno.stat(path)).size > 100_000);
  });
});

debianTest(
  "options, drives and cold starts: what is no guest of the kind that is kept boots",
  async () => {
    await withBooted(async (folder) => {
      await using started = await start(folder);
      const { kernel, warm } = started;
      const before = readyOf(folder);
      const boots: ReadyOptions[] = [
        { ...DEBIAN, cold: true },
        { ...DEBIAN, trace: true },
        { ...DEBIAN, record: `${folder}/recording` },
        { ...DEBIAN, waitsForDebugger: true },
      ];
      for (const options of boots) {
        // It is there before its guest is ready.
        const vm = await kernel.ready(options);
        assertEquals([warm(), vm.hasAgent], [0, false]);
        await vm.powerOff();
      }
      const other = kernel.ready({ ...DEBIAN, memory: "192M" }).catch(() => {});
      await kernel.stop({ now: true });
      await other;
      assertEquals([warm(), readyOf(folder)], [0, before]);
      assertEquals(await storeOf(folder).verify(), []);
    });
  },
);

debianTest(
  "a damaged checkpoint is a warning: the guest boots, and is kept anew; the oldest go",
  async () => {
    await withBooted(async (folder, { id, key }) => {
      const store = storeOf(folder);
      const others: string[] = [];
      for (let age = 0; age < 10; age++) {
        const about = aboutOf({ kind: "ready", key: `other ${age}`, created: 1_000_000 + age });
        others.push(await saveMemory(store, [1, 2, 3], { about }));
      }
      const mine = await saveMemory(store, [1, 2], { about: aboutOf({ key }) });
      const path = `${folder}/checkpoints/${id}.checkpoint`;
      const bytes = await Deno.readFile(path);
      bytes[bytes.length - 20]! ^= 1;
      await Deno.writeFile(path, bytes);
      await using started = await start(folder);
      const { kernel, warm, warnings } = started;
      const vm = await kernel.ready(DEBIAN);
      assertEquals([warm(), warnings.length], [0, 1], warnings.join());
      assert(warnings[0]!.includes(id), warnings[0]);
      assertEquals(await shell(vm, "echo here"), "here");
      await vm.powerOff();
      await until("the guest is kept anew, and the oldest go", () => readyOf(folder).length === 8);
      await kernel.stop();
      const ready = readyOf(folder);
      const [made] = ready.filter((head) => head.key === key);
      assertNotEquals(made!.id, id);
      assertEquals(ready.map((head) => head.id), [...others.slice(3), made!.id]);
      // What a user keeps is nobody else's to delete.
      assertEquals([store.has(id), store.has(mine)], [false, true]);
      await using again = await start(folder);
      const clone = await again.kernel.ready(DEBIAN);
      assertEquals([again.warm(), await shell(clone, "echo there")], [1, "there"]);
    });
  },
);

Deno.test("a guest that ends before it is ready is given, and nothing is kept", async () => {
  await withStore(async (folder) => {
    await using started = await start(folder);
    const vm = await started.kernel.ready({ guest: "hello" });
    assertEquals((await vm.waitForExit()).why, "power-off");
    await started.kernel.stop();
    assertEquals([readyOf(folder), started.warnings], [[], []]);
  });
});

debianTest("a process that is killed while it keeps a guest leaves nothing half", async () => {
  await withStore(async (folder) => {
    const main = new URL("../_support/ready_killed_main.ts", import.meta.url);
    const command = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", main.pathname, folder],
      stdin: "null",
    });
    const { signal } = await command.output();
    assertEquals(signal, "SIGKILL");
    const store = storeOf(folder);
    assertEquals(await store.verify(), []);
    assert(store.list().every(({ problem }) => problem === undefined));
    await store.collect();
    const left = [
      ...Deno.readDirSync(`${folder}/packs`),
      ...Deno.readDirSync(`${folder}/checkpoints`),
    ];
    assertEquals(left.length, 2 * store.list().length, left.map(({ name }) => name).join());
  });
});

debianTest(
  "a working set is learned from a recording in which its checkpoint was taken",
  async () => {
    await withStore(async (folder) => {
      const recording = `${folder}/recording`;
      await using started = await start(folder);
      const { kernel, warnings } = started;
      const vm = await kernel.powerOn({ ...DEBIAN, clock: "virtual", record: recording });
      await vm.untilReady();
      const { id } = await kernel.checkpoint(vm);
      assertEquals(await shell(vm, "echo recorded"), "recorded");
      await vm.powerOff();
      const pages = await kernel.learnWorkingSet(id, recording, 200);
      assert(pages > 100 && pages < 10_000, `${pages}`);
      const { size } = await Deno.stat(`${folder}/checkpoints/${id}.working-set`);
      assert(size > 4096 && size <= (pages + 1) * 4096 + 4096, `${size}`);
      const restored = await kernel.restore(id);
      assertEquals(await shell(restored, "echo restored"), "restored");
      await restored.powerOff();
      assertEquals(warnings, []);
    });
  },
);

Deno.test("a recording teaches only the checkpoint whose machine it has, there or from there on", async () => {
  await withStore(async (folder) => {
    await using started = await start(folder);
    const { kernel } = started;
    const recordings = `${folder}/recordings`;
    await Deno.mkdir(recordings, { recursive: true });
    const small = { memory: "16M", bios: "none", clock: "virtual" } as const;
    const taken = `${recordings}/taken`;
    const writing = `${recordings}/writing.bin`;
    const counting = `${recordings}/counting.bin`;
    await Deno.writeFile(writing, writingGuest());
    await Deno.writeFile(counting, countingGuest());
    const vm = await kernel.powerOn({ ...small, kernel: writing, record: taken });
    await printed(vm);
    const { id, icount } = await kernel.checkpoint(vm);
    await goToItsEnd(vm);
    const from = `${recordings}/from`;
    const goneOn = await kernel.restore(id, { paused: true });
    await goneOn.startRecording({ folder: from });
    await goneOn.resume();
    await goToItsEnd(goneOn);
    for (const recording of [taken, from]) {
      assert(await kernel.learnWorkingSet(id, recording) > 500, recording);
    }
    const workingSet = `${folder}/checkpoints/${id}.working-set`;
    const learned = await Deno.readFile(workingSet);

    const refused = (id: string, recording: string, why: string) =>
      assertRejects(() => kernel.learnWorkingSet(id, recording), ConfigError, why);
    const short = `${recordings}/short`;
    const other = await kernel.powerOn({ ...small, kernel: counting, record: short });
    await printed(other);
    const otherHead = await kernel.checkpoint(other);
    const otherId = otherHead.id;
    await other.powerOff();
    await refused(id, short, `ends before instruction ${icount}, where checkpoint ${id}`);
    await refused(otherId, taken, `its registers are not those of checkpoint ${otherId}`);
    const later = `${recordings}/later`;
    const ahead = await kernel.restore(otherId);
    await ahead.console.write("a");
    await printed(ahead);
    await ahead.startRecording({ folder: later });
    await ahead.powerOff();
    await refused(
      otherId,
      later,
      `, behind instruction ${otherHead.icount}, where checkpoint ${otherId}`,
    );
    const large = `${recordings}/large`;
    const hello = await kernel.powerOn({ guest: "hello", memory: "64M", record: large });
    await hello.waitForExit();
    await refused(id, large, "other memory");
    await assertRejects(() => kernel.learnWorkingSet(id, taken, 0), ConfigError, "0 ms");

    assertEquals(await Deno.readFile(workingSet), learned);
    assert(!hostFiles.exists(`${folder}/checkpoints/${otherId}.working-set`));
  });
});

/** Waits until a VM prints something. */
async function printed(vm: VM): Promise<void> {
  const reader = vm.console.readable.getReader();
  await reader.read();
  reader.releaseLock();
}

/** Lets a writing guest go on where it waits, to its end. */
async function goToItsEnd(vm: VM): Promise<void> {
  await vm.console.write("x");
  await vm.waitForExit();
}
