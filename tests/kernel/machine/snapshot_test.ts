/**
 * Going back to snapshots and on again, with everything under way: paging, timers, disks, virtio devices in
 * the hands of a hostile guest, several harts.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../../kernel/base/assert.ts";
import { latin1 } from "../../../kernel/base/bytes.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { readImage } from "../../../kernel/machine/image.ts";
import type { Machine } from "../../../kernel/machine/machine.ts";
import { PHASE } from "../../../kernel/machine/machine_state.ts";
import { Snapshots } from "../../../kernel/machine/snapshot.ts";
import { DirtyPages } from "../../../kernel/memory/dirty_pages.ts";
import { testMachine } from "../../_support/machine.ts";
import { START } from "../../_support/hot_program.ts";
import { Program } from "../../_support/program.ts";
import { hostileProgram, startleHart } from "../../_support/hostile.ts";
import { forSeeds } from "../../_support/tiers.ts";

const LIMIT = 32 << 20;
/** Instructions between two snapshots of hello. */
const STEP = 500;
const HELLO = new URL("../../../guests/hello/", import.meta.url);

/**
 * Runs so many instructions, or until the machine ends or waits for ever; answers its disk requests. Gives
 * what it printed. Runs may end early, so that only icounts tell where a machine is.
 */
function advance(machine: Machine, instructions: number, disk: Uint8Array): string {
  const end = machine.icount + instructions;
  let text = "";
  while (machine.icount < end) {
    const stop = machine.run(end - machine.icount);
    for (const output of machine.takeOutputs()) {
      if (output.kind === "bytes" && output.device === "uart0") text += latin1(output.bytes);
      if (output.kind !== "disk") continue;
      const { tag, kind, sector, length } = output.request;
      const from = disk.slice(sector * 512, sector * 512 + length);
      const failed = kind !== "read" || from.length < length;
      const device = `disk${output.disk}`;
      const status = failed ? 1 : 0;
      machine.gate.deliver({ kind: "disk", device, tag, status, ...failed ? {} : { data: from } });
    }
    if (stop.kind === "off" || stop.kind === "reset") break;
    if (stop.kind !== "idle") continue;
    if (stop.wakeTicks === Infinity) break;
    machine.skipTo(stop.wakeTicks);
  }
  return text;
}

Deno.test("hello says the same again from each of its snapshots, disk requests under way included", async () => {
  const kernel = await readImage(await Deno.readFile(new URL("hello.elf", HELLO)));
  const disk = await Deno.readFile(new URL("disk.img", HELLO));
  for (const tier of ["interpreter", "translator"] as const) {
    const machine = testMachine({
      kernel,
      bios: "builtin",
      tier,
      translator: { heat: 2, batch: 1 },
      disks: [{ sectors: disk.length / 512, readOnly: true }],
    });
    const snapshots = new Snapshots(machine, { limitBytes: LIMIT });
    const said: string[] = [];
    const digests: string[] = [];
    let waiting = 0;
    while (machine.state.phase === PHASE.running) {
      digests.push(machine.digest());
      snapshots.take();
      if (machine.gate.diskResults.size > 0) waiting++;
      said.push(advance(machine, STEP, disk));
    }
    assert(snapshots.list.length > 10 && waiting > 0, "a disk request was under way");
    const end = machine.digest();
    for (const { snapshot } of snapshots.list.reverse()) {
      snapshots.restore(snapshot);
      assertEquals(machine.digest(), digests[snapshot]);
      const text = advance(machine, said.length * STEP, disk);
      assertEquals([text, machine.digest()], [said.slice(snapshot).join(""), end]);
    }
  }
});

Deno.test("a hostile guest with two harts is the same again from any snapshot, on both tiers", () => {
  let restored = 0;
  forSeeds(8, (seed, rng) => {
    const machine = testMachine({
      kernel: { kind: "raw", bytes: hostileProgram(rng) },
      memoryBytes: 16 << 20,
      bios: "builtin",
      harts: 2,
      disks: [{ sectors: 64, readOnly: false }],
      tier: rng.pick(["translator", "interpreter", "check"]),
      translator: { heat: 2, batch: 1 },
    });
    const dirty = new DirtyPages(machine.core.flags);
    dirty.start();
    const snapshots = new Snapshots(machine, { limitBytes: LIMIT, dirty });
    const numbers: number[] = [];
    const seen: string[] = [];
    let step = 0;
    const look = () => `${machine.icount} ${machine.digest()} ${dirty.list().join()}`;
    const goOn = () => {
      startleHart(machine, new Prng(1000 * seed + step));
      advance(machine, 2000, new Uint8Array(0));
      if (step % 7 === 0) dirty.take();
      step++;
    };
    for (let i = 0; i < 60; i++) {
      const now = look();
      seen[step] ??= now;
      assertEquals(now, seen[step], `seed ${seed} step ${step}`);
      numbers[step] = snapshots.take();
      if (rng.below(4) === 0) {
        step = rng.below(step + 1);
        snapshots.restore(numbers[step]!);
        assertEquals(look(), seen[step], `seed ${seed} back at step ${step}`);
        restored++;
      }
      goOn();
    }
  });
  assert(restored > 60, `only ${restored} snapshots were restored`);
});

