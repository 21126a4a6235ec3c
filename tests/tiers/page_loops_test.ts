/**
 * The two tiers on loops that walk through memory: steps of all sizes up and down, several bases, accesses
 * across pages, early ends, stores into the loop's own code, walks out of memory and into devices.
 *
 * Invariant checked: any options of either tier, any slices and any moment give the same machine.
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import type { MachineConfig } from "../../kernel/machine/machine.ts";
import { testMachine } from "../_support/machine.ts";
import { type Place, Program } from "../_support/program.ts";

const BASE = 0x8000_0000;
const MEMORY = 16 << 20;
const PROGRAMS = 80;
const ROUNDS = 31;
const COUNT = 30;
const BASES = [5, 6, 7] as const;
const VALUES = [10, 11, 12, 13] as const;
const LIMIT = 28;
const MTVEC = 0x305;
const MSTATUS = 0x300;
const SATP = 0x180;
const PMPADDR0 = 0x3b0;
const PMPCFG0 = 0x3a0;
const OPEN_TO_ALL = 0x1f;
const TABLES = 0x8010_0000;
const SCATTERED = 0x8060_0000;
/** V R W X A D. */
const LEAF = 0xcf;

/**
 * Sv39 tables at TABLES: two megabytes of virtual memory lie scattered over other pages, a few of them
 * read-only or missing; program, devices and the end of memory are where they are.
 */
function addTables(image: Uint8Array<ArrayBuffer>, rng: Prng): void {
  const view = new DataView(image.buffer);
  const entry = (table: number, index: number, target: number, flags: number) => {
    const bits = BigInt(Math.floor(target / 4096)) << 10n | BigInt(flags);
    view.setBigUint64(TABLES - BASE + table * 4096 + index * 8, bits, true);
  };
  entry(0, 0, 0, LEAF);
  entry(0, 2, TABLES + 4096, 1);
  for (const large of [0, 7]) entry(1, large, BASE + large * 0x20_0000, LEAF);
  entry(1, 2, TABLES + 8192, 1);
  const frames = Array.from({ length: 512 }, (_, i) => i);
  for (let i = 511; i > 0; i--) {
    const j = rng.below(i + 1);
    [frames[i], frames[j]] = [frames[j]!, frames[i]!];
  }
  frames.forEach((frame, i) => {
    const flags = rng.pick([LEAF, LEAF, LEAF, LEAF, LEAF, LEAF, rng.pick([0, LEAF & ~4, LEAF])]);
    entry(2, i, SCATTERED + frame * 4096, flags);
  });
}

/** Loads and stores go through the tables from here on, fetches do not (mstatus.MPRV). */
function translateData(program: Program): void {
  program.set(5, -1);
  program.op("csrrw", { rs1: 5, imm: PMPADDR0 });
  program.op("csrrwi", { rs1: OPEN_TO_ALL, imm: PMPCFG0 });
  program.set(5, 1);
  program.op("slli", { rd: 5, rs1: 5, imm: 63 });
  program.set(6, TABLES / 4096);
  program.op("or", { rd: 5, rs1: 5, rs2: 6 });
  program.op("csrrw", { rs1: 5, imm: SATP });
  program.set(5, 1 << 17 | 1 << 11);
  program.op("csrrs", { rs1: 5, imm: MSTATUS });
}

/** Where walks start: in the middle of memory, at its end, at a device, at the program. */
function start(rng: Prng): number {
  const page = rng.pick([0x8040_0000, 0x8041_0000, 0x8042_3000, 0x8050_0000]);
  const edge = page + rng.pick([0, 8, 4096 - 8, 4096 - 24, rng.below(4096)]);
  return rng.below(20) === 0 ? rng.pick([BASE + MEMORY - 64, 0x1000_0007, BASE + 64]) : edge;
}

/** Sets a register to an unsigned 32-bit address. */
function setAddress(program: Program, rd: number, address: number): void {
  program.set(rd, address | 0);
  program.op("slli", { rd, rs1: rd, imm: 32 });
  program.op("srli", { rd, rs1: rd, imm: 32 });
}

