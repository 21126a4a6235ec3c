/**
 * Where the registers of a region are. Those that it names often are kept: in locals from entry to way out.
 * Others are stored to the hart's block by each write, so that ways out have nothing to do for them, except
 * in scopes, small loops and long blocks, where writes wait in locals until control leaves the scope; a
 * read loads the local unless every way there has (docs/decisions/0008).
 *
 * Invariant: the local of a kept register holds its value, and so does that of each register that a scope
 * names, inside it; elsewhere the hart's block does.
 */
import { ROWS } from "../cpu/isa/table.ts";
import type { Block, Instruction } from "./region.ts";
import { isPlain } from "./short_sides.ts";
import type { FlowGraph, Structure } from "./structure.ts";

/** A set of registers: a bit for each integer and each float register. */
export interface RegisterSet {
  readonly x: number;
  readonly f: number;
}

/** Blocks that keep what they write in locals. */
export interface Scope {
  /** The block by which control comes in. */
  readonly header: number;
  /** Whether the header is also where control goes back to. */
  readonly isLoop: boolean;
  readonly blocks: ReadonlySet<number>;
  /** Registers that its blocks read or write. */
  readonly named: RegisterSet;
  readonly written: RegisterSet;
}

/** Most instructions of a loop that is a scope: entering it loads, and leaving it stores, what it names. */
const LOOP_MAXIMUM = 120;
/** Least instructions of a block that is a scope of its own. */
const LONG_BLOCK = 20;

/**
 * A register is kept when so many instructions of the region, or fewer, come to one mention of it: a
 * transition to another region loads and stores it, and they come every few dozen instructions.
 */
const INSTRUCTIONS_PER_MENTION = 15;

const NONE: RegisterSet = { x: 0, f: 0 };
const ALL: RegisterSet = { x: -1, f: -1 };

/** Which operands each row of the instruction table names. */
const OPERANDS = ROWS.map(({ operands }) => {
  const has = (letter: string) => operands.includes(letter);
  return {
    s: has("s"),
    t: has("t"),
    d: has("d"),
    S: has("S"),
    T: has("T"),
    R: has("R"),
    D: has("D"),
  };
});

const bit = (register: number) => 1 << register;
/** Registers of `a` or of `b`. */
export const union = (a: RegisterSet, b: RegisterSet): RegisterSet => ({
  x: a.x | b.x,
  f: a.f | b.f,
});
const common = (a: RegisterSet, b: RegisterSet) => ({ x: a.x & b.x, f: a.f & b.f });

/** Registers of `a` that are not in `b`. */
export function without(a: RegisterSet, b: RegisterSet): RegisterSet {
  return { x: a.x & ~b.x, f: a.f & ~b.f };
}

/** Registers that an instruction reads; x0 is none. */
export function readBy({ row, rs1, rs2, rs3 }: Instruction): RegisterSet {
  const { s, t, S, T, R } = OPERANDS[row]!;
  return {
    x: ((s ? bit(rs1) : 0) | (t ? bit(rs2) : 0)) & ~1,
    f: (S ? bit(rs1) : 0) | (T ? bit(rs2) : 0) | (R ? bit(rs3) : 0),
  };
}

/** Registers that an instruction writes. */
export function writtenBy({ row, rd }: Instruction): RegisterSet {
  const { d, D } = OPERANDS[row]!;
  return { x: d ? bit(rd) & ~1 : 0, f: D ? bit(rd) : 0 };
}

/** Calls `each` with the numbers of the registers in a mask. */
export function forEachRegister(mask: number, each: (register: number) => void): void {
  for (let left = mask; left !== 0; left &= left - 1) each(31 - Math.clz32(left & -left));
}

/**
 * Whether what each instruction of a block writes has to be in the hart's block: not when another one
 * writes the same register before control may leave.
 */
export function lastingWrites(instructions: readonly Instruction[]): boolean[] {
  const lasting = new Array<boolean>(instructions.length);
  let overwritten = 0;
  for (let i = instructions.length - 1; i >= 0; i--) {
    const instruction = instructions[i]!;
    if (!isPlain(instruction)) overwritten = 0;
    const { x } = writtenBy(instruction);
    lasting[i] = (x & overwritten) === 0;
    if (isPlain(instruction)) overwritten |= x;
  }
  return lasting;
}

/** Scopes of a region, and which locals are loaded where. */
export class RegisterFlow {
  /** Registers that are in locals throughout. */
  readonly kept: RegisterSet;
  /** Those of them that the region writes. */
  readonly keptWritten: RegisterSet;
  readonly #scopes: (Scope | undefined)[];
  readonly #named: readonly RegisterSet[];
  readonly #written: readonly RegisterSet[];
  readonly #before: RegisterSet[];
  readonly #predecessors: number[][];
  /** The block that immediately dominates each block; none where the dispatcher does. */
  readonly #parents: number[] = [];