Deno.test("a snapshot can be forgotten wherever it is, and the others stay what they are", () => {
  for (const forgotten of [0, 1, 2]) {
    const machine = testMachine({ kernel: { kind: "raw", bytes: hostileProgram(new Prng(2)) } });
    const snapshots = new Snapshots(machine, { limitBytes: LIMIT });
    const digests = [0, 1, 2].map((value) => {
      machine.memory.setInteger(0x8100_0000 + 4096 * value, 4, value + 1);
      machine.run(100);
      machine.takeOutputs();
      snapshots.take();
      return machine.digest();
    });
    machine.memory.setInteger(0x8100_0000, 4, 9);
    snapshots.forget(forgotten);
    assertThrows(() => snapshots.forget(forgotten), Broken, "is not kept");
    const left = snapshots.list.map(({ snapshot }) => snapshot);
    assertEquals(left, [0, 1, 2].filter((snapshot) => snapshot !== forgotten));
    for (const snapshot of left.reverse()) {
      snapshots.restore(snapshot);
      assertEquals(machine.digest(), digests[snapshot]);
    }
  }
});

Deno.test("a breakpoint asks again after going back to where it stopped, and to before", () => {
  const program = new Program(START);
  for (let i = 0; i < 8; i++) program.op("addi", { rd: 5, rs1: 5, imm: 1 });
  const machine = testMachine({ kernel: { kind: "raw", bytes: program.bytes() } });
  const snapshots = new Snapshots(machine, { limitBytes: LIMIT });
  const first = snapshots.take();
  machine.core.points.add(BigInt(START + 12), 2, () => true);
  machine.run(6);
  const there = snapshots.take();
  for (const snapshot of [there, first, first]) {
    assertEquals(machine.icount, 3);
    snapshots.restore(snapshot);
    machine.run(6);
  }
  machine.core.points.pass(0);
  machine.run(3);
  assertEquals(machine.icount, 6);
});

Deno.test("images count towards the limit", () => {
  const machine = testMachine({ kernel: { kind: "raw", bytes: hostileProgram(new Prng(2)) } });
  const snapshots = new Snapshots(machine, { limitBytes: LIMIT });
  snapshots.take();
  const image = snapshots.bytes;
  snapshots.stop();
  const few = new Snapshots(machine, { limitBytes: 3.5 * image });
  for (let i = 0; i < 6; i++) few.take();
  assertEquals(few.list.map(({ snapshot }) => snapshot), [3, 4, 5]);
});

Deno.test("snapshots can be merged and dropped, and go when they are too large", () => {
  const machine = testMachine({ kernel: { kind: "raw", bytes: hostileProgram(new Prng(1)) } });
  const snapshots = new Snapshots(machine, { limitBytes: 1 << 20 });
  const write = (value: number) => machine.memory.setInteger(0x8100_0000, 4, value);
  const read = () => machine.memory.integer(0x8100_0000, 4);
  const taken = [1, 2, 3, 4].map((value) => {
    write(value);
    machine.run(10);
    machine.takeOutputs();
    return snapshots.take();
  });
  write(5);
  assertEquals(snapshots.list.map(({ icount }) => icount), [10, 20, 30, 40]);
  snapshots.merge(taken[1]!);
  snapshots.drop();
  assertEquals(snapshots.list.map(({ snapshot }) => snapshot), [taken[1], taken[3]]);
  assertEquals(snapshots.bytes, snapshots.list.reduce((sum, { bytes }) => sum + bytes, 0));
  assertThrows(() => snapshots.restore(taken[2]!), Broken, "is not kept");
  snapshots.restore(taken[3]!);
  assertEquals([read(), machine.icount], [4, 40]);
  snapshots.restore(taken[1]!);
  assertEquals([read(), machine.icount, snapshots.list.length], [2, 20, 1]);
  const fill = (value: number) => {
    for (let at = 0x8200_0000; at <= 0x8200_0000 + (1 << 20); at += 4096) {
      machine.memory.setInteger(at, 4, value);
    }
  };
  fill(1);
  snapshots.take();
  fill(2);
  assertEquals([snapshots.has(taken[1]!), snapshots.list], [false, []]);
  snapshots.stop();
  assertEquals(snapshots.bytes, 0);
});
