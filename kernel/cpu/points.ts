/**
 * Points: virtual addresses whose instructions ask a service before they are executed, in whatever address
 * space. Breakpoints and observers of execution are made of them; markers of replay-only code (S13) ask
 * here too. The interpreter executes pages with points at its own speed, all other code runs as ever.
 *
 *     record at the offset in its page ──► bit of the virtual page ──► wantsStop ──► services
 *     translator ──► hasPage: no region that has code on such a page is entered
 *
 * Invariants: nothing here is machine state, and a service changes none: a run with points is the run
 * without them; what has asked and ended a run does not ask again until its instruction was executed.
 */
import { assert } from "../base/assert.ts";
import { ConfigError } from "../base/errors.ts";
import { POINT_PAGES } from "../memory/control_layout.ts";
import type { Core } from "./core.ts";
import { isMarker, type Marker, markerOf } from "./isa/marker.ts";

/**
 * Asked before an instruction is executed; true ends the run there. All services of an instruction are
 * asked once, whatever they answer.
 *
 * @param low low word of its virtual address
 * @param high high word
 */
export type PointService = (low: number, high: number) => boolean;

/** A service at a range of addresses. */
export interface Point {
  /** First virtual address, even. */
  readonly address: bigint;
  /** Bytes in which instructions begin; 2 for one instruction. */
  readonly bytes: number;
  readonly service: PointService;
}

/** Most bytes of one point. */
export const POINT_BYTES_MAXIMUM = 64 << 20;

/** Halfwords of a page. */
const PAGE_SLOTS = 2048;
/** Pages of 4 GiB: what the high word of an address counts in page numbers, which fit a number. */
const PAGES_OF_WORD = 2 ** 20;

/** The part of a point that lies on one page: halfwords from `first` to before `end`. */
interface OnPage {
  readonly point: Point;
  readonly first: number;
  readonly end: number;
}

/** A hart before an instruction. */
interface Moment {
  /** Instructions that the hart has executed. */
  readonly executed: bigint;
  readonly low: number;
  readonly high: number;
}

function pageNumber(low: number, high: number): number {
  return (high >>> 0) * PAGES_OF_WORD + (low >>> 12);
}

/** The points of one core. */
export class Points {
  readonly #core: Core;
  readonly #pages = new Map<number, OnPage[]>();
  readonly #points = new Map<Point, readonly number[]>();
  /** Points by halfword of a page, and pages by their bit. */
  readonly #slots = new Int32Array(PAGE_SLOTS);
  readonly #bits = new Int32Array(POINT_PAGES);
  /** Where points, and markers, ended a run last, by hart. */
  readonly #stoppedAt: (Moment | undefined)[] = [];
  readonly #markedAt: (Moment | undefined)[] = [];
  #marker: Marker = "begin";

  constructor(core: Core) {
    this.#core = core;
  }

  /** Whether there are any. */
  get any(): boolean {
    return this.#pages.size > 0;
  }

  /** The marker that ended the last run that ended at one. */
  get marker(): Marker {
    return this.#marker;
  }

