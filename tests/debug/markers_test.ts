/**
 * Markers of replay-only code: no operations unless they are asked for; then the machine stops before each,
 * on every tier, also where one lies on two pages or was written by the program a moment ago.
 */
import { assert, assertEquals } from "@std/assert";
import {
  CORE_OFFSET,
  isMarker,
  type Marker,
  markerBits,
  markerOf,
} from "../../kernel/cpu/isa/marker.ts";
import { MachineDebugger } from "../../kernel/debug/machine_debugger.ts";
import { readImage } from "../../kernel/machine/image.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { encode } from "../../tools/asm/encode.ts";
import { START } from "../_support/hot_program.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { Program } from "../_support/program.ts";

const REPLAY = new URL("../../guests/replay/replay.elf", import.meta.url);
const HEADER = new URL("../../guests/sdk/replay.h", import.meta.url);
const TIERS: readonly Partial<MachineConfig>[] = [
  { tier: "interpreter" },
  { tier: "translator", translator: { heat: 5, batch: 1 } },
  { tier: "check", translator: { heat: 5, batch: 1 } },
];
const CONSOLE = "abcdef\n";
/** Instructions of a round of the loop that is patched. */
const ROUND = 1 + 3 * 200 + 5;

async function replayMachine(options: Partial<MachineConfig>): Promise<Machine> {
  return testMachine({ kernel: await readImage(await Deno.readFile(REPLAY)), ...options });
}

Deno.test("markers are the three of replay.h, and nothing else is one", async () => {
  const header = await Deno.readTextFile(HEADER);
  const uppers = new Set<number>();
  for (const marker of ["begin", "end", "write"] as const) {
    const text = new RegExp(`REPLAY_MARKER_${marker.toUpperCase()} (0x[0-9a-f]+)`).exec(header);
    const bits = encode("lui", { rd: 0, imm: Number(text![1]) << 12 });
    assertEquals([markerBits(marker), markerOf(bits)], [bits, marker]);
    uppers.add(bits >>> 12);
  }
  for (let upper = 0; upper < 1 << 20; upper++) {
    assertEquals(isMarker(upper << 12 | 0x37), uppers.has(upper), `lui x0, ${upper}`);
  }
  assertEquals(isMarker(encode("lui", { rd: 1, imm: 0xc4701 << 12 })), false);
  assertEquals(isMarker(encode("auipc", { rd: 0, imm: 0xc4701 << 12 })), false);
});

Deno.test("a program with replay-only code runs as if it had none where nobody asks", async () => {
  const ends: string[] = [];
  for (const options of TIERS) {
    const machine = await replayMachine(options);
    const { stop, console } = runToEnd(machine, { most: 10_000_000, slice: 1000 });
    assertEquals([stop, console], [{ kind: "off", code: 0 }, CONSOLE]);
    ends.push(`${machine.icount} ${machine.digest()}`);
    const inRegions = Number(machine.core.control("statRegionInstructions"));
    if (options.tier !== "interpreter") assert(inRegions > machine.icount / 2, `${inRegions}`);
  }
  assertEquals(new Set(ends).size, 1, ends.join());
});

interface Stop {
  readonly marker: Marker;
  readonly pc: bigint;
  readonly icount: number;
}

/** All stops at markers, each stepped over or just run on from. */
function stopsAtMarkers(machine: Machine, steps: boolean, budget = 100_000): Stop[] {
  const hold = new MachineDebugger(machine);
  hold.stopAtMarkers(true);
  const stops: Stop[] = [];
  for (;;) {
    const stop = hold.run(budget);
    machine.takeOutputs();
    if (stop.kind === "off") return stops;
    if (stop.kind !== "marker") {
      assert(stop.kind === "budget" || stop.kind === "output");
      continue;
    }
    const { marker, pc, hart } = stop;
    const { icount } = machine;
    assertEquals(pc, machine.core.register(hart, "pc"));
    stops.push({ marker, pc, icount });
    if (!steps) continue;
    assertEquals(hold.step(hart), { kind: "step" });
    assertEquals([machine.icount, machine.core.register(hart, "pc")], [icount + 1, pc + 4n]);
  }
}

Deno.test("where somebody asks, each marker stops once, with nothing else changed", async () => {
  const plain = await replayMachine({ tier: "interpreter" });
  runToEnd(plain);
  const all: Stop[][] = [];
  for (const options of TIERS) {
    for (const steps of [false, true]) {
      const machine = await replayMachine(options);
      all.push(stopsAtMarkers(machine, steps, steps ? 777 : 3000));
      assertEquals([machine.icount, machine.digest()], [plain.icount, plain.digest()]);
    }
  }
  for (const other of all) assertEquals(other, all[0]);
  // 2000 rounds of the hot loop, and five cores more; cores are jumped over, with all that is in them.
  assertEquals(all[0]!.map(({ marker }) => marker), new Array(2005).fill("begin"));
  const straddling = all[0]!.filter(({ pc }) => (pc & 4095n) === 4094n);
  assertEquals(straddling.length, 1);
});

/** Enters the core behind a begin marker, runs it, and gives what it prints until it ends. */
function runCore(hold: MachineDebugger, pc: bigint, budget: number): string[] {
  const said: string[] = [];
  let depth = 1;
  hold.setRegister(0, { file: "pc" }, pc + BigInt(CORE_OFFSET));
  while (depth > 0) {
    const stop = hold.run(budget);
    hold.machine.takeOutputs();
    if (stop.kind === "output") continue;
    if (stop.kind !== "marker") return [...said, stop.kind];
    if (stop.marker === "write") {
      const [a0, a1] = hold.registers(0, [{ file: "x", number: 10 }, { file: "x", number: 11 }]);
      said.push(new TextDecoder().decode(hold.memory(0, a0!, Number(a1))).trim());
    } else if (stop.marker === "end") depth--;
    else {
      depth++;
      hold.setRegister(0, { file: "pc" }, stop.pc + BigInt(CORE_OFFSET));
    }
  }
  return said;
}

