/**
 * Claims about Debian in a detached process: commands in it, its console from two terminals, a reader
 * that stops, and its clean end.
 */
import { assert, assertEquals } from "@std/assert";
import { ControlClient } from "../../tools/cli/control/client.ts";
import { debianTest, PROMPT } from "../_support/debian.ts";
import { readUntil, REAL, User } from "./user.ts";

debianTest("Debian runs on without its terminal, is attached to, asked, and stopped", async () => {
  await using user = await User.make(REAL);
  const disk = `${user.home}/disk.img`;
  await Deno.writeFile(disk, new Uint8Array(1 << 20));
  const run = await user.cli("run", "debian", "-d", "--memory", "256M", "--drive", disk);
  assertEquals(run, { code: 0, out: "debian-1\n", err: "" });

  const piped = await user.feed(
    "from here\n",
    ...["exec", "debian-1", "--", "sh", "-c", "cat; echo aside >&2; exit 7"],
  );
  assertEquals(piped, { code: 7, out: "from here\n", err: "aside\n" });

  const attached = user.start("attach", "debian-1");
  const shown = await readUntil(attached.stdout, (text) => text.includes(PROMPT));
  assert(shown.includes("Leave with 'exit'"), shown);
  const writer = attached.stdin.getWriter();
  await writer.write(
    new TextEncoder().encode("echo $((6 * 7)) > /tmp/answer; echo it is $(cat /tmp/answer)\n"),
  );
  await readUntil(attached.stdout, (text) => text.includes("it is 42"));
  assertEquals((await user.cli("exec", "debian-1", "--", "cat", "/tmp/answer")).out, "42\n");

  await readsSlowly(`${user.sockets}/${user.files()[0]}`);

  // A power-off writes back what programs left in the page cache.
  const write = "echo kept > /dev/vda; sleep 1000 & echo started";
  assertEquals((await user.cli("exec", "debian-1", "--", "sh", "-c", write)).out, "started\n");
  assertEquals(await user.cli("stop", "debian-1", "--timeout", "240"), {
    code: 0,
    out: "",
    err: "",
  });
  assertEquals((await attached.status).code, 0);
  await writer.close().catch(() => {});
  const bytes = await Deno.readFile(disk);
  assertEquals(new TextDecoder().decode(bytes.subarray(0, 5)), "kept\n");
  assertEquals((await user.cli("ps", "--json")).out, "[]\n");
});

/** A command that prints much to a reader that stops for a while: nothing is lost, the VM goes on. */
async function readsSlowly(socket: string): Promise<void> {
  const total = 6 * 1024 * 1024;
  using deaf = await Deno.connect({ transport: "unix", path: socket });
  const words = ["head", "-c", `${total}`, "/dev/zero"];
  const request = { version: 2, id: 1, command: "exec", vm: "debian-1", words };
  await deaf.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));

  // Its command stands still before it is done, and other commands run meanwhile.
  using client = await ControlClient.connect(socket);
  const ask = async (command: string) => {
    let out = "";
    const asked = { vm: "debian-1", words: ["sh", "-c", command] };
    await client.ask("exec", asked, {
      onEvent: (event) => {
        if (event.kind === "stdout") out += atob(event.data);
      },
    });
    return out;
  };
  while (!(await ask("cat /proc/[0-9]*/stat")).includes("(head) T")) { /* it still prints */ }

  let [text, got, status] = ["", 0, undefined as number | undefined];
  const decoder = new TextDecoder();
  for await (const bytes of deaf.readable) {
    const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      const { event, result } = JSON.parse(line);
      if (event?.kind === "stdout") got += Uint8Array.fromBase64(event.data).length;
      status ??= result?.status;
    }
    if (status !== undefined) break;
  }
  assertEquals([got, status], [total, 0]);
}
