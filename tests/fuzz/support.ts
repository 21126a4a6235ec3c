/**
 * What fuzz targets share: numbers that lie on edges, damage done to good bytes, and a device's
 * surroundings that count what leaves.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import type { DeviceEnvironment, DiskRequest, DmaPort } from "../../kernel/driver/mod.ts";

/** Whether an error is one of the given kinds; anything else is what fuzzing looks for. */
export function isOneOf(
  error: unknown,
  kinds: readonly (abstract new (...args: never[]) => Error)[],
): boolean {
  return kinds.some((kind) => error instanceof kind);
}

/** Runs a parser; undefined when it refuses the input with an error of the given kinds. */
export function orRefused<T>(
  parse: () => T,
  ...kinds: (abstract new (...args: never[]) => Error)[]
): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (isOneOf(error, kinds)) return undefined;
    throw error;
  }
}

const EDGES_32 = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** A 32-bit number, often one on an edge. */
export function edge32(random: Prng): number {
  if (random.below(2) === 0) return random.u32();
  return (random.pick(EDGES_32) + random.below(3) - 1) >>> 0;
}

/** A 64-bit number, often one on an edge. */
export function edge64(random: Prng): bigint {
  const high = random.pick([0, 0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, random.u32()]);
  return BigInt(high) << 32n | BigInt(edge32(random));
}

/** A copy with some bits, bytes or words changed, or an end cut off. */
export function damaged(random: Prng, good: Uint8Array): Uint8Array {
  const bytes = good.slice();
  if (bytes.length === 0) return bytes;
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(bytes.length);
    const view = new DataView(bytes.buffer);
    switch (random.below(4)) {
      case 0:
        bytes[at]! ^= 1 << random.below(8);
        break;
      case 1:
        bytes[at] = random.u32();
        break;
      case 2:
        if (at + 4 <= bytes.length) view.setUint32(at, edge32(random), true);
        break;
      default:
        if (at + 8 <= bytes.length) view.setBigUint64(at, edge64(random), true);
    }
  }
  return random.below(4) === 0 ? bytes.slice(0, random.below(bytes.length + 1)) : bytes;
}

/** Guest RAM of a fuzzed device: checked access to a few pages at a given address. */
export class SmallMemory implements DmaPort {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /** Zeroed memory. */
  constructor(readonly base: number, length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  #offset(gpa: number, length: number): number {
    const at = gpa - this.base;
    return at >= 0 && at + length <= this.bytes.length ? at : -1;
  }

  read(gpa: number, into: Uint8Array): boolean {
    const at = this.#offset(gpa, into.length);
    if (at >= 0) into.set(this.bytes.subarray(at, at + into.length));
    return at >= 0;
  }

  write(gpa: number, from: Uint8Array): boolean {
    const at = this.#offset(gpa, from.length);
    if (at >= 0) this.bytes.set(from, at);
    return at >= 0;
  }

  integer(gpa: number, size: 1 | 2 | 4): number | undefined {
    const at = this.#offset(gpa, size);
    if (at < 0) return undefined;
    if (size === 1) return this.#view.getUint8(at);
    return size === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  setInteger(gpa: number, size: 1 | 2 | 4, value: number): boolean {
    const at = this.#offset(gpa, size);
    if (at < 0) return false;
    if (size === 1) this.#view.setUint8(at, value);
    else if (size === 2) this.#view.setUint16(at, value, true);
    else this.#view.setUint32(at, value, true);
    return true;
  }
}

/** Surroundings of one device, and what it did to them. */
export interface FuzzSurroundings {
  readonly env: DeviceEnvironment;
  readonly memory: SmallMemory;
  /** Disk requests that were started and not yet ended. */
  readonly requests: DiskRequest[];
  /** Bytes that left. */
  sent: number;
  /** Guest time; the environment's clock. */
  now: number;
  /** Guest time at which the device wants to be called. */
  due: number;
}

/** Makes the surroundings of one device. */
export function surroundings(random: Prng, readOnly: boolean): FuzzSurroundings {
  const memory = new SmallMemory(0x8000_0000, 64 * 1024);
  const made: Omit<FuzzSurroundings, "env"> = {
    memory,
    requests: [],
    sent: 0,
    now: 0,
    due: Infinity,
  };
  const around = made as FuzzSurroundings;
  const env: DeviceEnvironment = {
    name: "device0",
    harts: 2,
    irq() {},
    hartLine() {},
    memory,
    ticks: () => around.now,
    setTicks: (ticks) => around.now = ticks,
    wallNanoseconds: () => 1_767_225_600_000_000_000n + BigInt(Math.floor(around.now)) * 100n,
    timer: (ticks) => around.due = ticks,
    output: (_port, bytes) => void (around.sent += bytes.length),
    disk: { sectors: 64, readOnly, submit: (request) => void around.requests.push(request) },
    frame: (bytes) => void (around.sent += bytes.length),
    entropy: (into) => void random.fill(into),
    power() {},
  };
  return Object.assign(around, { env });
}
