/**
 * Generates the function of a region: its blocks as structured control flow under one dispatcher loop, with
 * registers in locals (translator.md, "What follows" 2-6; register_flow.ts).
 *
 * Invariants: every loop and every entry checks that the budget covers the longest way to the next check,
 * so that no block starts which could not end; where control leaves, the hart's block holds all registers.
 */
import { assert } from "../base/assert.ts";
import { control32, control64, setControl64, setHart64 } from "../memory/block_access.ts";
import { ROWS } from "../cpu/isa/table.ts";
import type { I32 } from "../cpu/isa/ops.ts";
import { emitExecutionMark } from "../cpu/execution_marks.ts";
import { REGION_END, REGION_TYPE } from "../cpu/region_entry.ts";
import { JUMP, jumpEntry } from "../mmu/jump_cache.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import {
  type FinishedFunction,
  FunctionBuilder,
  i32,
  i64,
  type Label,
  type Local,
} from "../wasm/mod.ts";
import type { Block, Instruction, RegionCode } from "./region.ts";
import { lastingWrites, RegisterFlow, type Scope } from "./register_flow.ts";
import { Registers } from "./registers.ts";
import { type PageCache, pageCacheKey, pageCachesOf } from "./page_caches.ts";
import { type RegionFrame, type RegionImports, RegionOps } from "./region_ops.ts";
import { type AccessGroup, accessGroups, type CheckedGroup, checkGroup } from "./access_groups.ts";
import { emitPageLoop } from "./page_loop_code.ts";
import { longestWays } from "./longest_ways.ts";
import { type LoopBase, loopBases } from "./page_loops.ts";
import { COMPARE, shortSides, type Side } from "./short_sides.ts";
import { type FlowGraph, type Structure, structure } from "./structure.ts";

/** In `exit`: position of the value of REGION_END. */
const KIND_SHIFT = 28;
/** Most places behind calls that a return compares with. */
const RETURN_POINTS_MAXIMUM = 4;

type RegionParameters = typeof REGION_TYPE["parameters"];

/** What a region's function is made of. */
export interface RegionOrder {
  readonly plan: MemoryPlan;
  readonly imports: RegionImports;
  /** Index of REGION_TYPE in every module of regions. */
  readonly typeIndex: number;
  readonly code: RegionCode;
}

/** A function and the places where it may be entered, in the order of their entry numbers. */
export interface WrittenRegion {
  readonly finished: FinishedFunction;
  readonly entries: readonly number[];
}

/** Generates a region's function. It is the same wherever the code lies, and in whatever slot. */
export function writeRegion(order: RegionOrder): WrittenRegion {
  const writer = new RegionWriter(order);
  const f = new FunctionBuilder<RegionParameters>({ index: 0, name: "region", ...REGION_TYPE });
  writer.write(f);
  return { finished: f.finish(), entries: writer.entries };
}

/** Labels of the ways out and of the dispatcher. */
interface Ways {
  readonly dispatch: Label;
  readonly leave: Label;
  readonly chain: Label;
}

/** Where in the region code is being written. */
interface Site {
  readonly block: number;
  /** What keeps writes in locals here. */
  readonly scope: Scope | undefined;
  /** Where ways out go. */
  readonly leave: Label;
}

class RegionWriter {
  readonly #blocks: readonly Block[];
  readonly #number = new Map<number, number>();
  readonly #structure: Structure;
  readonly #need: Int32Array;
  readonly #flow: RegisterFlow;
  readonly #labels = new Map<number, Label>();
  readonly #loops = new Map<number, Label>();
  #pageCaches!: ReadonlyMap<number, PageCache>;
  #f!: FunctionBuilder<RegionParameters>;
  #ops!: RegionOps;
  #frame!: RegionFrame;
  #registers!: Registers;
  #ways!: Ways;
  #next!: Local<"i32">;
  /** Why and where control leaves: halfword | instructions not executed << 16 | REGION_END << KIND_SHIFT. */
  #exit!: Local<"i32">;
  #exitAddress!: Local<"i64">;
  #site!: Site;
  /** Ways out of the scopes being written, which store what waits in locals. */
  readonly #scopeLeaves = new Map<Scope, Label>();
  /** Whether sides of a branch were evaluated on the way here: blocks with checks are not, behind them. */
  #inside = false;
  /** How the branch of the loop being written goes on, where that is not as usual. */
  #loopBranch: ((taken: I32) => void) | undefined;

