/**
 * Claims about machines that spare worlds make ahead for VMs that go on (S19): they are what new ones would be,
 * and are given to VMs of their make alone.
 */
import { assert, assertEquals } from "@std/assert";
import type { MachineConfig } from "../../kernel/world/machine_port.ts";
import { planOptions } from "../../kernel/machine/machine_plan.ts";
import { newMemory, planMemory } from "../../kernel/memory/memory_plan.ts";
import { spareMemory, touchFirst } from "../../kernel/world/spare_memory.ts";
import { VMKernel } from "../../mod.ts";
import { countingGuest } from "../_support/counting_guest.ts";
import { withFolder } from "../_support/folder.ts";

const MAKE = { bios: "none", memory: "16M", clock: "virtual" } as const;

Deno.test("a VM that goes on in a spare machine is the VM that goes on in a new one", () =>
  withFolder(async (folder) => {
    await using kernel = await VMKernel.start({ checkpoints: folder });
    const vm = await kernel.powerOn({ ...MAKE, kernel: countingGuest() });
    const reader = vm.console.readable.pipeThrough(new TextDecoderStream()).getReader();
    for (let shown = ""; shown !== "ready\n";) shown += (await reader.read()).value ?? "";
    const { id } = await kernel.checkpoint(vm);
    await vm.powerOff();
    const ends: unknown[] = [];
    for (const spares of [1, 0]) {
      await kernel.keepSpareWorlds(spares, MAKE);
      await using again = await kernel.restore(id, { paused: true });
      const before = await again.digest();
      await again.resume();
      const writer = again.console.writable.getWriter();
      await writer.write(new TextEncoder().encode("abq"));
      const text = await new Response(again.console.readable as BodyInit).text();
      await again.waitForExit();
      ends.push({ before, text });
    }
    assertEquals(ends[0], ends[1]);
  }));

/** A machine of 16 MiB. */
const config: MachineConfig = {
  machineVersion: 3,
  memoryBytes: 16 << 20,
  harts: 1,
  append: "",
  bios: "builtin",
  disks: [{ sectors: 8, readOnly: false }],
  clock: "host",
  tier: "auto",
  tlbEntries: undefined,
  cacheElements: undefined,
  seed: 1,
  startWallNanoseconds: 0n,
  trace: false,
};

Deno.test("what is suspended goes on in a spare machine as it was, though memory was found for it", () =>
  withFolder(async (folder) => {
    await using kernel = await VMKernel.start({ checkpoints: folder });
    await kernel.keepSpareWorlds(1, MAKE);
    let vm = await kernel.powerOn({ ...MAKE, kernel: countingGuest() });
    const reader = vm.console.readable.pipeThrough(new TextDecoderStream()).getReader();
    for (let shown = ""; shown !== "ready\n";) shown += (await reader.read()).value ?? "";
    // The first goes on in a spare for which nothing was known, the others in what the one before loaded.
    for (let round = 0; round < 3; round++) {
      await kernel.keepSpareWorlds(1, MAKE);
      await vm.pause();
      const before = await vm.digest();
      const { id } = await kernel.suspend(vm);
      vm = await kernel.resume(id, { paused: true });
      assertEquals(await vm.digest(), before);
      await vm.resume();
    }
    const writer = vm.console.writable.getWriter();
    await writer.write(new TextEncoder().encode("abq"));
    const text = await new Response(vm.console.readable as BodyInit).text();
    assert(text.endsWith("2\n"), text);
    await vm.waitForExit();
  }));

Deno.test("memory that was found ahead is zero, and that of other guests is let alone", () => {
  const plan = planMemory(planOptions(config));
  const memory = newMemory(plan);
  const bytes = new Uint8Array(memory.buffer);
  const spare = { config, keeps: true, memory };
  const runs = [0, 2, 4000, 96];
  touchFirst(spare, { ramPages: plan.ramPages, runs });
  assert(bytes.every((byte) => byte === 0));
  bytes.fill(1);
  touchFirst(spare, { ramPages: plan.ramPages + 1, runs });
  assert(bytes.every((byte) => byte === 1));
  touchFirst(spare, { ramPages: plan.ramPages, runs: [3, 1] });
  assertEquals(bytes.reduce((sum, byte) => sum + 1 - byte, 0), 1, "one byte of one page");
  assertEquals(bytes[plan.ram + 3 * 4096], 0);
});

Deno.test("a spare machine is for a VM of just its make", () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const spare = { config, keeps: true, memory };
  const given = (other: Partial<MachineConfig>, keeps = true) =>
    spareMemory(spare, { ...config, ...other }, keeps) === memory;
  // What the checkpoint says of it, and what only a power-on looks at.
  assert(given({ seed: 7, append: "quiet", startWallNanoseconds: 9n, tier: "translator" }));
  const others: Partial<MachineConfig>[] = [
    { machineVersion: 2 },
    { memoryBytes: 32 << 20 },
    { harts: 2 },
    { bios: "none" },
    { bios: new Uint8Array(4) },
    { disks: [] },
    { disks: [{ sectors: 8, readOnly: true }] },
    { clock: "virtual" },
    { tier: "interpreter" },
    { tlbEntries: 16 },
    { cacheElements: 1 },
    { trace: true },
    { marksExecution: true },
  ];
  for (const other of others) assert(!given(other), Deno.inspect(other));
  assert(!given({}, false));
  assertEquals(spareMemory(undefined, config, true), undefined);
});
