/**
 * Observers of traps, and interrupts that are held back: what is told is what the hart's registers say, and
 * only holding changes what happens.
 */
import { assert, assertEquals } from "@std/assert";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { MachineDebugger, type TakenTrap } from "../../kernel/debug/machine_debugger.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { BOARD } from "../../kernel/machine/memory_map.ts";
import {
  changeCsr,
  emitCompute,
  emitHandler,
  emitHotLoops,
  enterMode,
  openMemory,
  seedRegisters,
  START,
} from "../_support/hot_program.ts";
import { testMachine } from "../_support/machine.ts";
import { Program } from "../_support/program.ts";
import { forSeeds, randomOptions } from "../_support/tiers.ts";
import type { Prng } from "../../kernel/base/prng.ts";

const LIMIT = 6000;
const MSIE = 8;
const MIE = 8;
const [clint, one] = [20, 21];

/** Traps by looking at the machine before and after each instruction. */
function trapsOf(machine: Machine, end: number): TakenTrap[] {
  const { core } = machine;
  const traps: TakenTrap[] = [];
  const taken = () => Number(core.register(0, "notRetired"));
  while (machine.icount < end) {
    const before = { pc: core.register(0, "pc"), privilege: core.word(0, "privilege") };
    const from = { traps: taken(), interrupts: interrupts(machine) };
    machine.run(1);
    const isInterrupt = interrupts(machine) !== from.interrupts;
    if (taken() === from.traps && !isInterrupt) continue;
    traps.push({
      hart: 0,
      cause: Number(core.register(0, "mcause") & 63n),
      isInterrupt,
      epc: core.register(0, "mepc"),
      value: core.register(0, "mtval"),
      privilege: before.privilege,
      // An interrupt comes before the instruction that this step executed.
      icount: isInterrupt ? machine.icount - 1 : machine.icount,
    });
    assertEquals(core.register(0, "mepc"), before.pc);
  }
  return traps;
}

function interrupts({ core }: Machine): number {
  return Array.from({ length: 64 }, (_, i) => Number(core.control("statInterrupts", i)))
    .reduce((a, b) => a + b);
}

/** User or machine code that raises exceptions, and software interrupts of itself. */
function trapImage(rng: Prng): Uint8Array<ArrayBuffer> {
  const program = new Program(START);
  openMemory(program);
  program.setLong(clint, BigInt(BOARD["aclint"]!.base));
  program.op("addi", { rd: one, imm: 1 });
  emitHandler(program, "m", () => program.op("sw", { rs1: clint, rs2: 0 }));
  program.op("csrrwi", { rs1: MSIE, imm: csrNumber("mie") });
  if (rng.below(2) === 0) program.op("csrrsi", { rs1: MIE, imm: csrNumber("mstatus") });
  seedRegisters(program, rng);
  if (rng.below(2) === 0) enterMode(program, "u");
  emitHotLoops(program, rng, () => {
    const kind = rng.below(10);
    if (kind === 0) program.op(rng.pick(["ecall", "ebreak"]));
    else if (kind === 1) program.word(rng.pick([0xffff_ffff, 0xc000_1073]));
    else if (kind === 2) program.op("sw", { rs1: clint, rs2: one });
    else if (kind === 3) program.op("ld", { rd: 22, rs1: one });
    else emitCompute(program, rng);
  });
  return program.bytes();
}

