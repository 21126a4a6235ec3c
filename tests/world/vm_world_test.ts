/** Claims about VM worlds and the kernel world around them, over a fake machine. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ConfigError, HostError, VmFailure } from "../../kernel/mod.ts";
import { denoHost } from "../../kernel/host/deno_host.ts";
import { until } from "../_support/until.ts";
import { allOutput, behave, fakeKernel } from "./support.ts";

Deno.test("a VM world has no permission for anything", async () => {
  await using kernel = fakeKernel("./confined_world.ts");
  const vm = await kernel.powerOn(behave(""));
  const lines = (await allOutput(vm)).split("\n");
  assertEquals(lines.length, 11);
  for (const line of lines) assert(line.endsWith(": refused"), line);
});

Deno.test("a guest's power-off code is the exit code and its output comes whole", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("say 7 hello world"));
  assertEquals(await allOutput(vm), "hello world");
  assertEquals(await vm.waitForExit(), { code: 7, why: "power-off" });
  assertEquals(vm.state, "stopped");
  assertEquals(kernel.vms, []);
  const stats = await vm.stats();
  assertEquals(stats.instructions, 100);
});

Deno.test("console input arrives in order, whatever its length", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("echo"));
  const sent = "0123456789".repeat(20_000);
  const writing = vm.console.write(sent + "q");
  const got = await allOutput(vm);
  await writing;
  assert(got === "ready\n" + sent, `${got.length} bytes came back`);
});

Deno.test("console.writable and console.readable are streams that end with the VM", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("echo"));
  const reader = vm.console.readable.pipeThrough(new TextDecoderStream()).getReader();
  assertEquals((await reader.read()).value, "ready\n");
  const writer = vm.console.writable.getWriter();
  await writer.write(new TextEncoder().encode("abc"));
  assertEquals((await reader.read()).value, "abc");
  await vm.powerOff();
  assertEquals((await reader.read()).done, true);
  await assertRejects(() => writer.write(new Uint8Array(1)), HostError, "not running");
});

Deno.test("a slow reader holds the VM and loses nothing", async () => {
  await using kernel = fakeKernel();
  const total = 60_000_000;
  const vm = await kernel.powerOn(behave(`flood ${total}`));
  const reader = vm.console.readable.getReader();
  await until("it has printed what is kept for a reader", () => vm.icount > 8 * 1024 * 1024);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert(vm.icount < total, "the VM ran on although nobody read");
  let read = 0;
  for (let got = await reader.read(); !got.done; got = await reader.read()) {
    read += got.value.length;
  }
  assertEquals(read, total);
});

Deno.test("output that nobody reads does not stop the VM", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("flood 30000000"));
  assertEquals((await vm.waitForExit()).code, 0);
  const kept = (await allOutput(vm)).length;
  assert(kept >= 256 * 1024 && kept < 400 * 1024, `${kept} bytes were kept`);
});

Deno.test("pause() stops a VM and resume() lets it go on", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("spin", { clock: "virtual" }));
  await vm.pause();
  assertEquals(vm.state, "paused");
  const first = await vm.digest();
  assertEquals(await vm.digest(), first);
  assertEquals((await vm.registers(0)).pc, "0x80001234");
  assertEquals(await vm.memoryTree(), "0x80000000 ram");
  await vm.resume();
  assertEquals(vm.state, "running");
  // A question may be read before the first slice.
  await until("it executes again", async () => (await vm.digest()).icount > first.icount);
  await vm.powerOff();
  assertEquals(await vm.waitForExit(), { code: 0, why: "stopped" });
  await assertRejects(() => vm.pause(), HostError, "is not running");
  await assertRejects(() => vm.digest(), HostError);
  assert((await vm.stats()).instructions >= first.icount);
});

Deno.test("an idle VM wakes at its timer: by host time, or at once by virtual time", async () => {
  await using kernel = fakeKernel();
  for (const clock of ["host", "exact", "virtual"] as const) {
    const vm = await kernel.powerOn(behave("nap", { clock }));
    assert(Number(await allOutput(vm)) >= 50_000);
  }
});

Deno.test("a VM that breaks is reported with its state, and others go on", async () => {
  await using kernel = fakeKernel();
  const quiet = await kernel.powerOn(behave("echo"));
  const vm = await kernel.powerOn(behave("break", { name: "unlucky" }));
  const error = await assertRejects(() => vm.waitForExit(), VmFailure);
  assertEquals(error.message, 'VM "unlucky" failed: the interpreter lost its place');
  assertEquals(error.report.icount, 84);
  assertEquals(error.report.phase, "run");
  assertEquals(error.report.harts[0]?.csrs["satp"], "0x8000000000000001");
  assertEquals(vm.state, "failed");
  assertEquals(vm.failure, error.report);
  await assertRejects(() => allOutput(vm), VmFailure);
  await quiet.console.write("q");
  assertEquals((await quiet.waitForExit()).code, 0);
  assertEquals(kernel.metrics.snapshot()["vms_failed_total"], 1);
});

Deno.test("a VM world that cannot be loaded fails its VM only", async () => {
  await using kernel = fakeKernel("./no_such_world.ts");
  const error = await assertRejects(() => kernel.powerOn(behave("spin")), VmFailure);
  assert(error.message.includes("its worker died"), error.message);
});

Deno.test("a worker that dies fails its VM only", async () => {
  await using kernel = fakeKernel();
  const quiet = await kernel.powerOn(behave("echo"));
  await assertRejects(() => kernel.powerOn(behave("die")), VmFailure, "out of nowhere");
  assertEquals([quiet.state, kernel.vms.length], ["running", 1]);
});

Deno.test("a machine that cannot be made says why", async () => {
  await using kernel = fakeKernel();
  await assertRejects(() => kernel.powerOn(behave("dance")), VmFailure, 'named "dance"');
  assertEquals(kernel.vms, []);
});

Deno.test("a disk serves reads, writes and flushes, and refuses what lies outside", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.truncate(path, 1024 * 1024);
    await using kernel = fakeKernel();
    const vm = await kernel.powerOn(behave("disk", { drives: [path] }));
    const big = 256 * 1024;
    const data = new Uint8Array(big).map((_, i) => i * 7);
    const sum = (bytes: Uint8Array) => bytes.reduce((a, b) => (a * 31 + b) >>> 0, 0);
    const zeroed = data.slice(0, 1024).fill(0, 512);
    assertEquals((await allOutput(vm)).trim().split("\n"), [
      "disk0 0 0 undefined undefined",
      `disk0 1 0 ${big} ${sum(data)}`,
      "disk0 2 0 undefined undefined",
      `disk0 3 0 1024 ${sum(zeroed)}`,
      "disk0 4 0 undefined undefined",
      "disk0 5 0 undefined undefined",
      "disk0 6 1 undefined undefined",
      "disk0 7 1 undefined undefined",
      "disk0 8 1 undefined undefined",
    ]);
    const file = await Deno.readFile(path);
    assertEquals(file.slice(1024, 2048), zeroed);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a drive that may not be written refuses writes", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.truncate(path, 1024 * 1024);
    await using kernel = fakeKernel();
    const vm = await kernel.powerOn(behave("disk", { drives: [{ path, readOnly: true }] }));
    const lines = (await allOutput(vm)).split("\n");
    assertEquals([lines[0], lines[4]], [
      "disk0 0 1 undefined undefined",
      "disk0 4 0 undefined undefined",
    ]);
    assertEquals(new Set(await Deno.readFile(path)).size, 1);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a terminal's size and looped-back frames reach the machine", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("size"));
  await vm.console.resize(132, 43);
  assertEquals(await allOutput(vm), "console0 132x43");
  const looped = await kernel.powerOn(behave("frame", { network: "loopback" }));
  assertEquals(await allOutput(looped), "net0 60");
});

Deno.test("a reset ends the VM when asked to, and starts it again otherwise", async () => {
  await using kernel = fakeKernel();
  const once = await kernel.powerOn(behave("reset", { onReset: "end" }));
  assertEquals(await once.waitForExit(), { code: 0, why: "reset" });
  const again = await kernel.powerOn(behave("reset"));
  await until("it resets itself twice", async () => (await again.stats()).instructions > 20);
  assertEquals(again.state, "running");
  await again.powerOff();
  assertEquals((await again.waitForExit()).why, "stopped");
  const { instructions, tlbFills } = await again.stats();
  assert(instructions > 20 && tlbFills["read"]! > 2, "counters start again with the guest");
});

Deno.test("what a disk did for a guest that reset itself does not reach the one after it", async () => {
  const path = await Deno.makeTempFile({ prefix: "chronovisor-test-" });
  await Deno.truncate(path, 1024 * 1024);
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("resetBusy", { drives: [path] }));
  const output = vm.console.readable.pipeThrough(new TextDecoderStream());
  let text = "";
  for await (const part of output) {
    // The disk has answered the second guest, and so the first one before.
    if (!text.includes("disk 1") && (text += part).includes("disk 1")) {
      await vm.console.write("typed");
    } else text += part;
  }
  assertEquals(text, "disk 1 typed");
  await Deno.remove(path);
});

Deno.test("a guest that starts again reads its images again, and fails by name without them", async () => {
  await using kernel = fakeKernel();
  const image = await Deno.makeTempFile({ prefix: "chronovisor-test-" });
  await Deno.writeFile(image, new Uint8Array(4));
  const vm = await kernel.powerOn(behave("reset", { kernel: image }));
  await until("it starts again", async () => (await vm.stats()).instructions > 10);
  assertEquals(vm.state, "running");
  await Deno.remove(image);
  const error = await assertRejects(() => vm.waitForExit());
  assertStringIncludes((error as Error).message, image);
});

Deno.test("several VMs run at once", async () => {
  await using kernel = fakeKernel();
  const vms = await Promise.all([0, 1, 2, 3].map((i) => kernel.powerOn(behave(`say ${i} vm${i}`))));
  const exits = await Promise.all(vms.map((vm) => vm.waitForExit()));
  assertEquals(exits.map(({ code }) => code), [0, 1, 2, 3]);
  assertEquals(await Promise.all(vms.map(allOutput)), ["vm0", "vm1", "vm2", "vm3"]);
});

Deno.test("memory that the host cannot give is refused with both figures", async () => {
  const small = { ...denoHost, memory: { ...denoHost.memory, available: () => 256 * 1024 * 1024 } };
  await using full = fakeKernel("./fake_world.ts", small);
  const message = 'Cannot give the VM "vm0" 512M of memory: the host has 256M available';
  await assertRejects(() => full.powerOn(behave("spin", { memory: "512M" })), HostError, message);
  await using kernel = fakeKernel();
  await assertRejects(
    () => kernel.powerOn(behave("spin", { memory: "4G" })),
    ConfigError,
    "1M to 3G",
  );
});
