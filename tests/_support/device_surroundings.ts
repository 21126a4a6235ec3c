/**
 * The world of one virtual device in tests: real memory, a clock that tests move, and a record of all that
 * the device does to it.
 */
import type { DeviceEnvironment, DiskRequest, DmaPort } from "../../kernel/driver/mod.ts";

/** Guest RAM of a device: checked access to a few pages at a given address. */
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
export interface DeviceSurroundings {
  readonly env: DeviceEnvironment;
  readonly memory: SmallMemory;
  /** Disk requests that were started and not yet ended. */
  readonly requests: DiskRequest[];
  /** Everything that the device did, in order. */
  readonly log: string[];
  /** Guest time; the environment's clock. */
  now: number;
  /** Guest time at which the device wants to be called. */
  due: number;
  /** Bytes of entropy drawn so far, which are a function of this number. */
  drawn: number;
}

/** Sectors of the disk. */
export const SECTORS = 64;
const HARTS = 2;
/** 2026-01-01 in nanoseconds since 1970. */
const WALL_START = 1_767_225_600_000_000_000n;

/** Makes the surroundings of one device. */
export function surroundings(readOnly = false): DeviceSurroundings {
  const memory = new SmallMemory(0x8000_0000, 64 * 1024);
  const log: string[] = [];
  const made = { memory, requests: [], log, now: 0, due: Infinity, drawn: 0 };
  const around = made as Omit<DeviceSurroundings, "env"> as DeviceSurroundings;
  const env: DeviceEnvironment = {
    name: "device0",
    harts: HARTS,
    irq: (level) => void log.push(`irq ${level}`),
    hartLine: (hart, line, level) => void log.push(`hart ${hart} line ${line} ${level}`),
    memory,
    ticks: () => around.now,
    setTicks(ticks) {
      log.push(`time ${ticks}`);
      around.now = ticks;
    },
    wallNanoseconds: () => WALL_START + BigInt(Math.floor(around.now)) * 100n,
    timer(ticks) {
      log.push(`timer ${ticks}`);
      around.due = ticks;
    },
    output: (port, bytes) => void log.push(`output ${port}: ${bytes}`),
    disk: {
      sectors: SECTORS,
      readOnly,
      submit(request) {
        log.push(`disk ${request.kind} ${request.sector} ${request.length} ${request.data ?? ""}`);
        around.requests.push(request);
      },
    },
    frame: (bytes) => void log.push(`frame ${bytes}`),
    entropy(into) {
      for (let i = 0; i < into.length; i++) into[i] = around.drawn++ * 167 & 255;
    },
    power: (kind, code) => void log.push(`power ${kind} ${code}`),
  };
  return Object.assign(around, { env });
}