Deno.test("observers are told of each trap as it is taken, on every tier", () => {
  const total = { exceptions: 0, interrupts: 0 };
  forSeeds(12, (seed, rng) => {
    const kernel = { kind: "raw", bytes: trapImage(rng) } as const;
    const config: Partial<MachineConfig> = { kernel, memoryBytes: 8 << 20 };
    const plain = testMachine({ ...config, tier: "interpreter" });
    const expected = trapsOf(plain, LIMIT);
    for (const options of [{ tier: "interpreter" } as const, randomOptions(rng)]) {
      const hold = new MachineDebugger(testMachine({ ...config, ...options }));
      const told: TakenTrap[] = [];
      const exceptions: TakenTrap[] = [];
      hold.onTrap({ exceptions: true, interrupts: true }, (trap) => told.push(trap));
      hold.onTrap({ exceptions: true, interrupts: false }, (trap) => exceptions.push(trap));
      while (hold.machine.icount < LIMIT) hold.run(LIMIT - hold.machine.icount);
      assertEquals(told, expected, `seed ${seed} ${JSON.stringify(options)}`);
      assertEquals(exceptions, expected.filter(({ isInterrupt }) => !isInterrupt));
      assertEquals(hold.machine.digest(), plain.digest());
      hold.detach();
      assertEquals(hold.machine.core.controlWord("observedTraps"), 0);
    }
    const count = expected.filter(({ isInterrupt }) => isInterrupt).length;
    total.interrupts += count;
    total.exceptions += expected.length - count;
  });
  assert(total.interrupts > 50 && total.exceptions > 200, JSON.stringify(total));
});

Deno.test("held interrupts are taken when they are let go; waiting ends all the same", () => {
  const program = new Program(START);
  program.setLong(clint, BigInt(BOARD["aclint"]!.base));
  program.op("addi", { rd: one, imm: 1 });
  emitHandler(program, "m", () => {
    program.op("sw", { rs1: clint, rs2: 0 });
    program.op("addi", { rd: 5, rs1: 5, imm: 1 });
  });
  program.op("csrrwi", { rs1: MSIE, imm: csrNumber("mie") });
  program.op("csrrsi", { rs1: MIE, imm: csrNumber("mstatus") });
  program.op("sw", { rs1: clint, rs2: one });
  program.op("wfi");
  const behind = BigInt(program.here);
  const loop = program.place();
  program.to("jal", loop);
  const kernel = { kind: "raw", bytes: program.bytes() } as const;
  for (const tier of ["interpreter", "translator"] as const) {
    const hold = new MachineDebugger(testMachine({ kernel, tier }));
    const { core } = hold.machine;
    hold.holdInterrupts(true);
    assertEquals(hold.run(1000), { kind: "budget" });
    assertEquals([core.register(0, "pc"), core.register(0, "x", 5)], [behind, 0n]);
    hold.holdInterrupts(false);
    assertEquals(hold.run(1000), { kind: "budget" });
    assertEquals([core.register(0, "pc"), core.register(0, "x", 5)], [behind, 1n]);
  }
});

Deno.test("a breakpoint at an interrupt's handler stops with the trap taken, and holds", () => {
  const program = new Program(START);
  program.setLong(clint, BigInt(BOARD["aclint"]!.base));
  program.op("addi", { rd: one, imm: 1 });
  emitHandler(program, "m", () => program.op("sw", { rs1: clint, rs2: 0 }));
  changeCsr(program, "csrrs", "mtvec", 0, 6);
  program.op("csrrwi", { rs1: MSIE, imm: csrNumber("mie") });
  program.op("csrrsi", { rs1: MIE, imm: csrNumber("mstatus") });
  const loop = program.place();
  program.op("sw", { rs1: clint, rs2: one });
  program.to("jal", loop);
  const kernel = { kind: "raw", bytes: program.bytes() } as const;
  const plain = testMachine({ kernel, tier: "interpreter" });
  plain.run(LIMIT);
  const hold = new MachineDebugger(testMachine({ kernel }));
  const { machine } = hold;
  hold.run(100);
  const address = machine.core.register(0, "mtvec");
  hold.addPoint({ kind: "execute", address, size: 2 });
  let stops = 0;
  const before = interrupts(machine);
  while (machine.icount < LIMIT) {
    const stop = hold.run(LIMIT - machine.icount);
    if (stop.kind !== "breakpoint") continue;
    stops++;
    assertEquals([stop.pc, machine.core.register(0, "mcause") >> 63n], [address, 1n]);
  }
  assertEquals(stops, interrupts(machine) - before);
  assert(stops > 100);
  assertEquals(machine.digest(), plain.digest());
});
