/**
 * Where a machine's instructions get what no count of instructions determines: an exact clock's time, and
 * entropy (requirements S20; design.md, "Time"). Owns the modes of the nondeterminism buffer and hands its
 * contents over to a log, or has it filled from one; the entries are made and taken by generated code
 * (cpu/nondeterminism.ts).
 *
 *     normal ── record ──► record ── stop ──► normal        entries: nondetNext up to nondetEnd are free
 *     normal ── replay ──► replay ── stop ──► normal        entries: nondetNext up to nondetEnd are to come
 *
 * Invariants: nothing is thrown through generated code: what the port throws is kept, the run ends before
 * the instruction, and then it is thrown, so that the machine is whole and may go on; modes, positions and
 * entries are not state of the machine.
 */
import { assert } from "../base/assert.ts";
import { Divergence, LogExhausted } from "../base/errors.ts";
import type { Prng } from "../base/prng.ts";
import type { Core, NondetService } from "../cpu/core.ts";
import {
  NONDET_ENTRY,
  NONDET_ENTRY_BYTES,
  NONDET_KIND,
  NONDET_MODE,
} from "../memory/nondet_buffer.ts";

/** The host as instructions see it under an exact clock. */
export interface HostSource {
  /** Time in ticks of 100 ns, not negative; never goes back. */
  ticks(): number;
  /** 16 random bits. */
  entropy16(): number;
}

/**
 * Who keeps entries, and has them. An entry has 16 bytes: value (i64), kind (u32, see NONDET_KIND), hart
 * (u32), little-endian.
 */
export interface NondetPort {
  /** Takes entries in order. The bytes are the machine's: copy or use them at once. */
  full(entries: Uint8Array): void;
  /** Writes the next entries, as many as it has and there is room for; gives how many, 0 at the end. */
  refill(into: Uint8Array): number;
}

/** What becomes of the results. */
export type NondetMode = "normal" | "record" | "replay";

/** The nondeterminism of one machine. */
export class Nondeterminism implements NondetService {
  #mode: NondetMode = "normal";
  #port: NondetPort | undefined;
  /** Entries made and taken by the guest when the mode began. */
  #before = 0;
  #failure: { readonly error: unknown } | undefined;

  /**
   * @param core the hart; this becomes its service
   * @param random the machine's own generator
   * @param host absent: time is the function of icount also with an exact clock, and entropy is the machine's
   * @param icount icount of the instruction under way, for messages
   */
  constructor(
    private readonly core: Core,
    private readonly random: Prng,
    private readonly host: HostSource | undefined,
    private readonly icount: () => number,
  ) {
    core.nondeterminism = this;
  }

  /** What becomes of the results. */
  get mode(): NondetMode {
    return this.#mode;
  }

  /** Entries that the guest has made since `record`. */
  get entriesRecorded(): number {
    return this.#mode === "record" ? this.#entries() : 0;
  }

  /** Entries that the guest has taken since `replay`. */
  get entriesConsumed(): number {
    return this.#mode === "replay" ? this.#entries() : 0;
  }

  /** From here on every result is handed over to the port. Without an exact clock there is none. */
  record(port: NondetPort): void {
    this.stop();
    this.#enter("record", port, this.core.plan.nondetEntries);
  }

  /** From here on every result comes from the port. */
  replay(port: NondetPort): void {
    this.stop();
    this.#enter("replay", port, 0);
  }

  /** Results come fresh again. What was recorded is flushed; what was not replayed yet is dropped. */
  stop(): void {
    this.flush();
    this.#enter("normal", undefined, 0);
  }

