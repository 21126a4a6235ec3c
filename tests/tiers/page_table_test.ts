/**
 * The two tiers on page tables that are edited in hot loops: leaves and higher entries, by way of other
 * mappings and of themselves, A and D with and without Svadu, with and without fences, address spaces that
 * share tables, tables that become data, code that is remapped while it runs, faults, large pages split
 * and joined, and MPRV, SUM and MXR around accesses (privileged ISA, "Supervisor-Level ISA").
 *
 * Invariant checked: any options of either tier, any slices and any moment give the same machine.
 */
import { assert } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import {
  changeCsr,
  COMPUTED,
  emitCompute,
  emitHandler,
  emitHotLoops,
  enterMode,
  openMemory,
  POINTERS,
  RECOVERY,
  SCRATCH,
  seedRegisters,
  START,
} from "../_support/hot_program.ts";
import { entryFor, LEAF } from "../_support/page_tables.ts";
import { type Place, Program } from "../_support/program.ts";
import { assertSameOnTiers, forSeeds, randomMoments } from "../_support/tiers.ts";
import * as image from "./hot_tables.ts";
import { FUNCTION, TABLE } from "./hot_tables.ts";

const PROGRAMS = 20;
const LIMIT = 40_000;
const [entry, at, other] = SCRATCH;
const [playground, alias, tables] = POINTERS;
const RETURN = 1;
/** Exceptions that supervisors may handle: all that can be delegated. */
const DELEGATED = 0xb3ffn;
const SVADU = 1n << 61n;
const STATUS = { SUM: 1n << 18n, MXR: 1n << 19n, MPRV: 1n << 17n, MPP_S: 1n << 11n } as const;

/** How a program runs: in supervisor mode, in user mode, or in machine mode with MPRV. */
type Variant = "supervisor" | "user" | "mprv";

/** Writes snippets. */
class Editor {
  constructor(
    private readonly program: Program,
    private readonly rng: Prng,
    private readonly variant: Variant,
  ) {}

  snippet(): void {
    const { rng, program, variant } = this;
    const kind = rng.below(24);
    // A trap leaves MPP at machine mode.
    if (variant === "mprv" && rng.below(2) === 0) this.#translateData();
    if (kind < 5) return this.#access();
    if (kind < 7) return this.#call();
    if (kind === 7) return this.#remapRunningCode();
    if (kind < 13) return this.#leafEntry();
    if (kind < 15) return this.#editAround(false, this.#dataPage(), () => this.#middleEntry());
    if (kind === 15) return this.#rootEntry();
    if (kind === 16) return this.#splitOrJoin();
    if (kind === 17) return this.#fence();
    if (kind < 20) return this.#switchSpace();
    if (kind === 20) return this.#status();
    if (kind === 21 && variant === "mprv") return this.#environment();
    return emitCompute(program, rng);
  }

