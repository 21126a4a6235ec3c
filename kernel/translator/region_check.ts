/**
 * The tier `check`: each run of a region is taken back and done again by the interpreter, and both must
 * leave the same hart and have made the same stores (issue 3, "shadow mode").
 *
 *     begin        keeps the hart's block and what the control block says of the budget
 *     the region   runs; its stores are written down, and it goes to no other region
 *     end          keeps what it left, takes its stores back, puts the hart back, lets the interpreter
 *                  execute as many instructions from the same icount on, and compares
 *
 * Invariants: what the interpreter did is what stays, so the machine is that of the tier `interpreter`; a
 * region has no other effects than these, because it leaves before whatever needs a device, a trace or a
 * walk. Caches are not put back: they are right whenever they hold anything.
 */
import { Broken } from "../base/assert.ts";
import type { Core, RegionCheck } from "../cpu/core.ts";
import { REGION_END } from "../cpu/region_entry.ts";
import { RUN_END } from "../cpu/run_end.ts";
import { HART } from "../memory/hart_layout.ts";
import { HART_BLOCK } from "../memory/memory_plan.ts";
import { type LoggedStore, StoreLog } from "../memory/store_log.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { PAGE_HALVES } from "./region.ts";
import type { Translation } from "./translation.ts";

const HART_WORDS = HART.byteLength / 4;

/** Something that the two tiers do not agree about. */
export interface Difference {
  /** A field of the hart such as `x[10]`, `store 3`, `instructions` or `end`. */
  readonly what: string;
  /** What the region made of it. */
  readonly region: string;
  readonly interpreter: string;
}

/** Thrown when a region did not do what the interpreter does. */
export class RegionMismatch extends Broken {
  /** "RegionMismatch". */
  override name = "RegionMismatch";

  constructor(
    /** Address at which the region was entered. */
    readonly pc: bigint,
    /** First and last address of the region's code; undefined when it is not known any more. */
    readonly range: readonly [first: bigint, last: bigint] | undefined,
    /** Instructions that the region counted. */
    readonly instructions: number,
    readonly differences: readonly Difference[],
  ) {
    const where = range === undefined ? "" : ` (code ${hex(range[0])} to ${hex(range[1])})`;
    const lines = differences.map(({ what, region, interpreter }) =>
      `${what}: region ${region}, interpreter ${interpreter}`
    );
    super(
      `region entered at ${hex(pc)}${where} is wrong after ${instructions} instructions:\n  ` +
        lines.join("\n  "),
    );
  }
}

/** Checks the regions of one VM. */
export class RegionChecker implements RegionCheck {
  readonly #hart: Int32Array;
  readonly #before = new Int32Array(HART_WORDS);
  readonly #left = new Int32Array(HART_WORDS);
  readonly #regionLog: StoreLog;
  readonly #interpreterLog: StoreLog;
  /** Who is storing; nobody but between `begin` and the end of `end`. */
  #log: StoreLog | undefined;
  #budget = 0n;
  #attention = 0;

  /** @param translationIn the translation whose function has a slot, for messages */
  constructor(
    private readonly core: Core,
    private readonly translationIn: (slot: number) => Translation | undefined,
  ) {
    this.#hart = new Int32Array(core.buffer, HART_BLOCK, HART_WORDS);
    this.#regionLog = new StoreLog(core.buffer);
    this.#interpreterLog = new StoreLog(core.buffer);
  }

  begin(): void {
    const { core } = this;
    this.#before.set(this.#hart);
    this.#budget = core.control("budget");
    this.#attention = core.controlWord("attention");
    this.#regionLog.clear();
    this.#log = this.#regionLog;
  }

  store(host: number, size: number, low: number, high: number): void {
    this.#log?.add(host, size, low, high);
  }

