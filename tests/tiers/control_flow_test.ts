/**
 * The two tiers on random control flow: graphs reducible and not, tiny and huge, short sides, loops with
 * several entries, calls, returns to odd places, jump tables, with data accesses in pages of all kinds.
 *
 * Invariant checked: any options of either tier, any slices and any moment give the same machine.
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { testMachine } from "../_support/machine.ts";
import { type Place, Program } from "../_support/program.ts";

const BASE = 0x8000_0000;
const DATA = 0x8020_0000;
const POWER = 0x0010_0000;
const PASS = 0x5555;
const PROGRAMS = 60;
const RETURN = 1;
const POINTER = 2;
const FUEL = 31;
const SCRATCH = 30;
/** Registers that blocks compute with. */
const COMPUTED = [5, 6, 7, 8, 9, 10, 11, 12] as const;
const SHORT = ["add", "sub", "xor", "and", "or", "sltu", "sll", "addw", "mul", "min", "divu"];

/** Makes one random program. */
class Chaos {
  readonly #program = new Program(BASE);
  readonly #blocks: Place[];
  readonly #end: Place = {};

  constructor(private readonly rng: Prng, count: number) {
    this.#blocks = Array.from({ length: count }, () => ({}));
  }

  make(fuel: number): Uint8Array<ArrayBuffer> {
    const program = this.#program;
    program.set(FUEL, fuel);
    program.set(POINTER, DATA / 2);
    program.op("slli", { rd: POINTER, rs1: POINTER, imm: 1 });
    program.address(RETURN, this.rng.pick(this.#blocks));
    COMPUTED.forEach((rd) => program.set(rd, this.rng.u32() | 0));
    for (const block of this.#blocks) this.#block(block);
    program.place(this.#end);
    program.set(SCRATCH, POWER);
    program.set(5, PASS);
    program.op("sw", { rs1: SCRATCH, rs2: 5 });
    program.to("jal", program.place(), {});
    return program.bytes();
  }

  #block(place: Place): void {
    const program = this.#program;
    const { rng } = this;
    program.place(place);
    program.op("addi", { rd: FUEL, rs1: FUEL, imm: -1 });
    program.op("bne", { rs1: FUEL, rs2: 0, imm: 8 });
    program.to("jal", this.#end);
    // Now and then a row that is long for a block, or for a loop.
    const row = rng.below(15) === 0 ? 20 + rng.below(240) : rng.below(6);
    for (let i = row; i > 0; i--) this.#compute();
    if (rng.below(3) === 0) this.#shortSides();
    this.#leave();
  }

  #compute(): void {
    const { rng } = this;
    const program = this.#program;
    const [rd, rs1, rs2] = [rng.pick(COMPUTED), rng.pick(COMPUTED), rng.pick(COMPUTED)];
    const imm = rng.below(512) * 8 - 2048;
    const odd = rng.below(8) === 0 ? rng.below(8) : 0;
    const offset = Math.min(2047, imm + odd);
    switch (rng.below(9)) {
      case 8:
        return this.#together(imm);
      case 0:
        return program.op(rng.pick(["ld", "lw", "lbu", "lh"]), { rd, rs1: POINTER, imm: offset });
      case 1:
        return program.op(rng.pick(["sd", "sw", "sb", "sh"]), { rs2, rs1: POINTER, imm: offset });
      case 2:
        return program.op(rng.pick(["amoadd.w", "amomaxu.d"]), { rd, rs1: POINTER, rs2 });
      case 3:
        // The pointer moves about in eight pages.
        program.op("lui", { rd: SCRATCH, imm: rng.below(8) << 12 });
        program.op("xor", { rd: POINTER, rs1: POINTER, rs2: SCRATCH });
        return program.op("xori", { rd: POINTER, rs1: POINTER, imm: 8 * rng.below(128) });
      default:
        return program.op(rng.pick(SHORT), { rd, rs1, rs2 });
    }
  }

  /** Accesses close to each other, of which some may lie on another page, on none, or on two. */
  #together(imm: number): void {
    const { rng } = this;
    for (let i = 3 + rng.below(4); i > 0; i--) {
      const at = Math.max(-2048, Math.min(2047, imm + rng.below(128) - 64));
      const register = rng.pick(COMPUTED);
      if (rng.below(2) === 0) {
        const load = rng.pick(["ld", "lw", "lwu", "lh", "lhu", "lb", "lbu"]);
        this.#program.op(load, { rd: register, rs1: POINTER, imm: at });
      } else {
        const store = rng.pick(["sd", "sw", "sh", "sb"]);
        this.#program.op(store, { rs2: register, rs1: POINTER, imm: at });
      }
    }
  }

  /** A branch around one or two instructions, or with a few on both sides. */
  #shortSides(): void {
    const { rng } = this;
    const program = this.#program;
    const plain = () =>
      program.op(rng.pick(["add", "xor", "srl"]), {
        rd: rng.pick(COMPUTED),
        rs1: rng.pick(COMPUTED),
        rs2: rng.pick(COMPUTED),
      });
    const other: Place = {};
    const join: Place = {};
    const operands = { rs1: rng.pick(COMPUTED), rs2: rng.pick(COMPUTED) };
    program.to(rng.pick(["beq", "bltu", "bge"]), other, operands);
    plain();
    const both = rng.below(2) === 0;
    if (both) program.to("jal", join);
    program.place(other);
    if (both) plain();
    program.place(join);
  }

  #leave(): void {
    const { rng } = this;
    const program = this.#program;
    const to = () => rng.pick(this.#blocks);
    switch (rng.below(6)) {
      case 0:
        return program.op("jalr", { rd: 0, rs1: RETURN });
      case 1:
        return program.to("jal", to(), { rd: RETURN });
      case 2: {
        const [first, second] = [to(), to()];
        program.address(SCRATCH, first);
        program.op("beq", { rs1: rng.pick(COMPUTED), rs2: rng.pick(COMPUTED), imm: 12 });
        program.address(SCRATCH, second);
        return program.op("jalr", { rd: rng.pick([0, RETURN]), rs1: SCRATCH });
      }
      default: {
        // Far targets need a jump; the branch goes around it.
        const operands = { rs1: rng.pick(COMPUTED), rs2: rng.pick(COMPUTED), imm: 8 };
        program.op(rng.pick(["bne", "bgeu", "blt"]), operands);
        program.to("jal", to());
        return program.to("jal", to());
      }
    }
  }
}

function options(rng: Prng): Partial<MachineConfig> {
  return {
    tier: rng.pick(["translator", "translator", "check"]),
    translator: { heat: rng.pick([1, 2, 5, 30]), batch: rng.pick([1, 3, 24]) },
    tlbEntries: rng.pick([16, 64, 1024, 4096]),
    cacheElements: rng.pick([1, 2, 32, 64]),
    decodedPages: rng.pick([2, 5, 2048]),
  };
}

/** Runs to an icount in slices. */
function runTo(machine: Machine, icount: number, slice: () => number): void {
  while (machine.icount < icount) {
    const stop = machine.run(Math.min(slice(), icount - machine.icount));
    if (stop.kind === "off") return;
  }
}

Deno.test("random control flow leaves the same machine on both tiers at every moment", () => {
  const first = Number(Deno.env.get("CHRONOVISOR_SEED") ?? 1);
  let inRegions = 0;
  for (let seed = first; seed < first + PROGRAMS; seed++) {
    const rng = new Prng(seed);
    const count = rng.pick([1, 2, 3, 8, 30, 200, 1500]);
    const kernel = { kind: "raw", bytes: new Chaos(rng, count).make(20_000) } as const;
    const make = (config: Partial<MachineConfig>) =>
      testMachine({ kernel, bios: "none", memoryBytes: 16 << 20, ...config });
    const machines = [make({ tier: "interpreter" }), make(options(rng)), make(options(rng))];
    const moments = [rng.below(3000), 30_000 + rng.below(30_000), 10_000_000];
    for (const moment of moments) {
      const [expected, ...others] = machines.map((machine) => {
        runTo(machine, moment, () => 1 + rng.below(rng.pick([10, 1000, 100_000])));
        return `${machine.icount} ${machine.digest()}`;
      });
      for (const other of others) assertEquals(other, expected, `seed ${seed} at ${moment}`);
    }
    inRegions += Number(machines[1]!.core.control("statRegionInstructions"));
    assertEquals(machines[0]!.run(1).kind, "off", `seed ${seed}: the program ends`);
  }
  assertEquals(inRegions > 500_000, true, `only ${inRegions} instructions ran in regions`);
});