  /** A virtual page of the playground, as an offset. */
  #dataPage(): number {
    const { rng } = this;
    const large = rng.pick([3, 4]) * 0x20_0000 + 0x10_0000;
    if (rng.below(6) === 0) return large + 4096 * (image.CODE_FRAMES + rng.below(3));
    return rng.below(3) * 0x20_0000 + 4096 * rng.below(image.DATA_PAGES);
  }

  #access(page = this.#dataPage()): void {
    const { rng, program } = this;
    program.setLong(at, BigInt(page + 2048));
    program.op("add", { rd: at, rs1: at, rs2: playground });
    // Close together, the page's end among them: such accesses are checked at once.
    const together = rng.below(2) === 0 ? rng.pick([0, 1990, 2010, 2030]) : undefined;
    for (let i = 1 + rng.below(together === undefined ? 3 : 8); i > 0; i--) {
      const rs1 = at;
      const imm = together === undefined
        ? rng.pick([0, 8, -2048, 8 * rng.below(64), 2044, 2045, 2047, 3])
        : Math.min(2047, together + rng.below(40));
      const name = rng.pick(["ld", "lw", "lbu", "lh", "sd", "sw", "sb", "sh", "amoadd.d", "lr.w"]);
      if (name.startsWith("s")) program.op(name, { rs1, rs2: rng.pick(COMPUTED), imm });
      else program.op(name, { rd: rng.pick(COMPUTED), rs1, rs2: rng.pick(COMPUTED), imm });
    }
  }

  #codePage(): { table: number; index: number; address: number } {
    const { rng } = this;
    const [table, index] = [rng.below(3), image.DATA_PAGES + rng.below(image.CODE_PAGES - 1)];
    return { table, index, address: table * 0x20_0000 + 4096 * index };
  }

  #callAt(offset: number): void {
    const { program } = this;
    const behind: Place = {};
    program.address(RECOVERY, behind);
    program.setLong(at, BigInt(offset));
    program.op("add", { rd: at, rs1: at, rs2: playground });
    program.op("jalr", { rd: RETURN, rs1: at });
    program.place(behind);
  }

  #call(): void {
    const { plain, loop, across } = FUNCTION;
    this.#callAt(this.#codePage().address + this.rng.pick([plain, plain, loop, across]));
  }

  /** Code that gives its own page another frame: the next instruction comes from there. */
  #remapRunningCode(): void {
    const { program, rng } = this;
    const { table, index, address } = this.#codePage();
    const frame = image.frameAt(rng.below(image.CODE_FRAMES));
    const flags = this.variant === "user" ? LEAF.user : LEAF.all;
    program.setLong(image.REMAP.entry, entryFor(frame, flags & ~LEAF.W));
    const slot = image.tableAt(TABLE.first + table) + 8 * index;
    const behind: Place = {};
    program.address(RECOVERY, behind);
    program.setLong(other, BigInt(address + FUNCTION.remaps));
    program.op("add", { rd: other, rs1: other, rs2: playground });
    program.setLong(image.REMAP.address, BigInt(slot));
    program.op("jalr", { rd: RETURN, rs1: other });
    program.place(behind);
  }

  /** Puts the address of an entry into a register, by one of the mappings of its table. */
  #pointTo(table: number, index: number): void {
    const { rng, program } = this;
    const offset = 8 * index;
    const physical = image.tableAt(table);
    switch (rng.below(4)) {
      case 0:
        program.setLong(at, BigInt(physical - START + offset));
        return program.op("add", { rd: at, rs1: at, rs2: alias });
      case 1: {
        const isFirst = table === TABLE.first;
        const self = image.PLAYGROUND + 4096 * image.SELF;
        const large = image.LARGE - 0x20_0000 + physical - image.LARGE_FRAME;
        return program.setLong(at, BigInt((isFirst ? self : large) + offset));
      }
      default:
        program.setLong(at, BigInt(physical - image.TABLES + offset));
        return program.op("add", { rd: at, rs1: at, rs2: tables });
    }
  }

  /** An edit between accesses to a page that may depend on it. */
  #editAround(isCode: boolean, page: number, edit: () => void): void {
    const { plain, loop, across } = FUNCTION;
    const use = () => {
      if (isCode) this.#callAt(page + this.rng.pick([plain, loop, across]));
      else this.#access(page);
    };
    if (this.rng.below(2) === 0) use();
    edit();
    if (this.rng.below(3) === 0) this.#fence();
    use();
  }

  #leafEntry(): void {
    const { rng } = this;
    const isCode = rng.below(3) === 0;
    const [first, count] = isCode ? [image.DATA_PAGES, image.CODE_PAGES] : [0, image.DATA_PAGES];
    const frames: readonly [number, number] = isCode
      ? [0, image.CODE_FRAMES]
      : [image.CODE_FRAMES, image.DATA_FRAMES];
    const change = () => {
      const frame = () => image.frameAt(frames[0] + rng.below(frames[1]));
      return entryFor(frame() ^ frame(), 0n);
    };
    const [leaf, index, second] = [rng.pick([0, 0, 1, 2]), rng.below(count), rng.below(count)];
    this.#editAround(isCode, leaf * 0x20_0000 + 4096 * (first + index), () => {
      this.#pointTo(TABLE.first + leaf, first);
      this.#edit(8 * index, 8 * second, change);
    });
  }

  #middleEntry(): void {
    const { rng } = this;
    this.#pointTo(rng.pick([TABLE.middle, TABLE.middle, TABLE.otherMiddle]), 0);
    const slot = () => 8 * rng.below(image.MIDDLE_ENTRIES);
    const table = () => image.tableAt(TABLE.first + rng.below(3));
    this.#edit(slot(), slot(), () => entryFor(table() ^ table(), 0n));
  }

  /** The root's entries for the playground, the alias and itself: never that of the program. */
  #rootEntry(): void {
    const { rng, program } = this;
    const root = rng.pick([TABLE.rootA, TABLE.rootB]);
    const index = rng.pick([1, 1, 3, 4]);
    program.setLong(at, BigInt(image.tableAt(root) + 8 * index));
    if (index === 1 && rng.below(2) === 0) {
      program.setLong(other, entryFor(image.tableAt(4) ^ image.tableAt(5), 0n));
      program.op("amoxor.d", { rd: entry, rs1: at, rs2: other });
    } else this.#changeFlags(0);
    this.#access();
    this.#restore(0);
  }

  /** Changes the entry at a distance from `at`; `change` gives bits that make it another good one. */
  #edit(imm: number, second: number, change: () => bigint): void {
    const { rng, program } = this;
    switch (rng.below(8)) {
      case 0:
      case 1:
        return this.#changeFlags(imm);
      case 2:
        program.op("ld", { rd: entry, rs1: at, imm });
        program.op("ld", { rd: other, rs1: at, imm: second });
        program.op("sd", { rs1: at, rs2: entry, imm: second });
        return program.op("sd", { rs1: at, rs2: other, imm });
      case 3:
      case 4:
        program.setLong(other, change());
        program.op("ld", { rd: entry, rs1: at, imm });
        program.op("xor", { rd: entry, rs1: entry, rs2: other });
        return program.op("sd", { rs1: at, rs2: entry, imm });
      case 5:
        program.op("addi", { rd: at, rs1: at, imm });
        if (rng.below(3) === 0) program.op("cbo.zero", { rs1: at });
        program.op("ld", { rd: entry, rs1: at, imm: 4 });
        return program.op("sd", { rs1: at, rs2: entry, imm: 4 });
      default:
        return this.#restore(imm);
    }
  }

  /** Flips one or two of the low bits of an entry, with accesses of all kinds. */
  #changeFlags(imm: number): void {
    const { rng, program } = this;
    const bits = Number(rng.pick([LEAF.V, LEAF.R, LEAF.W, LEAF.X, LEAF.U, LEAF.A, LEAF.D, 0xc0n]));
    switch (rng.below(5)) {
      case 0:
        program.op("lbu", { rd: entry, rs1: at, imm });
        program.op("xori", { rd: entry, rs1: entry, imm: bits });
        return program.op("sb", { rs1: at, rs2: entry, imm });
      case 1:
        program.op("addi", { rd: other, rs1: at, imm });
        program.op("addi", { rd: entry, imm: bits });
        return program.op("amoxor.w", { rd: entry, rs1: other, rs2: entry });
      case 2:
        program.op("addi", { rd: other, rs1: at, imm });
        program.op("lr.d", { rd: entry, rs1: other });
        program.op("xori", { rd: entry, rs1: entry, imm: bits });
        return program.op("sc.d", { rd: entry, rs1: other, rs2: entry });
      default: {
        const size = rng.pick(["d", "d", "w", "h"]);
        program.op(`l${size}`, { rd: entry, rs1: at, imm });
        program.op("xori", { rd: entry, rs1: entry, imm: bits });
        return program.op(`s${size}`, { rs1: at, rs2: entry, imm });
      }
    }
  }

  /** Gives an entry its first value, from the table's copy. */
  #restore(imm: number): void {
    const { program } = this;
    program.setLong(other, BigInt(image.COPIES));
    program.op("add", { rd: other, rs1: other, rs2: at });
    program.op("ld", { rd: entry, rs1: other, imm });
    program.op("sd", { rs1: at, rs2: entry, imm });
  }

  /** A large page becomes 512 small ones that map the same, or the other way round. */
  #splitOrJoin(): void {
    const { program, rng } = this;
    const all = this.variant === "user" ? LEAF.user : LEAF.all;
    const isSplit = entryFor(image.tableAt(TABLE.split), LEAF.V);
    const isLarge = entryFor(image.LARGE_FRAME, all);
    this.#pointTo(TABLE.middle, 4);
    program.setLong(other, isSplit ^ isLarge);
    program.op("ld", { rd: entry, rs1: at });
    program.op("xor", { rd: entry, rs1: entry, rs2: other });
    program.op("sd", { rs1: at, rs2: entry });
    if (rng.below(2) === 0) this.#fence();
    const page = image.LARGE - image.PLAYGROUND + 0x10_0000 + 4096 * image.CODE_FRAMES;
    this.#access(page);
  }

  /** With every combination of operands, also of another page and another space. */
  #fence(): void {
    const { program, rng } = this;
    program.setLong(at, BigInt(image.PLAYGROUND + this.#dataPage()));
    program.op("addi", { rd: other, imm: rng.below(3) });
    program.op("sfence.vma", { rs1: rng.pick([0, at]), rs2: rng.pick([0, other]) });
  }

  #switchSpace(): void {
    const { program, rng } = this;
    const satp = (mode: bigint, table: number, space = 0n) =>
      mode << 60n | space << 44n | BigInt(image.tableAt(table)) >> 12n;
    program.setLong(
      other,
      rng.pick([
        satp(8n, TABLE.rootA),
        satp(8n, TABLE.rootA),
        satp(8n, TABLE.rootA, 5n),
        satp(8n, TABLE.rootB, 1n),
        satp(9n, TABLE.root48),
        satp(10n, TABLE.root57),
        rng.below(8) === 0 ? 0n : satp(8n, TABLE.rootB),
      ]),
    );
    changeCsr(program, "csrrw", "satp", other);
  }

  #status(): void {
    const { program, rng } = this;
    const machine = this.variant === "mprv";
    const bits = [STATUS.SUM, STATUS.MXR, STATUS.SUM | STATUS.MXR];
    if (machine) bits.push(STATUS.MPRV, STATUS.MPRV, STATUS.MPP_S);
    program.setLong(other, rng.pick(bits));
    const how = rng.pick(["csrrs", "csrrs", "csrrc"] as const);
    changeCsr(program, how, machine ? "mstatus" : "sstatus", other);
    if (machine && rng.below(2) === 0) program.op("csrrs", { rd: 12, imm: 0x300 });
  }

  /** Data of machine mode goes through the tables as a supervisor's. */
  #translateData(): void {
    this.program.setLong(other, STATUS.MPRV | STATUS.MPP_S);
    changeCsr(this.program, "csrrs", "mstatus", other);
  }

  /** The walker sets A and D itself, or faults. */
  #environment(): void {
    this.program.setLong(other, SVADU);
    changeCsr(this.program, this.rng.pick(["csrrs", "csrrc"]), "menvcfg", other);
  }
}

