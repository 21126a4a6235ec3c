/**
 * Which guest code makes a region: grows from a hot place over everything that has been executed near it,
 * across functions and pages, up to a limit (translator.md, "Regions grow from profiles").
 *
 * Invariants: a region reads only pages that the fetch TLB knew when the place was hot; the same bytes and
 * the same profile give the same region.
 */
import { decode, type Decoded, ILLEGAL, newDecoded } from "../cpu/isa/decode.ts";
import { ROWS } from "../cpu/isa/table.ts";

/** Halfwords of a page. */
export const PAGE_HALVES = 2048;

/** Where a region may take its code from. Places are counted in halfwords from the start of page `first`. */
export interface CodeSource {
  /** Guest page of the region's page with a number; undefined where nothing is known to be mapped. */
  pageOf(index: number): number | undefined;
  /** The 16 bits at a halfword of a guest page. */
  half(page: number, slot: number): number;
  /** Whether the instruction there has been near execution. */
  wasNear(page: number, slot: number): boolean;
}

/** One instruction of a region. */
export interface Instruction extends Readonly<Decoded> {
  /** Halfword in the region. */
  readonly at: number;
}

/** How a block ends. */
export type BlockEnd =
  /** Goes on at `next`. */
  | { readonly kind: "fall"; readonly next: number }
  /** The last instruction branches to `target` or goes on at `next`. */
  | { readonly kind: "branch"; readonly target: number; readonly next: number }
  | { readonly kind: "jump"; readonly target: number }
  /** The last instruction computes where control goes. */
  | { readonly kind: "indirect" }
  /** The instruction at `next` is for the interpreter. */
  | { readonly kind: "step"; readonly next: number };

/** Instructions that run one after the other. */
export interface Block {
  readonly start: number;
  readonly instructions: readonly Instruction[];
  readonly end: BlockEnd;
}

/** The code of a region. */
export interface RegionCode {
  readonly blocks: ReadonlyMap<number, Block>;
  /** Blocks that may be entered from outside: the hot place first, then return points and callees. */
  readonly entries: readonly number[];
  /** Entries that are behind calls: where returns of the region's own functions are likely to go. */
  readonly returnPoints: readonly number[];
}

/** Most instructions of a region… */
const INSTRUCTIONS_MAXIMUM = 320;
/** …unless it is in a row of at least so many without a branch: the unrolled loops of hashes and ciphers… */
const ROW_LEAST = 64;
/** …which ends here. */
const ROW_MAXIMUM = 768;
/** Most instructions of a block, so that a check of the budget is never far; fits 8 bits. */
const BLOCK_MAXIMUM = 200;
/** Instructions that only the interpreter runs. */
const INTERPRETED = /^(ecall|ebreak|mret|sret|wfi|sfence\.|sinval\.|cbo\.(inval|clean|flush))/;
const interpreted = ROWS.map(({ name }) => INTERPRETED.test(name));

/** Collects instructions and where blocks start. */
class Growth {
  readonly instructions = new Map<number, Instruction>();
  readonly leaders = new Set<number>();
  readonly entries = new Set<number>();
  readonly returnPoints = new Set<number>();
  /** Whether a jump goes to a computed place, and is no return. */
  hasSwitch = false;
  readonly #decoded = newDecoded();
  readonly #work: number[] = [];

  constructor(private readonly source: CodeSource) {}

  /** Grows from a place that is an entry. */
  grow(start: number): void {
    this.entries.add(start);
    if (this.instructions.has(start)) {
      this.leaders.add(start);
      return;
    }
    this.#want(start);
    for (let at = this.#work.shift(); at !== undefined; at = this.#work.shift()) this.#run(at);
  }

  /** The instruction at a place; undefined where it may not be read. */
  #read(at: number): Instruction | undefined {
    const low = this.#half(at);
    if (low === undefined) return undefined;
    const high = (low & 3) === 3 ? this.#half(at + 1) : 0;
    if (high === undefined) return undefined;
    decode(high << 16 | low, this.#decoded);
    return { ...this.#decoded, at };
  }

  #half(at: number): number | undefined {
    const page = at < 0 ? undefined : this.source.pageOf(Math.floor(at / PAGE_HALVES));
    return page === undefined ? undefined : this.source.half(page, at % PAGE_HALVES);
  }

  #wasNear(at: number): boolean {
    const page = at < 0 ? undefined : this.source.pageOf(Math.floor(at / PAGE_HALVES));
    return page !== undefined && this.source.wasNear(page, at % PAGE_HALVES);
  }