  /**
   * Adds a point, between two runs. Several may lie at one address.
   * Throws ConfigError for an address or a length that cannot be.
   */
  add(address: bigint, bytes: number, service: PointService): Point {
    const start = BigInt.asUintN(64, address);
    if ((start & 1n) !== 0n) {
      throw new ConfigError(`instructions lie at even addresses, not at 0x${start.toString(16)}`);
    }
    const fits = Number.isInteger(bytes) && bytes >= 1 && bytes <= POINT_BYTES_MAXIMUM &&
      start + BigInt(bytes) <= 1n << 64n;
    if (!fits) {
      throw new ConfigError(
        `a range of instructions has 1 to ${POINT_BYTES_MAXIMUM} bytes and ends where addresses ` +
          `do, unlike ${bytes} bytes at 0x${start.toString(16)}`,
      );
    }
    const point = { address: start, bytes, service };
    const pages: number[] = [];
    let isNew = false;
    this.#forEachPage(point, (page, first, end) => {
      pages.push(page);
      const there = this.#pages.get(page);
      if (there !== undefined) there.push({ point, first, end });
      else {
        this.#pages.set(page, [{ point, first, end }]);
        this.#countBit(page, 1);
        isNew = true;
      }
    });
    this.#points.set(point, pages);
    this.#countSlots(point, 1);
    // Regions with code on these pages are entered no more.
    if (isNew) this.#core.exports.dropJumps();
    return point;
  }

  /** Takes a point away, between two runs; one that is not there is no error. */
  remove(point: Point): void {
    const pages = this.#points.get(point);
    if (pages === undefined) return;
    this.#points.delete(point);
    for (const page of pages) {
      const left = this.#pages.get(page)!.filter((on) => on.point !== point);
      if (left.length > 0) this.#pages.set(page, left);
      else {
        this.#pages.delete(page);
        this.#countBit(page, -1);
      }
    }
    this.#countSlots(point, -1);
  }

  /** Whether points lie on the page of a virtual address, given as two words. */
  hasPage(low: number, high: number): boolean {
    return this.#pages.has(pageNumber(low, high));
  }

  /**
   * Answers the interpreter before an instruction is executed.
   * @param asked 0 for points, else the bits of a marker
   */
  wantsStop(asked: number, low: number, high: number): boolean {
    if (asked !== 0) {
      if (this.#isAt(this.#markedAt, low, high)) return false;
      assert(isMarker(asked), "only markers ask");
      this.#marker = markerOf(asked)!;
      this.#note(this.#markedAt, low, high);
      return true;
    }
    const there = this.#pages.get(pageNumber(low, high));
    if (there === undefined || this.#isAt(this.#stoppedAt, low, high)) return false;
    const slot = (low & 4095) >> 1;
    let stops = false;
    for (let i = 0; i < there.length; i++) {
      const { first, end, point } = there[i]!;
      if (slot >= first && slot < end && point.service(low, high)) stops = true;
    }
    if (stops) this.#note(this.#stoppedAt, low, high);
    return stops;
  }

  /** Lets the next instruction of a hart be executed without being asked about. Between two runs. */
  pass(hart: number): void {
    const core = this.#core;
    const pc = core.register(hart, "pc");
    this.#stoppedAt[hart] = this.#markedAt[hart] = {
      executed: core.register(hart, "executed"),
      low: Number(pc & 0xffff_ffffn) | 0,
      high: Number(pc >> 32n) | 0,
    };
  }

  /** Forgets what was asked about last: after the machine's state was replaced. */
  forget(): void {
    this.#stoppedAt.length = this.#markedAt.length = 0;
  }

  #note(moments: (Moment | undefined)[], low: number, high: number): void {
    moments[this.#core.current] = { executed: this.#executed(), low, high };
  }

  #isAt(moments: readonly (Moment | undefined)[], low: number, high: number): boolean {
    const moment = moments[this.#core.current];
    return moment !== undefined && moment.low === low && moment.high === high &&
      moment.executed === this.#executed();
  }

  /** Instructions that the hart which runs has executed: its register runs ahead by the budget. */
  #executed(): bigint {
    const core = this.#core;
    return core.register(core.current, "executed") - core.control("budget") -
      core.control("budgetAside");
  }

  #forEachPage(
    { address, bytes }: Point,
    body: (page: number, first: number, end: number) => void,
  ): void {
    const last = address + BigInt(bytes - 1);
    const firstPage = Number(address >> 12n);
    const lastPage = Number(last >> 12n);
    for (let page = firstPage; page <= lastPage; page++) {
      const first = page === firstPage ? Number(address & 4095n) >> 1 : 0;
      const end = page === lastPage ? (Number(last & 4095n) >> 1) + 1 : PAGE_SLOTS;
      body(page, first, end);
    }
  }

  #countSlots({ address, bytes }: Point, by: 1 | -1): void {
    const first = Number(address & 4095n) >> 1;
    const count = Math.min(PAGE_SLOTS, bytes + 1 >> 1);
    for (let i = 0; i < count; i++) {
      const slot = (first + i) % PAGE_SLOTS;
      const before = this.#slots[slot]!;
      this.#slots[slot] = before + by;
      if (before === 0 || before + by === 0) this.#core.decodedPages.setPoint(slot, by === 1);
    }
  }

  #countBit(page: number, by: 1 | -1): void {
    const bit = page % POINT_PAGES;
    const left = this.#bits[bit]! += by;
    this.#core.setPointPage(bit, left > 0);
  }
}
