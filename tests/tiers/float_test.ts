/**
 * The two tiers on float instructions in hot loops: all operations and rounding modes, dynamic ones that
 * change or are reserved, flags read back and cleared, floats turned off and on in the middle, values
 * through memory and integer registers, boxed and badly boxed (unprivileged ISA, "F" and "D").
 *
 * Invariant checked: any options of either tier, any slices and any moment give the same machine.
 */
import { assert } from "@std/assert";
import type { Prng } from "../../kernel/base/prng.ts";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { ROWS } from "../../kernel/cpu/isa/table.ts";
import { encodeRow } from "../../tools/asm/encode.ts";
import {
  changeCsr,
  COMPUTED,
  emitCompute,
  emitHandler,
  emitHotLoops,
  emitMaybe,
  POINTERS,
  readCsr,
  SCRATCH,
  seedRegisters,
  START,
} from "../_support/hot_program.ts";
import { Program } from "../_support/program.ts";
import { assertSameOnTiers, forSeeds, randomMoments } from "../_support/tiers.ts";

const PROGRAMS = 24;
const LIMIT = 50_000;
/** Close to a page's end. */
const DATA = 0x8040_0fc0n;
const [data] = POINTERS;
const [scratch] = SCRATCH;
const FS = 3n << 13n;
/** Programs with few registers have operands that depend on each other. */
const REGISTERS = [4, 32] as const;

const OPERATIONS = ROWS.map((_, i) => i).filter((i) => {
  const { float, operands } = ROWS[i]!;
  return float && !operands.includes("(");
});

/** Values at the edges of both formats, and boxed singles. */
const VALUES: readonly bigint[] = [
  0n,
  1n << 63n,
  0x3ff0_0000_0000_0000n,
  0x7ff0_0000_0000_0000n,
  0x7ff8_0000_0000_0000n,
  0x7ff0_0000_0000_0001n,
  1n,
  0x0010_0000_0000_0000n,
  0x7fef_ffff_ffff_ffffn,
  0x3ca0_0000_0000_0000n,
  0xffff_ffff_3f80_0000n,
  0xffff_ffff_0080_0000n,
  0xffff_ffff_7f7f_ffffn,
  0xffff_ffff_7fc0_0000n,
  0xffff_ffff_7f80_0001n,
  0xffff_ffff_0000_0001n,
  0x3f80_0000n,
];

/** A double or a boxed single of middling size, so that results are not all infinite or invalid. */
function ordinary(rng: Prng): bigint {
  const random = rng.u64();
  const sign = random >> 63n;
  if (rng.below(3) === 0) {
    const single = sign << 31n | (120n + (random >> 52n & 15n)) << 23n | random & 0x7f_ffffn;
    return 0xffff_ffffn << 32n | single;
  }
  return sign << 63n | (1015n + (random >> 52n & 15n)) << 52n | random & (1n << 52n) - 1n;
}

/** Writes the snippets of one program. */
class Floats {
  readonly #registers: number;

  constructor(private readonly program: Program, private readonly rng: Prng) {
    this.#registers = rng.pick(REGISTERS);
  }

  snippet(): void {
    const { rng, program } = this;
    const kind = rng.below(24);
    if (kind < 11) return this.#operation();
    if (kind < 13) return this.#memory();
    if (kind < 16) return this.value(this.#fpr());
    if (kind < 18) return this.#flags();
    if (kind === 18) return this.#mode();
    if (kind === 19) return this.#power();
    if (kind === 20) return emitMaybe(program, rng, () => this.#operation());
    return emitCompute(program, rng);
  }

  /** Puts a value into a float register. */
  value(rd: number): void {
    const { rng, program } = this;
    const bits = [
      () => rng.pick(VALUES),
      () => rng.u64(),
      () => ordinary(rng),
      () => ordinary(rng),
    ];
    program.setLong(scratch, rng.pick(bits)());
    const single = rng.below(4) === 0;
    program.op(single ? "fmv.w.x" : "fmv.d.x", { rd, rs1: scratch });
  }

  #fpr(): number {
    return this.rng.below(this.#registers);
  }

  #operation(): void {
    const { rng, program } = this;
    const row = rng.pick(OPERATIONS);
    const { operands } = ROWS[row]!;
    program.word(encodeRow(row, {
      rd: operands.includes("D") ? this.#fpr() : rng.pick(COMPUTED),
      rs1: operands.includes("S") ? this.#fpr() : rng.pick(COMPUTED),
      rs2: this.#fpr(),
      rs3: this.#fpr(),
      rm: rng.pick([0, 1, 2, 3, 4, 7, 7, 7, 7, 7, rng.below(8)]),
    }));
  }

  #memory(): void {
    const { rng, program } = this;
    const imm = 8 * rng.below(16) + rng.pick([0, 0, 0, 4, 1]);
    const name = rng.pick(["fld", "flw", "fsd", "fsw"]);
    if (name.startsWith("fs")) program.op(name, { rs1: data, rs2: this.#fpr(), imm });
    else program.op(name, { rd: this.#fpr(), rs1: data, imm });
  }

  #flags(): void {
    const { rng, program } = this;
    const name = rng.pick(["fflags", "fcsr", "frm", "mstatus"]);
    const rd = rng.pick(COMPUTED);
    readCsr(program, rd, name);
    if (rng.below(2) === 0) program.op("csrrwi", { rd, rs1: 0, imm: csrNumber("fflags") });
  }

  /** Nearly always a mode that exists. */
  #mode(): void {
    const { rng, program } = this;
    const mode = rng.below(6) === 0 ? rng.below(8) : rng.below(5);
    if (rng.below(2) === 0) {
      return program.op("csrrwi", { rd: 5, rs1: mode, imm: csrNumber("frm") });
    }
    program.op("andi", { rd: scratch, rs1: rng.pick(COMPUTED), imm: 3 << 5 | 31 });
    changeCsr(program, "csrrw", "fcsr", scratch, rng.pick(COMPUTED));
  }

  /** Floats go off or on, or from dirty to clean. */
  #power(): void {
    const { rng, program } = this;
    program.setLong(scratch, rng.pick([FS, 2n << 13n, 1n << 13n]));
    const how = rng.pick(["csrrc", "csrrs"] as const);
    changeCsr(program, how, rng.pick(["mstatus", "sstatus"]), scratch);
    for (let i = rng.below(4); i > 0; i--) this.#operation();
    program.setLong(scratch, FS);
    emitMaybe(program, rng, () => changeCsr(program, "csrrs", "mstatus", scratch));
    changeCsr(program, "csrrs", "mstatus", scratch, rng.pick(COMPUTED));
  }
}

function randomProgram(rng: Prng): Uint8Array<ArrayBuffer> {
  const program = new Program(START);
  emitHandler(program, "m");
  program.setLong(data, DATA);
  program.setLong(scratch, FS);
  changeCsr(program, "csrrs", "mstatus", scratch);
  const floats = new Floats(program, rng);
  for (let rd = 0; rd < 32; rd++) floats.value(rd);
  seedRegisters(program, rng);
  emitHotLoops(program, rng, () => floats.snippet());
  return program.bytes();
}

Deno.test("float instructions in hot loops act alike on both tiers", () => {
  let inRegions = 0;
  forSeeds(PROGRAMS, (seed, rng) => {
    const kernel = { kind: "raw", bytes: randomProgram(rng) } as const;
    const moments = randomMoments(rng, 3, LIMIT);
    inRegions += assertSameOnTiers(seed, rng, { config: { kernel }, moments }).instructions;
  });
  assert(inRegions > 100_000, `only ${inRegions} instructions ran in regions`);
});
