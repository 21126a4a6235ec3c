/**
 * The stores of a stretch of guest code, written down so that they can be taken back and compared: what
 * the tier `check` needs of a region and of the interpreter (issue 3, "shadow mode").
 *
 * Invariants: a store is written down before memory changes; only generated code that was made for the
 * tier `check` writes stores down, so that the other tiers pay nothing.
 */
import {
  type Expression,
  type FunctionBuilder,
  type FunctionReference,
  i32,
  type I32Value,
  i64,
} from "../wasm/mod.ts";

/** (host address, bytes 1, 2, 4 or 8, low and high word of the value): a store is about to happen. */
export type LogStore = FunctionReference<readonly ["i32", "i32", "i32", "i32"], undefined>;

/** The parameters of `LogStore`, for those who import it. */
export const LOG_STORE_PARAMETERS = ["i32", "i32", "i32", "i32"] as const;

/** Writes a store down where there is a log; gives the value, which is evaluated once then. */
export function logStore(
  f: FunctionBuilder,
  log: LogStore | undefined,
  host: Expression<"i32">,
  size: I32Value,
  value: Expression<"i64">,
): Expression<"i64"> {
  if (log === undefined) return value;
  const stored = f.let(value);
  f.call(log, host, size, i32.wrap(stored), i32.wrap(i64.shrU(stored, 32)));
  return stored;
}

/** A store, with what memory held before it. Values have as many low bytes as were stored. */
export interface LoggedStore {
  readonly host: number;
  readonly size: number;
  readonly value: bigint;
}

/** Words of an entry: host address, bytes, value (low, high), what it replaced (low, high). */
const ENTRY_WORDS = 6;
const FIRST_ENTRIES = 1024;

/** Stores in the order in which they happened. */
export class StoreLog {
  #words = new Int32Array(FIRST_ENTRIES * ENTRY_WORDS);
  #end = 0;
  readonly #memory: DataView;

  /** @param buffer the VM's memory */
  constructor(buffer: ArrayBufferLike) {
    this.#memory = new DataView(buffer);
  }

  /** Number of stores. */
  get length(): number {
    return this.#end / ENTRY_WORDS;
  }

  /** Forgets everything. */
  clear(): void {
    this.#end = 0;
  }

  /** A store is about to happen. */
  add(host: number, size: number, low: number, high: number): void {
    if (this.#end === this.#words.length) this.#grow();
    const words = this.#words;
    const at = this.#end;
    const narrow = size < 4 ? (1 << size * 8) - 1 : -1;
    words[at] = host;
    words[at + 1] = size;
    words[at + 2] = low & narrow;
    words[at + 3] = size === 8 ? high : 0;
    words[at + 4] = this.#read(host >>> 0, size);
    words[at + 5] = size === 8 ? this.#memory.getInt32((host >>> 0) + 4, true) : 0;
    this.#end = at + ENTRY_WORDS;
  }

  /** Takes all stores back, the last one first. They stay in the log. */
  undo(): void {
    const memory = this.#memory;
    const words = this.#words;
    for (let at = this.#end - ENTRY_WORDS; at >= 0; at -= ENTRY_WORDS) {
      const host = words[at]! >>> 0;
      const before = words[at + 4]!;
      switch (words[at + 1]!) {
        case 1:
          memory.setInt8(host, before);
          break;
        case 2:
          memory.setInt16(host, before, true);
          break;
        case 4:
          memory.setInt32(host, before, true);
          break;
        default:
          memory.setInt32(host, before, true);
          memory.setInt32(host + 4, words[at + 5]!, true);
      }
    }
  }

  /** Whether another log has the same stores in the same order. */
  equals(other: StoreLog): boolean {
    if (this.#end !== other.#end) return false;
    for (let at = 0; at < this.#end; at += ENTRY_WORDS) {
      for (let word = at; word < at + 4; word++) {
        if (this.#words[word] !== other.#words[word]) return false;
      }
    }
    return true;
  }

  /** A store by its number; undefined behind the last one. */
  entry(index: number): LoggedStore | undefined {
    if (index >= this.length) return undefined;
    const [host, size, low, high] = this.#words.subarray(index * ENTRY_WORDS);
    const value = BigInt(high! >>> 0) << 32n | BigInt(low! >>> 0);
    return { host: host! >>> 0, size: size!, value };
  }

  #read(host: number, size: number): number {
    const memory = this.#memory;
    if (size === 1) return memory.getInt8(host);
    return size === 2 ? memory.getInt16(host, true) : memory.getInt32(host, true);
  }

  #grow(): void {
    const words = new Int32Array(2 * this.#words.length);
    words.set(this.#words);
    this.#words = words;
  }
}