  constructor(
    graph: FlowGraph,
    private readonly blocks: readonly Block[],
    private readonly structure: Structure,
  ) {
    this.kept = keptOf(blocks);
    const written = blocks.map(({ instructions }) => all(instructions, writtenBy));
    this.keptWritten = common(this.kept, written.reduce(union, NONE));
    this.#written = written.map((set) => without(set, this.kept));
    this.#named = blocks.map(({ instructions }, i) =>
      union(without(all(instructions, readBy), this.kept), this.#written[i]!)
    );
    this.#predecessors = blocks.map(() => []);
    graph.successors.forEach((list, from) => {
      if (structure.position[from]! < 0) return;
      for (const to of list) this.#predecessors[to]!.push(from);
    });
    // The last list is the dispatcher's.
    structure.children.slice(0, blocks.length).forEach((list, above) => {
      for (const below of list) this.#parents[below] = above;
    });
    this.#scopes = new Array<Scope | undefined>(blocks.length).fill(undefined);
    this.#findLoops();
    this.#findLongBlocks();
    this.#before = this.#solve();
  }

  /** The scope that a block belongs to. */
  scopeOf(block: number): Scope | undefined {
    return this.#scopes[block];
  }

  /** Registers whose locals are loaded on every way to a block; to a scope's header, from outside it. */
  loadedBefore(block: number): RegisterSet {
    return this.#before[block]!;
  }

  #findLoops(): void {
    const { isLoop, position } = this.structure;
    const headers = [...this.blocks.keys()].filter((block) => isLoop[block]!);
    headers.sort((a, b) => position[a]! - position[b]!);
    for (const header of headers) {
      if (this.#scopes[header] !== undefined) continue;
      const blocks = this.#loopOf(header);
      if (blocks !== undefined) this.#addScope(header, true, blocks);
    }
  }

  /** The blocks of a loop; undefined when it is too large. */
  #loopOf(header: number): Set<number> | undefined {
    const blocks = new Set([header]);
    const work = this.#predecessors[header]!.filter((from) => this.#dominates(header, from));
    for (let block = work.pop(); block !== undefined; block = work.pop()) {
      if (blocks.has(block)) continue;
      blocks.add(block);
      work.push(...this.#predecessors[block]!);
    }
    let size = 0;
    for (const block of blocks) size += this.blocks[block]!.instructions.length;
    return size <= LOOP_MAXIMUM ? blocks : undefined;
  }

  #dominates(above: number, below: number): boolean {
    for (let at: number | undefined = below; at !== undefined; at = this.#parents[at]) {
      if (at === above) return true;
    }
    return false;
  }

  #findLongBlocks(): void {
    this.blocks.forEach(({ instructions }, block) => {
      if (this.#scopes[block] !== undefined || instructions.length < LONG_BLOCK) return;
      this.#addScope(block, false, new Set([block]));
    });
  }

  #addScope(header: number, isLoop: boolean, blocks: ReadonlySet<number>): void {
    const sum = (sets: readonly RegisterSet[]) =>
      [...blocks].reduce((total, block) => union(total, sets[block]!), NONE);
    const scope = { header, isLoop, blocks, named: sum(this.#named), written: sum(this.#written) };
    for (const block of blocks) this.#scopes[block] = scope;
  }

  /** What is loaded before each block: what is loaded behind all blocks that lead there. */
  #solve(): RegisterSet[] {
    const { position, entries } = this.structure;
    const isEntry = new Set(entries);
    const before: RegisterSet[] = this.blocks.map((_, block) =>
      isEntry.has(block) ? this.kept : ALL
    );
    const order = [...this.blocks.keys()].filter((block) => position[block]! >= 0);
    order.sort((a, b) => position[a]! - position[b]!);
    const behind = (block: number): RegisterSet => {
      const named = this.#scopes[block]?.named ?? this.#named[block]!;
      return union(before[block]!, named);
    };
    for (let changed = true; changed;) {
      changed = false;
      for (const block of order) {
        if (isEntry.has(block)) continue;
        const scope = this.#scopes[block];
        const from = this.#predecessors[block]!.filter((other) =>
          scope?.header !== block || !scope.blocks.has(other)
        );
        const loaded = from.reduce((set, other) => common(set, behind(other)), ALL);
        if (loaded.x === before[block]!.x && loaded.f === before[block]!.f) continue;
        before[block] = loaded;
        changed = true;
      }
    }
    return before;
  }
}

function all(
  instructions: readonly Instruction[],
  of: (instruction: Instruction) => RegisterSet,
): RegisterSet {
  return instructions.reduce((set, instruction) => union(set, of(instruction)), NONE);
}

/** The registers that a region mentions often; a write counts as two reads. */
function keptOf(blocks: readonly Block[]): RegisterSet {
  const mentions = { x: new Float64Array(32), f: new Float64Array(32) };
  let instructions = 0;
  const add = (set: RegisterSet, weight: number) => {
    forEachRegister(set.x, (register) => mentions.x[register]! += weight);
    forEachRegister(set.f, (register) => mentions.f[register]! += weight);
  };
  for (const block of blocks) {
    instructions += block.instructions.length;
    for (const instruction of block.instructions) {
      add(readBy(instruction), 0.5);
      add(writtenBy(instruction), 1);
    }
  }
  const often = (counts: Float64Array) =>
    counts.reduce(
      (mask, count, register) =>
        count * INSTRUCTIONS_PER_MENTION >= instructions ? mask | bit(register) : mask,
      0,
    );
  return { x: often(mentions.x) & ~1, f: often(mentions.f) };
}