function randomLoop(program: Program, rng: Prng): void {
  for (const base of BASES) setAddress(program, base, start(rng));
  program.set(COUNT, 1 + rng.below(rng.pick([3, 40, 900])));
  program.set(LIMIT, rng.below(4096));
  const head = program.place();
  for (let i = 1 + rng.below(5); i > 0; i--) {
    const rs1 = rng.pick(BASES);
    const value = rng.pick(VALUES);
    const imm = rng.pick([0, 0, 8, -8, 3, rng.below(256)]);
    switch (rng.below(6)) {
      case 0:
      case 1:
        program.op(rng.pick(["ld", "lw", "lhu", "lb"]), { rd: value, rs1, imm });
        break;
      case 2:
      case 3:
        program.op(rng.pick(["sd", "sw", "sh", "sb"]), { rs1, rs2: value, imm });
        break;
      case 4:
        program.op(rng.pick(["add", "xor", "sub"]), {
          rd: value,
          rs1: value,
          rs2: rng.pick(VALUES),
        });
        break;
      default:
        // A base may be moved twice, and then the loop is an ordinary one.
        program.op("addi", { rd: rs1, rs1, imm: rng.pick([8, 1, 4, -8, -3, 64, 512, -512, 513]) });
    }
  }
  program.op("addi", { rd: COUNT, rs1: COUNT, imm: -1 });
  const early = rng.below(4) === 0;
  const operands = early ? { rs1: rng.pick(VALUES), rs2: LIMIT } : { rs1: COUNT, rs2: 0 };
  // A loop that its values end might go on for ever: another branch ends it with the count.
  if (early) program.op("beq", { rs1: COUNT, rs2: 0, imm: 8 });
  program.to("bne", head, operands);
}

function randomProgram(rng: Prng): Uint8Array<ArrayBuffer> {
  const program = new Program(BASE);
  const end: Place = {};
  program.address(5, end);
  program.op("csrrw", { rs1: 5, imm: MTVEC });
  translateData(program);
  VALUES.forEach((value) => program.set(value, rng.u32() | 0));
  program.set(ROUNDS, 6);
  const round = program.place();
  for (let i = 1 + rng.below(4); i > 0; i--) randomLoop(program, rng);
  program.op("addi", { rd: ROUNDS, rs1: ROUNDS, imm: -1 });
  program.op("beq", { rs1: ROUNDS, rs2: 0, imm: 8 });
  program.to("jal", round);
  while (program.length % 2 === 1) program.op("addi");
  program.place(end);
  program.set(5, 0x0010_0000);
  program.set(6, 0x5555);
  program.op("sw", { rs1: 5, rs2: 6 });
  program.to("jal", program.place());
  const image = new Uint8Array(TABLES - BASE + 3 * 4096);
  image.set(program.bytes());
  addTables(image, rng);
  return image;
}

function options(rng: Prng): Partial<MachineConfig> {
  return {
    tier: rng.pick(["translator", "translator", "check"]),
    translator: { heat: rng.pick([1, 2, 4]), batch: 1 },
    tlbEntries: rng.pick([16, 1024]),
    cacheElements: rng.pick([1, 32]),
  };
}

Deno.test("loops over memory leave the same machine on both tiers at every moment", () => {
  const first = Number(Deno.env.get("CHRONOVISOR_SEED") ?? 1);
  let inRegions = 0;
  for (let seed = first; seed < first + PROGRAMS; seed++) {
    const rng = new Prng(seed);
    const kernel = { kind: "raw", bytes: randomProgram(rng) } as const;
    const make = (config: Partial<MachineConfig>) =>
      testMachine({ kernel, bios: "none", memoryBytes: MEMORY, ...config });
    const machines = [make({ tier: "interpreter" }), make(options(rng)), make(options(rng))];
    for (const moment of [rng.below(2000), rng.below(20_000), 300_000]) {
      const [expected, ...others] = machines.map((machine) => {
        while (machine.icount < moment) {
          const slice = 1 + rng.below(rng.pick([7, 300, 20_000]));
          const stop = machine.run(Math.min(slice, moment - machine.icount));
          if (stop.kind === "off") break;
        }
        return `${machine.icount} ${machine.digest()}`;
      });
      for (const other of others) assertEquals(other, expected, `seed ${seed} at ${moment}`);
    }
    inRegions += Number(machines[1]!.core.control("statRegionInstructions"));
  }
  assertEquals(inRegions > 200_000, true, `only ${inRegions} instructions ran in regions`);
});