  constructor(private readonly order: RegionOrder) {
    this.#blocks = [...order.code.blocks.values()];
    this.#blocks.forEach((block, i) => this.#number.set(block.start, i));
    const graph: FlowGraph = {
      count: this.#blocks.length,
      successors: this.#blocks.map((block) => this.#successors(block)),
      entries: order.code.entries.map((at) => this.#number.get(at)!),
    };
    this.#structure = structure(graph);
    this.#flow = new RegisterFlow(graph, this.#blocks, this.#structure);
    this.#need = longestWays(graph, this.#blocks, this.#structure, (b) => this.#isCheckpoint(b));
  }

  /** Places of the entries by entry number. */
  get entries(): number[] {
    return this.#structure.entries.map((block) => this.#blocks[block]!.start);
  }

  #successors({ end }: Block): number[] {
    const places = end.kind === "branch"
      ? [end.next, end.target]
      : end.kind === "fall"
      ? [end.next]
      : end.kind === "jump"
      ? [end.target]
      : [];
    return places.map((at) => this.#number.get(at)).filter((block) => block !== undefined);
  }

  #isCheckpoint(block: number): boolean {
    return this.#structure.isLoop[block]! || this.#structure.entries.includes(block);
  }

  /** Writes the function's body. */
  write(f: FunctionBuilder<RegionParameters>): void {
    this.#f = f;
    const [packed, address, slot] = f.parameters;
    this.#next = f.local("i32");
    this.#exit = f.local("i32");
    this.#exitAddress = f.local("i64");
    this.#registers = new Registers(f, this.#blocks, this.#flow);
    this.#pageCaches = pageCachesOf(this.#blocks, this.order.plan);
    const base = f.local("i64");
    const budget = f.local("i64");
    const element = f.local("i32");
    this.#frame = this.#makeFrame({ base, budget, element });
    this.#ops = new RegionOps(this.#frame);
    f.set(this.#next, i32.shrU(packed, 16));
    f.set(base, i64.sub(address, i64.extendI32U(i32.shl(i32.and(packed, 0xffff), 1))));
    emitExecutionMark(f, this.order.plan, base, slot);
    f.set(budget, control64("budget"));
    f.set(element, control32("element"));
    this.#registers.loadKept();
    f.block((leave) => {
      f.loop((dispatch) => {
        f.block((chain) => {
          this.#ways = { dispatch, chain, leave };
          this.#dispatcher();
        });
        this.#chain();
      });
    });
    this.#return();
  }

  #makeFrame(
    locals: Pick<RegionFrame, "base" | "budget" | "element">,
  ): RegionFrame {
    const { plan, imports } = this.order;
    const f = this.#f;
    return {
      ...locals,
      f,
      plan,
      imports,
      registers: this.#registers,
      pageCache: (register, kind) => this.#pageCaches.get(pageCacheKey(register, kind))!,
      leave: (kind, at, notExecuted) => {
        f.set(this.#exit, at | notExecuted << 16 | REGION_END[kind] << KIND_SHIFT);
        f.br(this.#site.leave);
      },
      goTo: (at) => this.#goTo(at),
      goEither: (condition, target, next) => this.#goEither(condition, target, next),
      goToAddress: (address, isReturn) => {
        f.set(this.#exitAddress, address);
        this.#storeWaiting();
        if (isReturn) this.#goBehindCall();
        f.br(this.#ways.chain);
      },
    };
  }

  #dispatcher(): void {
    const { children, entries } = this.#structure;
    const f = this.#f;
    const merges = children[this.#blocks.length]!;
    this.#within([...merges].reverse(), () => {
      f.brTable(
        this.#next,
        entries.slice(0, -1).map((block) => this.#labels.get(block)!),
        this.#labels.get(entries.at(-1)!)!,
      );
    });
  }

  /** Runs `body` with labels for blocks that follow it; the first of the list comes last. */
  #within(merges: readonly number[], body: () => void): void {
    const [last, ...others] = merges;
    if (last === undefined) return body();
    this.#f.block((label) => {
      this.#labels.set(last, label);
      this.#within(others, body);
      this.#labels.delete(last);
    });
    this.#tree(last);
  }