  /** Hands over what was recorded since the buffer was handed over last: for checkpoints and at the end. */
  flush(): void {
    if (this.#mode !== "record" || this.core.controlWord("nondetNext") === 0) return;
    this.#handOver("statNondetFlushes");
  }

  /** The host's time in ticks. */
  hostTicks(): number {
    const ticks = this.host?.ticks() ?? 0;
    assert(ticks >= 0 && ticks < Number.MAX_SAFE_INTEGER, `the host's time is ${ticks} ticks`);
    return ticks;
  }

  /** 16 bits of entropy: the host's where the clock is exact. */
  entropy16(): number {
    const { core: { plan }, host } = this;
    return plan.nondetEntries > 0 && host ? host.entropy16() : this.random.u32() >>> 16;
  }

  /** Generated code found no room, or not the entry that it needs. 0 abandons the instruction. */
  exchange(kind: number): number {
    // A region that was refused leaves the instruction to the interpreter, which asks again.
    if (this.#failure === undefined) {
      try {
        this.#exchange(kind);
      } catch (error) {
        this.#failure = { error };
      }
    }
    return this.#failure === undefined ? 1 : 0;
  }

  /** Throws what made an instruction be abandoned. It is tried again when the machine goes on. */
  throwFailure(): never {
    const failure = this.#failure;
    assert(failure !== undefined, "an instruction was abandoned without a reason");
    this.#failure = undefined;
    throw failure.error;
  }

  /** Does something in which a look at `time` makes no entry and takes none. */
  looking<T>(look: () => T): T {
    const { core } = this;
    const mode = core.controlWord("nondetMode");
    core.setControlWord("nondetMode", NONDET_MODE.look);
    try {
      return look();
    } finally {
      core.setControlWord("nondetMode", mode);
    }
  }

  #enter(mode: NondetMode, port: NondetPort | undefined, end: number): void {
    const { core } = this;
    this.#mode = mode;
    this.#port = port;
    this.#failure = undefined;
    this.#before = Number(core.control("statNondetEntries"));
    core.setControlWord("nondetMode", NONDET_MODE[mode]);
    core.setControlWord("nondetNext", 0);
    core.setControlWord("nondetEnd", end);
  }

  #entries(): number {
    return Number(this.core.control("statNondetEntries")) - this.#before;
  }

  #exchange(kind: number): void {
    const { core } = this;
    if (this.#mode === "record") return this.#handOver("statNondetFull");
    assert(this.#mode === "replay");
    if (core.controlWord("nondetNext") === core.controlWord("nondetEnd")) this.#refill(kind);
    this.#compare(kind);
  }

  #handOver(counter: "statNondetFull" | "statNondetFlushes"): void {
    const { core } = this;
    this.#port!.full(this.#bytes(core.controlWord("nondetNext")));
    core.setControlWord("nondetNext", 0);
    core.setControl(counter, core.control(counter) + 1n);
  }

  #refill(kind: number): void {
    const { core } = this;
    const most = core.plan.nondetEntries;
    const entries = this.#port!.refill(this.#bytes(most));
    assert(Number.isInteger(entries) && entries >= 0 && entries <= most, "entries that fit");
    if (entries === 0) {
      throw new LogExhausted(
        `The log ends before ${this.#instruction(kind)}: it held ${this.#entries()} results`,
      );
    }
    core.setControlWord("nondetNext", 0);
    core.setControlWord("nondetEnd", entries);
    core.setControl("statNondetRefills", core.control("statNondetRefills") + 1n);
  }

  /** Throws unless the next entry is what the instruction under way recorded. */
  #compare(kind: number): void {
    const { core } = this;
    const entry = core.plan.nondetBuffer + core.controlWord("nondetNext") * NONDET_ENTRY_BYTES;
    const logged = core.words[entry + NONDET_ENTRY.kind >> 2]!;
    const hart = core.words[entry + NONDET_ENTRY.hart >> 2]!;
    if (logged === kind && hart === core.current) return;
    throw new Divergence(
      `The replay came to ${this.#instruction(kind)}; as result ${this.#entries()} the log has ` +
        `${nameOf(logged)} on hart ${hart >>> 0}`,
    );
  }

  #instruction(kind: number): string {
    return `${nameOf(kind)} on hart ${this.core.current} at icount ${this.icount()}`;
  }

  #bytes(entries: number): Uint8Array {
    const start = this.core.plan.nondetBuffer;
    return this.core.bytes.subarray(start, start + entries * NONDET_ENTRY_BYTES);
  }
}

function nameOf(kind: number): string {
  const known = Object.entries(NONDET_KIND).find(([, number]) => number === kind)?.[0];
  return known === undefined ? `a result of unknown kind ${kind >>> 0}` : `a read of ${known}`;
}