Deno.test("a core can be run from its marker to its end, and prints by write markers", async () => {
  const said = async (number: number, budget: number) => {
    const machine = await replayMachine({ translator: { heat: 5, batch: 1 } });
    const hold = new MachineDebugger(machine);
    hold.stopAtMarkers(true);
    for (let i = 0;;) {
      const stop = hold.run(1_000_000);
      machine.takeOutputs();
      if (stop.kind === "output") continue;
      assert(stop.kind === "marker" && stop.marker === "begin");
      if (i++ === number) return runCore(hold, stop.pc, budget);
    }
  };
  assertEquals(await said(0, 10_000), ["hot"]);
  assertEquals(await said(1001, 10_000), []);
  assertEquals(await said(2000, 10_000), ["rewrite"]);
  assertEquals(await said(2001, 10_000), ["outer", "rewrite", "outer again"]);
  assertEquals(await said(2002, 10_000), ["endless", "budget"]);
  assertEquals(await said(2003, 10_000), ["faulting", "budget"]);
  assertEquals(await said(2004, 10_000), ["straddle"]);
});

Deno.test("a marker that the program writes over hot code is one from then on, and gone with it", () => {
  const program = new Program(START);
  const [target, word, count, nop] = [10, 11, 12, 13];
  const place = {};
  program.address(target, place);
  program.setLong(word, BigInt(markerBits("write") | 0));
  program.setLong(nop, BigInt(encode("addi")));
  const setup = program.length;
  const round = program.place();
  program.op("addi", { rd: count, imm: 200 });
  const head = program.place();
  program.place(place);
  program.op("addi");
  program.op("addi", { rd: count, rs1: count, imm: -1 });
  program.to("bne", head, { rs1: count });
  // The marker and the no operation take turns.
  program.op("sw", { rs1: target, rs2: word });
  program.op("add", { rd: 14, rs1: word });
  program.op("add", { rd: word, rs1: nop });
  program.op("add", { rd: nop, rs1: 14 });
  program.to("jal", round);
  const kernel = { kind: "raw", bytes: program.bytes() } as const;
  const plain = testMachine({ kernel, tier: "interpreter" });
  plain.run(6000);
  for (const options of TIERS) {
    const hold = new MachineDebugger(testMachine({ kernel, ...options }));
    hold.stopAtMarkers(true);
    const rounds = new Map<number, number>();
    const { machine } = hold;
    while (machine.icount < 6000) {
      const stop = hold.run(6000 - machine.icount);
      if (stop.kind !== "marker") continue;
      assertEquals(stop.marker, "write");
      const of = Math.floor((machine.icount - setup) / ROUND);
      rounds.set(of, (rounds.get(of) ?? 0) + 1);
    }
    assertEquals(machine.digest(), plain.digest());
    assertEquals([...rounds.values()].slice(0, 3), [200, 200, 200], options.tier);
    assertEquals([...rounds.keys()].every((of) => of % 2 === 1), true, options.tier);
  }
});

Deno.test("a marker that a branch skips, or in a loop over memory, stops when it is executed", () => {
  const [count, odd, pointer] = [12, 13, 14];
  const program = new Program(START);
  program.setLong(pointer, BigInt(START + 0x1_0000));
  program.op("addi", { rd: count, imm: 1000 });
  const setup = program.length;
  const head = program.place();
  program.op("andi", { rd: odd, rs1: count, imm: 1 });
  program.op("beq", { rs1: odd, rs2: 0, imm: 8 });
  program.word(markerBits("begin"));
  program.op("addi", { rd: count, rs1: count, imm: -1 });
  program.to("bne", head, { rs1: count });
  program.op("addi", { rd: count, imm: 500 });
  const walk = program.place();
  program.op("sd", { rs1: pointer, rs2: count });
  program.word(markerBits("end"));
  program.op("addi", { rd: pointer, rs1: pointer, imm: 8 });
  program.op("addi", { rd: count, rs1: count, imm: -1 });
  program.to("bne", walk, { rs1: count });
  const last = program.place();
  program.to("jal", last);
  const kernel = { kind: "raw", bytes: program.bytes() } as const;
  // Even rounds of the first loop have four instructions, odd ones five with the marker.
  const begins = Array.from({ length: 500 }, (_, i) => setup + 9 * i + 4 + 2);
  const walks = setup + 9 * 500 + 1;
  const ends = Array.from({ length: 500 }, (_, i) => walks + 5 * i + 1);
  const most = walks + 5 * 500 + 10;
  const plain = testMachine({ kernel, tier: "interpreter" });
  plain.run(most);
  for (const options of TIERS) {
    const hold = new MachineDebugger(testMachine({ kernel, ...options }));
    hold.stopAtMarkers(true);
    const { machine } = hold;
    const stops: number[] = [];
    while (machine.icount < most) {
      const stop = hold.run(Math.min(100, most - machine.icount));
      if (stop.kind === "marker") stops.push(machine.icount);
    }
    assertEquals(stops, [...begins, ...ends], options.tier);
    assertEquals(machine.digest(), plain.digest());
  }
});