  /** A block and everything that it dominates. */
  #tree(block: number): void {
    const { children, isLoop, isMerge } = this.#structure;
    const merges = children[block]!.filter((child) => isMerge[child]!).reverse();
    const body = () => this.#within(merges, () => this.#block(block));
    const scope = this.#flow.scopeOf(block);
    const whole = isLoop[block]!
      ? () =>
        this.#f.loop((label) => {
          this.#loops.set(block, label);
          body();
          this.#loops.delete(block);
        })
      : body;
    if (scope?.header === block) this.#enterScope(scope, whole);
    else whole();
  }

  /** Loads what a scope names and writes it; the ways out of it store what waits in locals. */
  #enterScope(scope: Scope, body: () => void): void {
    this.#registers.startBlock(this.#flow.loadedBefore(scope.header), scope);
    this.#registers.load(scope.named);
    this.#f.block((leave) => {
      this.#scopeLeaves.set(scope, leave);
      body();
      this.#scopeLeaves.delete(scope);
    });
    this.#registers.store(scope);
    this.#f.br(this.#ways.leave);
  }

  #block(number: number): void {
    const { start, instructions, end } = this.#blocks[number]!;
    const scope = this.#flow.scopeOf(number);
    const leave = scope === undefined ? this.#ways.leave : this.#scopeLeaves.get(scope)!;
    this.#site = { block: number, scope, leave };
    this.#registers.startBlock(scope?.named ?? this.#flow.loadedBefore(number), scope);
    if (this.#isCheckpoint(number)) {
      const leave = () => this.#frame.leave("budget", start, 0);
      this.#f.if(i64.ltS(this.#frame.budget, this.#need[number]!), leave, undefined, "unlikely");
    }
    const bases = this.#loops.has(number) ? loopBases(this.#blocks[number]!) : undefined;
    if (bases !== undefined) return this.#pageLoop(number, bases);
    this.#charge(instructions.length);
    this.#f.scope(() => this.#body(instructions, accessGroups(instructions)));
    if (end.kind === "fall") this.#goTo(end.next);
    else if (end.kind === "step") this.#frame.leave("step", end.next, 0);
  }

  #pageLoop(number: number, bases: readonly LoopBase[]): void {
    const { instructions, end } = this.#blocks[number]!;
    assert(end.kind === "branch");
    const site = this.#site;
    emitPageLoop({
      frame: this.#frame,
      ops: this.#ops,
      instructions,
      behind: this.#need[number]! - instructions.length,
      again: this.#loops.get(number)!,
      body: (branch) => {
        this.#loopBranch = branch;
        this.#body(instructions);
        this.#loopBranch = undefined;
      },
    }, bases);
    this.#site = site;
    this.#goTo(end.next);
  }

  #charge(instructions: number): void {
    const { budget } = this.#frame;
    if (instructions > 0) this.#f.set(budget, i64.sub(budget, instructions));
  }

  /** @param groups accesses whose pages are looked for together */
  #body(
    instructions: readonly Instruction[],
    groups: ReadonlyMap<number, AccessGroup> = new Map(),
  ): void {
    this.#ops.startBlock();
    const checked = new Map<AccessGroup, CheckedGroup>();
    const lasting = lastingWrites(instructions);
    // Registers that the block has loaded from memory: they lead somewhere new each time.
    const loaded = new Set<number>();
    instructions.forEach((instruction, i) => {
      const { operands, meaning } = ROWS[instruction.row]!;
      const steadyBase = !loaded.has(instruction.rs1);
      const group = groups.get(i);
      if (group?.first === i) checked.set(group, checkGroup(this.#frame, group, steadyBase));
      this.#f.scope(() => {
        const inGroup = group && checked.get(group);
        this.#ops.take(instruction, instructions.length - i, steadyBase, lasting[i]!, inGroup);
        meaning(this.#ops);
      });
      if (!operands.includes("d")) return;
      if (operands.includes("(s)")) loaded.add(instruction.rd);
      else loaded.delete(instruction.rd);
    });
  }

  #goEither(condition: I32, target: number, next: number): void {
    if (this.#loopBranch !== undefined) return this.#loopBranch(condition);
    if (this.#evaluateBoth(condition, target, next)) return;
    const site = this.#site;
    const back = target < this.#blocks[site.block]!.start;
    this.#f.if(condition, () => this.#goTo(target), undefined, back ? "likely" : undefined);
    this.#site = site;
    this.#goTo(next);
  }

  /**
   * A branch around a few instructions that cannot leave: both sides are evaluated and the results chosen,
   * because a branch that is not predicted costs more than they do.
   */
  #evaluateBoth(condition: I32, target: number, next: number): boolean {
    const pair = shortSides(target, next, (at) => this.#blockAt(at));
    if (pair === undefined) return false;
    const ends = pair.way.kind === "join" ? [pair.way.at] : [pair.way.ifTrue, pair.way.ifFalse];
    if (!ends.every((at) => this.#canGoTo(at))) return false;
    const sides = [
      ...pair.taken.length > 0 ? [target] : [],
      ...pair.fallen.length > 0 ? [next] : [],
    ];
    if (this.#inside && sides.some((at) => this.#isCheckpoint(this.#number.get(at)!))) return false;
    if (!this.#leaveScopeFor(sides)) return false;
    const f = this.#f;
    const { budget, registers } = this.#frame;
    const { x } = registers;
    const chosen = f.let(condition);
    const evaluate = ({ instructions }: Side) =>
      this.#ops.aside(() => {
        for (const instruction of instructions) {
          this.#ops.take(instruction, 0, false, true);
          ROWS[instruction.row]!.meaning(this.#ops);
        }
      });
    const [taken, fallen] = [evaluate(pair.taken), evaluate(pair.fallen)];
    for (const register of new Set([...taken.keys(), ...fallen.keys()])) {
      const local = x.get(register)!;
      registers.load({ x: 1 << register, f: 0 });
      const values = [taken.get(register) ?? local, fallen.get(register) ?? local] as const;
      f.set(local, i64.select(chosen, ...values));
      registers.wrote("x", register, true);
    }
    const charge = i64.select(chosen, pair.taken.length, pair.fallen.length);
    f.set(budget, i64.sub(budget, charge));
    const { way } = pair;
    if (way.kind === "join") this.#goTo(way.at);
    else {
      registers.load({ x: (1 << way.rs1 | 1 << way.rs2) & ~1, f: 0 });
      const value = (register: number) => x.get(register) ?? i64.const(0);
      const holds = COMPARE[way.compare](value(way.rs1), value(way.rs2));
      const outside = this.#inside;
      this.#inside = true;
      this.#goEither(holds, way.ifTrue, way.ifFalse);
      this.#inside = outside;
    }
    return true;
  }

  #blockAt(at: number): Block | undefined {
    const number = this.#number.get(at);
    return number === undefined ? undefined : this.#blocks[number];
  }

  /** Whether a block can be reached from here although the graph has no edge to it. */
  #canGoTo(at: number): boolean {
    const to = this.#number.get(at);
    if (to === undefined) return true;
    const { position, isMerge, entries } = this.#structure;
    if (position[to]! <= position[this.#site.block]!) {
      return this.#loops.has(to) || entries.includes(to);
    }
    return isMerge[to]! && this.#labels.has(to);
  }

  #goTo(at: number): void {
    const f = this.#f;
    const to = this.#number.get(at);
    if (to === undefined || !this.#site.scope?.blocks.has(to)) this.#storeWaiting();
    if (to === undefined) {
      f.set(this.#exitAddress, i64.add(this.#frame.base, at * 2));
      return f.br(this.#ways.chain);
    }
    const { position, isMerge, entries } = this.#structure;
    const site = this.#site;
    if (position[to]! <= position[site.block]!) {
      const loop = this.#loops.get(to);
      if (loop !== undefined) return f.br(loop);
      f.set(this.#next, entries.indexOf(to));
      return f.br(this.#ways.dispatch);
    }
    if (isMerge[to]!) return f.br(this.#labels.get(to)!);
    this.#tree(to);
    this.#site = site;
  }

  /** Stores what waits in locals here: control leaves the scope. */
  #storeWaiting(): void {
    const { scope } = this.#site;
    if (scope !== undefined) this.#registers.store(scope);
  }

  /** Makes the sides of a branch belong to where it is; false when they belong to another scope. */
  #leaveScopeFor(sides: readonly number[]): boolean {
    const { scope } = this.#site;
    const scopes = sides.map((at) => this.#flow.scopeOf(this.#number.get(at)!));
    if (scopes.every((other) => other === scope)) return true;
    if (scope?.isLoop || scopes.some((other) => other !== undefined)) return false;
    this.#storeWaiting();
    this.#registers.endScope();
    this.#site = { ...this.#site, scope: undefined };
    return true;
  }

  /** Asks for the few places that a return may go to, before the jump cache is asked. */
  #goBehindCall(): void {
    const { returnPoints } = this.order.code;
    if (returnPoints.length > RETURN_POINTS_MAXIMUM) return;
    const f = this.#f;
    const distance = f.let(i64.sub(this.#exitAddress, this.#frame.base));
    // What waited in locals was stored.
    const site = this.#site = { ...this.#site, scope: undefined };
    for (const at of returnPoints) {
      f.if(i64.eq(distance, at * 2), () => this.#goTo(at));
      this.#site = site;
    }
  }

  /** Control goes to an address: to this region again, or out of it. */
  #chain(): void {
    const f = this.#f;
    const { base, element } = this.#frame;
    const target = this.#exitAddress;
    const jump = jumpEntry(f, this.order.plan, element, target);
    const storeBudget = () => setControl64(f, "budget", this.#frame.budget);
    f.if(
      i64.eq(i64.load(jump, JUMP.address), target),
      () => {
        const entry = this.#next;
        f.set(entry, i32.load(jump, JUMP.entry));
        const slot = f.let(i32.load(jump, JUMP.slot));
        f.if(i32.eq(slot, f.parameters[2]), () => {
          f.set(base, i64.sub(target, i64.extendI32U(i32.shl(i32.and(entry, 0xffff), 1))));
          f.set(entry, i32.shrU(entry, 16));
          // The same code may lie at another address, too.
          emitExecutionMark(f, this.order.plan, base, slot);
          f.br(this.#ways.dispatch);
        });
        // A region that is checked is checked alone.
        if (this.order.imports.logStore !== undefined) return;
        this.#registers.storeKept();
        storeBudget();
        f.returnCallIndirect(this.order.typeIndex, slot, entry, target, slot);
      },
      undefined,
      "likely",
    );
    this.#registers.storeKept();
    storeBudget();
    setHart64(f, "pc", target);
    f.return(REGION_END.lookUp);
  }

  /** Leaves at a place of the region, with what was charged but not executed given back. */
  #return(): void {
    const f = this.#f;
    const { base, budget } = this.#frame;
    this.#registers.storeKept();
    const at = i32.shl(i32.and(this.#exit, 0xffff), 1);
    setHart64(f, "pc", i64.add(base, i64.extendI32U(at)));
    const notExecuted = i32.and(i32.shrU(this.#exit, 16), 0xff);
    setControl64(f, "budget", i64.add(budget, i64.extendI32U(notExecuted)));
    f.return(i32.shrU(this.#exit, KIND_SHIFT));
  }
}
