/** Claims about commands run in a guest, over a fake machine with a pretended agent. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, HostError } from "../../kernel/mod.ts";
import { Prng } from "../../kernel/base/prng.ts";
import {
  encodeExecFrame,
  EXEC_PAYLOAD_BYTES,
  ExecFrameReader,
} from "../../kernel/world/exec_protocol.ts";
import { behave, fakeKernel } from "./support.ts";

Deno.test("exec() gives a command's status and output", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("agent"));
  const { status, text, stderr } = await vm.exec(["echo", "a", "b"]);
  assertEquals([status, text, stderr.length], [0, "a b\n", 0]);
  assertEquals((await vm.exec("uname -a")).text, "-c uname -a\n");
  const failed = await vm.exec(["fail", "7"]);
  assertEquals(failed.status, 7);
  assertEquals(new TextDecoder().decode(failed.stderr), "it failed\n");
  await assertRejects(() => vm.exec(["nonsense"]), HostError, "nonsense: not found");
  await assertRejects(() => vm.exec([]), HostError, "empty command");
  const long = "x".repeat(EXEC_PAYLOAD_BYTES - 5);
  assertEquals((await vm.exec(["echo", long])).text, `${long}\n`);
  await assertRejects(() => vm.exec(["echo", `${long}y`]), ConfigError, "expected at most 32768");
});

Deno.test("exec() passes any bytes through a command, more than all windows hold", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("agent"));
  const stdin = new Prng(7).bytes(1_000_000);
  const { status, stdout } = await vm.exec(["cat"], { stdin });
  assertEquals([status, stdout.length], [0, stdin.length]);
  assert(stdout.every((byte, i) => byte === stdin[i]));
});

Deno.test("commands run side by side, and one can be ended", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("agent"));
  const sleeping = await vm.spawn(["sleep"]);
  assertEquals((await vm.exec(["echo", "meanwhile"])).text, "meanwhile\n");
  await sleeping.kill(15);
  assertEquals(await sleeping.status, 143);
  const abort = new AbortController();
  const aborted = vm.exec(["sleep"], { signal: abort.signal, stdin: new ReadableStream() });
  setTimeout(() => abort.abort(), 20);
  assertEquals((await aborted).status, 137);
});

Deno.test("a VM's end is the end of its commands", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("agent"));
  const sleeping = await vm.spawn(["sleep"]);
  await vm.powerOff();
  await assertRejects(() => sleeping.status, HostError, "VM ended while");
  await assertRejects(() => vm.exec(["echo"]), HostError, "is not running");
  const mute = await kernel.powerOn(behave("noagent"));
  await assertRejects(() => mute.exec(["echo"]), HostError, "ended before its guest could run");
});

Deno.test("frames come out as they went in, however the stream is cut", () => {
  const random = new Prng(3);
  const frames = Array.from({ length: 200 }, (_, i) => ({
    kind: "O" as const,
    id: i,
    payload: random.bytes(random.below(100)),
  }));
  const stream = frames.flatMap((frame) => [...encodeExecFrame(frame)]);
  const reader = new ExecFrameReader();
  const got = [];
  for (let at = 0; at < stream.length;) {
    const some = random.below(50);
    got.push(...reader.push(Uint8Array.from(stream.slice(at, at + some))));
    at += some;
  }
  assertEquals(got.map(({ id }) => id), frames.map(({ id }) => id));
  assert(got.every(({ payload }, i) => `${payload}` === `${frames[i]!.payload}`));
});

Deno.test("noise from a guest costs bounded memory and never an exception", () => {
  const random = new Prng(5);
  const reader = new ExecFrameReader();
  for (let i = 0; i < 2000; i++) reader.push(random.bytes(random.below(300)));
  reader.push(new Uint8Array(1_000_000).fill(0x41));
  reader.push(
    new TextEncoder().encode(`\nO 1 ${EXEC_PAYLOAD_BYTES + 1}\nO 1 99999999999\nZ 1 1\n`),
  );
  const frame = { kind: "Q" as const, id: 4, payload: new TextEncoder().encode("0") };
  assertEquals(reader.push(encodeExecFrame(frame)).map(({ id }) => id), [4]);
});