  #want(at: number): void {
    this.leaders.add(at);
    this.#work.push(at);
  }

  /** How a block ends before a place that was not taken. */
  behind(at: number): BlockEnd {
    const instruction = this.#read(at);
    const taken = instruction !== undefined && instruction.row !== ILLEGAL &&
      !interpreted[instruction.row];
    // What is only too far becomes a region of its own when it is hot.
    return { kind: taken ? "fall" : "step", next: at };
  }

  /** Takes instructions in a row until control leaves them. */
  #run(start: number): void {
    for (let at = start, inRow = 0; this.#hasRoom(inRow); inRow++) {
      if (this.instructions.has(at)) return;
      const instruction = at === start || this.#wasNear(at) ? this.#read(at) : undefined;
      if (instruction === undefined || instruction.row === ILLEGAL) return;
      if (interpreted[instruction.row]) return;
      this.instructions.set(at, instruction);
      const next = at + instruction.length / 2;
      const { flow } = ROWS[instruction.row]!;
      const target = at + instruction.imm / 2;
      if (flow === "branch") {
        inRow = 0;
        this.leaders.add(next);
        if (this.#wasNear(target)) this.#want(target);
      } else if (flow === "jump" || flow === "indirect") {
        return this.#leave(instruction, next, target, flow === "jump");
      }
      at = next;
    }
  }

  #hasRoom(inRow: number): boolean {
    const { size } = this.instructions;
    return size < INSTRUCTIONS_MAXIMUM || (inRow >= ROW_LEAST && size < ROW_MAXIMUM);
  }

  /** Calls make two entries: the function, and the place that it returns to. */
  #leave(instruction: Instruction, next: number, target: number, direct: boolean): void {
    const isCall = instruction.rd !== 0;
    this.hasSwitch ||= !direct && !isCall && instruction.rs1 !== 1 && instruction.rs1 !== 5;
    if (direct && this.#wasNear(target)) {
      if (isCall) this.entries.add(target);
      this.#want(target);
    }
    if (isCall && this.#wasNear(next)) {
      this.entries.add(next);
      this.returnPoints.add(next);
      this.#want(next);
    }
  }
}

function endOf(instruction: Instruction): BlockEnd | undefined {
  const { at, length, imm, row } = instruction;
  const next = at + length / 2;
  switch (ROWS[row]!.flow) {
    case "branch":
      return { kind: "branch", target: at + imm / 2, next };
    case "jump":
      return { kind: "jump", target: at + imm / 2 };
    case "indirect":
      return { kind: "indirect" };
    default:
      return undefined;
  }
}

/** The block that starts at a place that was taken. */
function blockAt(growth: Growth, start: number): Block {
  const instructions: Instruction[] = [];
  for (let at = start;;) {
    const instruction = growth.instructions.get(at);
    if (instruction === undefined) return { start, instructions, end: growth.behind(at) };
    instructions.push(instruction);
    const end = endOf(instruction);
    if (end !== undefined) return { start, instructions, end };
    at += instruction.length / 2;
    if (growth.leaders.has(at) || instructions.length === BLOCK_MAXIMUM) {
      return { start, instructions, end: { kind: "fall", next: at } };
    }
  }
}

/**
 * The region at a hot place; undefined when its first instruction is for the interpreter.
 * @param others warm places nearby: entries too where a jump of the region may be a switch that leads there
 */
export function growRegion(
  source: CodeSource,
  start: number,
  others: readonly number[] = [],
): RegionCode | undefined {
  const growth = new Growth(source);
  growth.grow(start);
  if (growth.hasSwitch) { for (const other of others) growth.grow(other); }
  if (!growth.instructions.has(start)) return undefined;
  const blocks = new Map<number, Block>();
  const work = [...growth.leaders];
  for (let at = work.shift(); at !== undefined; at = work.shift()) {
    if (blocks.has(at) || !growth.instructions.has(at)) continue;
    const block = blockAt(growth, at);
    blocks.set(at, block);
    const { end } = block;
    if (end.kind === "fall" || end.kind === "branch") work.push(end.next);
  }
  const entries = [...growth.entries].filter((at) => blocks.has(at));
  const returnPoints = [...growth.returnPoints].filter((at) => blocks.has(at));
  return { blocks, entries, returnPoints };
}
