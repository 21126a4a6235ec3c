/**
 * Guest time as a function of retired instructions (design.md, "Time"): between anchors, ticks =
 * anchor + (icount - anchor icount) × rate. Generated code and TypeScript compute the same function.
 *
 * Invariants: time never goes back; the distance to the anchor stays below 2^32 instructions, so that
 * the arithmetic is exact in doubles as in 64-bit integers.
 */
import type { Core } from "../cpu/core.ts";

/**
 * Whose time a guest sees. "virtual": a function of icount that skips idle time; "host": it follows the host
 * from anchor to anchor; "exact": as "host", but each read of the CSR `time` gives the host's time.
 */
export type ClockKind = "virtual" | "host" | "exact";

/** Fraction bits of the rate. */
const RATE_BITS = 24;
/** Ticks per instruction of the virtual clock: 100 instructions a tick, one nanosecond each. */
export const VIRTUAL_RATE = Math.round((1 << RATE_BITS) / 100);
/** Instructions after which the anchor moves by itself. */
export const ANCHOR_SPAN = 2 ** 32;

/** The fields of the control block that are a clock's state. */
export const CLOCK_FIELDS = [
  "timeAnchorTicks",
  "timeAnchorIcount",
  "timeRate",
  "timeFloor",
] as const;

/** Fewer instructions than this between two anchors say nothing about speed. */
const FOLLOW_LEAST_INSTRUCTIONS = 10_000;
const FOLLOW_SHARE = 0.9;
/** One tick for each 10 instructions. */
export const FASTEST_RATE = Math.floor(2 ** RATE_BITS / 10);

/** The clock of one machine; its state is three fields of the control block. */
export class MachineClock {
  /** Where the outside clock was at the last `following`: only ever used to choose the next rate. */
  #followed = { icount: 0, ticks: 0 };

  constructor(private readonly core: Core) {
    core.setControl("timeRate", BigInt(VIRTUAL_RATE));
  }

  /** Guest time in ticks at an icount. */
  ticksAt(icount: number): number {
    const since = icount - Number(this.core.control("timeAnchorIcount"));
    return this.#anchorTicks + Math.floor(since * this.#rate / 2 ** RATE_BITS);
  }

  /** First icount at which guest time has reached a tick; Infinity for Infinity. */
  icountAt(ticks: number): number {
    if (ticks === Infinity) return Infinity;
    const since = Math.max(0, ticks - this.#anchorTicks);
    const anchor = Number(this.core.control("timeAnchorIcount"));
    return anchor + Math.ceil(since * 2 ** RATE_BITS / this.#rate);
  }

  /** The icount at which the anchor must be moved at the latest. */
  get nextAnchor(): number {
    return Number(this.core.control("timeAnchorIcount")) + ANCHOR_SPAN;
  }

  /** Makes time equal to a tick at an icount, going on at a rate (ticks per instruction × 2^24). */
  anchor(icount: number, ticks: number, rate = this.#rate): void {
    this.core.setControl("timeAnchorIcount", BigInt(icount));
    this.core.setControl("timeAnchorTicks", BigInt(Math.floor(ticks)));
    this.core.setControl("timeRate", BigInt(rate));
  }

  /**
   * The anchor that follows a clock outside: guest time is `ticks` now, or stays where it is when it is
   * ahead. The rate until the next call is a little below the last one measured, so that guest time
   * seldom runs ahead.
   */
  following(icount: number, ticks: number): { readonly ticks: number; readonly rate: number } {
    const executed = icount - this.#followed.icount;
    let rate = this.#rate;
    if (executed >= FOLLOW_LEAST_INSTRUCTIONS) {
      const measured = (ticks - this.#followed.ticks) / executed * 2 ** RATE_BITS * FOLLOW_SHARE;
      rate = Math.max(1, Math.min(FASTEST_RATE, Math.floor(measured)));
    }
    this.#followed = { icount, ticks };
    return { ticks: Math.max(ticks, this.ticksAt(icount)), rate };
  }

  get #anchorTicks(): number {
    return Number(this.core.control("timeAnchorTicks"));
  }

  get #rate(): number {
    return Number(this.core.control("timeRate"));
  }
}