  end(slot: number, entry: number, regionEnd: number): void {
    const { core } = this;
    this.#left.set(this.#hart);
    const left = core.control("budget");
    const instructions = Number(this.#budget - left);
    const raised = core.controlWord("attention");
    this.#regionLog.undo();
    this.#hart.set(this.#before);
    this.#interpreterLog.clear();
    this.#log = this.#interpreterLog;
    const differences = this.#interpret(instructions, left, regionEnd);
    this.#log = undefined;
    core.setControlWord("attention", core.controlWord("attention") | this.#attention | raised);
    if (!this.#sameHart()) differences.push(...this.#hartDifferences());
    if (!this.#regionLog.equals(this.#interpreterLog)) {
      differences.push(...this.#storeDifferences());
    }
    if (differences.length === 0) return;
    const pc = new BigUint64Array(this.#before.buffer)[HART.offset.pc >> 3]!;
    const range = this.#range(slot, entry, pc);
    throw new RegionMismatch(pc, range, instructions, differences);
  }

  /**
   * Lets the interpreter execute so many instructions, at the icounts at which the region did.
   * @param left budget behind them
   */
  #interpret(instructions: number, left: bigint, regionEnd: number): Difference[] {
    if (instructions === 0) return [];
    if (instructions < 0) {
      return [{ what: "instructions", region: `${instructions}`, interpreter: "-" }];
    }
    const { core } = this;
    const aside = core.control("budgetAside");
    const behind = left + aside;
    const moveEnd = (by: bigint) => {
      core.setControl("runEnd", core.control("runEnd") + by);
      core.setRegister(core.current, "executed", core.register(core.current, "executed") + by);
    };
    moveEnd(-behind);
    core.setControl("budget", BigInt(instructions));
    core.setControl("budgetAside", 0n);
    core.setControlWord("attention", 0);
    const end = core.exports.runPlainly!();
    const notDone = core.control("budget") + core.control("budgetAside");
    moveEnd(behind);
    core.setControl("budget", left);
    core.setControl("budgetAside", aside);
    if (end === RUN_END.attention) core.raiseAttention(ATTENTION.stop);
    if (notDone !== 0n) {
      const interpreter = `${BigInt(instructions) - notDone}, then ${nameIn(RUN_END, end)}`;
      return [{ what: "instructions", region: `${instructions}`, interpreter }];
    }
    if (end !== RUN_END.attention || regionEnd === REGION_END.check) return [];
    return [{ what: "end", region: nameIn(REGION_END, regionEnd), interpreter: "attention" }];
  }

  #sameHart(): boolean {
    for (let i = 0; i < HART_WORDS; i++) {
      if (this.#left[i] !== this.#hart[i]) return false;
    }
    return true;
  }

  #hartDifferences(): Difference[] {
    const differences: Difference[] = [];
    for (const [name, [width, count]] of Object.entries(HART.fields)) {
      const offset = HART.offset[name as keyof typeof HART.fields];
      for (let i = 0; i < count; i++) {
        const region = valueAt(this.#left, offset + i * width, width);
        const interpreter = valueAt(this.#hart, offset + i * width, width);
        if (region === interpreter) continue;
        const what = count > 1 ? `${name}[${i}]` : name;
        differences.push({ what, region: hex(region), interpreter: hex(interpreter) });
      }
    }
    return differences;
  }

  /** The first store in which the two differ: those behind it often follow from it. */
  #storeDifferences(): Difference[] {
    const most = Math.max(this.#regionLog.length, this.#interpreterLog.length);
    for (let i = 0; i < most; i++) {
      const region = this.#describe(this.#regionLog.entry(i));
      const interpreter = this.#describe(this.#interpreterLog.entry(i));
      if (region !== interpreter) return [{ what: `store ${i + 1}`, region, interpreter }];
    }
    return [];
  }

  #describe(store: LoggedStore | undefined): string {
    if (store === undefined) return "none";
    const { plan } = this.core;
    const gpa = BigInt(store.host - plan.ram + plan.ramStart);
    return `${store.size} bytes ${hex(store.value)} at guest-physical ${hex(gpa)}`;
  }

  /** Where the region's code lies, as its entry sees it. */
  #range(slot: number, entry: number, pc: bigint): RegionMismatch["range"] {
    const parts = this.translationIn(slot)?.parts;
    if (parts === undefined) return undefined;
    const base = pc - BigInt((entry & 0xffff) * 2);
    const first = Math.min(...parts.map(({ page, first }) => page * PAGE_HALVES + first));
    const end = parts.map(({ page, first, code }) => page * PAGE_HALVES + first + code.length);
    return [base + BigInt(first * 2), base + BigInt(Math.max(...end) * 2 - 1)];
  }
}

function nameIn(names: Readonly<Record<string, number>>, number: number): string {
  return Object.entries(names).find(([, value]) => value === number)?.[0] ?? `${number}`;
}

function valueAt(words: Int32Array, offset: number, width: number): bigint {
  const low = BigInt(words[offset >> 2]! >>> 0);
  return width === 4 ? low : low | BigInt(words[(offset >> 2) + 1]! >>> 0) << 32n;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