/** The program of a variant in its image. */
function randomProgram(rng: Prng): Uint8Array<ArrayBuffer> {
  const variant = rng.pick<Variant>(["supervisor", "supervisor", "supervisor", "user", "mprv"]);
  const program = new Program(START);
  openMemory(program);
  emitHandler(program, "m");
  emitHandler(program, "s");
  // A supervisor cannot fetch its handler from user pages.
  program.setLong(at, variant === "user" || rng.below(3) === 0 ? 0n : DELEGATED);
  changeCsr(program, "csrrw", "medeleg", at);
  program.setLong(at, SVADU);
  if (rng.below(2) === 0) changeCsr(program, "csrrc", "menvcfg", at);
  program.setLong(at, 8n << 60n | BigInt(image.tableAt(TABLE.rootA)) >> 12n);
  changeCsr(program, "csrrw", "satp", at);
  program.setLong(playground, BigInt(image.PLAYGROUND));
  program.setLong(alias, BigInt(image.ALIAS));
  program.setLong(tables, BigInt(image.TABLES));
  seedRegisters(program, rng);
  if (variant !== "mprv") enterMode(program, variant === "user" ? "u" : "s");
  else {
    program.setLong(at, STATUS.MPRV | STATUS.MPP_S);
    changeCsr(program, "csrrs", "mstatus", at);
  }
  const editor = new Editor(program, rng, variant);
  emitHotLoops(program, rng, () => editor.snippet());
  const bytes = new Uint8Array(image.IMAGE_BYTES);
  bytes.set(program.bytes());
  image.addHotTables(bytes, rng, variant === "user");
  return bytes;
}

/** A device writes entries: first values of the leaf tables, or flags of them. */
function editByDevice(seed: number): (machine: Machine, moment: number) => void {
  return (machine, moment) => {
    const rng = new Prng(seed + moment);
    for (let i = rng.below(4); i > 0; i--) {
      const slot = image.tableAt(rng.pick([4, 6, 6, 7, 8])) + 8 * rng.below(image.DATA_PAGES);
      const bytes = new Uint8Array(8);
      machine.memory.read(slot + (rng.below(2) === 0 ? image.COPIES : 0), bytes);
      bytes[0]! ^= rng.pick([0, 4, 0x40, 0x80]);
      machine.memory.write(slot, bytes);
    }
  };
}

Deno.test("page tables that are edited in hot loops act alike on both tiers", () => {
  let inRegions = 0;
  forSeeds(PROGRAMS, (seed, rng) => {
    const kernel = { kind: "raw", bytes: randomProgram(rng) } as const;
    const moments = randomMoments(rng, 4, LIMIT);
    const test = { config: { kernel }, moments, disturb: editByDevice(seed) };
    inRegions += assertSameOnTiers(seed, rng, test).instructions;
  });
  assert(inRegions > 50_000, `only ${inRegions} instructions ran in regions`);
});
