/**
 * Split virtqueues (Virtual I/O Device 1.2, section 2.7) with indirect descriptors and event indices.
 *
 * Invariants: every index, address and length comes from the guest and is checked before use; a chain
 * visits at most as many descriptors as its table has; a broken ring sets DEVICE_NEEDS_RESET and is
 * then left alone, it never throws.
 */
import type { DmaPort } from "../../../kernel/driver/mod.ts";
import { DESCRIPTOR } from "./registers.ts";

/** Largest queue offered. */
export const QUEUE_SIZE_MAXIMUM = 256;
/** Most bytes that one chain may carry in one direction. */
const CHAIN_BYTES_MAXIMUM = 16 * 1024 * 1024;
const WORD = 0x1_0000_0000;

/** The part of a device's state that belongs to its queues; one entry for each queue. */
export interface QueueState {
  readonly queueSize: Uint32Array;
  readonly queueReady: Uint32Array;
  /** Low and high words of the three areas' addresses. */
  readonly queueDescriptor: Uint32Array;
  readonly queueDriver: Uint32Array;
  readonly queueDevice: Uint32Array;
  /** Next entry of the available ring to take. */
  readonly queueTaken: Uint32Array;
  /** Next entry of the used ring to fill. */
  readonly queueUsed: Uint32Array;
}

/** A piece of guest memory. */
export interface Segment {
  readonly gpa: number;
  readonly length: number;
}

/** A descriptor chain that the guest made available. */
export interface Chain {
  /** Index of its first descriptor. */
  readonly head: number;
  /** What the device may read. */
  readonly readable: readonly Segment[];
  /** What the device may write. */
  readonly writable: readonly Segment[];
  readonly readableBytes: number;
  readonly writableBytes: number;
}

/** One queue of a device. */
export class Virtqueue {
  /**
   * @param signal raises the used-buffer interrupt
   * @param broken marks the device as needing a reset
   */
  constructor(
    private readonly state: QueueState,
    private readonly index: number,
    private readonly memory: DmaPort,
    private readonly eventIndex: () => boolean,
    private readonly signal: () => void,
    private readonly broken: (why: string) => void,
  ) {}

  /** Whether the driver has set the queue up. */
  get ready(): boolean {
    return this.state.queueReady[this.index] === 1;
  }

  get #size(): number {
    return this.state.queueSize[this.index]!;
  }

  #area(words: Uint32Array): number {
    return words[2 * this.index + 1]! * WORD + words[2 * this.index]!;
  }

  /** Whether a chain is waiting. */
  get available(): boolean {
    if (!this.ready) return false;
    const published = this.memory.integer(this.#area(this.state.queueDriver) + 2, 2);
    if (published === undefined) return this.#fail("available ring outside RAM");
    const waiting = (published - this.state.queueTaken[this.index]!) & 0xffff;
    if (waiting > this.#size) return this.#fail("available index ran ahead of the ring");
    return waiting !== 0;
  }

  /** Takes the next chain, or undefined when none is waiting or the ring is broken. */
  take(): Chain | undefined {
    if (!this.available) return undefined;
    const ring = this.#area(this.state.queueDriver) + 4;
    const taken = this.state.queueTaken[this.index]!;
    const head = this.memory.integer(ring + 2 * (taken % this.#size), 2);
    if (head === undefined) return void this.#fail("available ring outside RAM");
    const chain = this.chain(head);
    if (chain === undefined) return undefined;
    this.state.queueTaken[this.index] = taken + 1 & 0xffff;
    if (this.eventIndex()) {
      // Ask to be notified of the very next chain.
      const event = this.#area(this.state.queueDevice) + 4 + 8 * this.#size;
      this.memory.setInteger(event, 2, taken + 1 & 0xffff);
    }
    return chain;
  }

  /** Follows the chain that starts at a descriptor; undefined when the queue is not ready or broken. */
  chain(head: number): Chain | undefined {
    if (!this.ready) return undefined;
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let table = this.#area(this.state.queueDescriptor);
    let entries = this.#size;
    let indirect = false;
    let index = head;
    for (let visited = 0; visited < entries; visited++) {
      if (index >= entries) return void this.#fail(`descriptor ${index} does not exist`);
      const at = table + index * DESCRIPTOR.bytes;
      const gpa = this.#address(at);
      const length = this.memory.integer(at + 8, 4);
      const flags = this.memory.integer(at + 12, 2);
      const next = this.memory.integer(at + 14, 2);
      if (gpa === undefined || length === undefined || flags === undefined || next === undefined) {
        return void this.#fail("descriptor table outside RAM");
      }
      if ((flags & DESCRIPTOR.indirect) !== 0) {
        if (indirect || (flags & DESCRIPTOR.next) !== 0 || length === 0 || length % 16 !== 0) {
          return void this.#fail("bad indirect descriptor");
        }
        indirect = true;
        table = gpa;
        entries = Math.min(length / 16, 1024);
        index = 0;
        visited = -1;
        continue;
      }
      if ((flags & DESCRIPTOR.write) !== 0) writable.push({ gpa, length });
      else if (writable.length > 0) return void this.#fail("readable descriptor after a writable");
      else readable.push({ gpa, length });
      if ((flags & DESCRIPTOR.next) === 0) return this.#checked(head, readable, writable);
      index = next;
    }
    return void this.#fail("descriptor chain has a loop");
  }

  /**
   * Returns a chain to the driver with the number of bytes written into it; does nothing for a queue
   * that broke, or that the driver took away, since the chain was taken.
   */
  give(chain: { readonly head: number }, written: number): void {
    if (!this.ready) return;
    const ring = this.#area(this.state.queueDevice);
    const used = this.state.queueUsed[this.index]!;
    const entry = ring + 4 + 8 * (used % this.#size);
    const next = used + 1 & 0xffff;
    const done = this.memory.setInteger(entry, 4, chain.head) &&
      this.memory.setInteger(entry + 4, 4, written) &&
      this.memory.setInteger(ring + 2, 2, next);
    if (!done) return void this.#fail("used ring outside RAM");
    this.state.queueUsed[this.index] = next;
    if (this.#wantsInterrupt(next)) this.signal();
  }

  /** Reads bytes of a chain's readable part from an offset; undefined when it faults. */
  read(chain: Chain, offset: number, length: number): Uint8Array | undefined {
    const bytes = new Uint8Array(length);
    const done = this.#copy(chain.readable, offset, bytes, (gpa, part) => {
      return this.memory.read(gpa, part);
    });
    return done ? bytes : undefined;
  }

  /** Writes bytes into a chain's writable part at an offset; false when it faults or is too short. */
  write(chain: Chain, offset: number, bytes: Uint8Array): boolean {
    return this.#copy(chain.writable, offset, bytes, (gpa, part) => this.memory.write(gpa, part));
  }

  #copy(
    segments: readonly Segment[],
    offset: number,
    bytes: Uint8Array,
    move: (gpa: number, part: Uint8Array) => boolean,
  ): boolean {
    let skip = offset;
    let done = 0;
    for (const { gpa, length } of segments) {
      if (done === bytes.length) break;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const count = Math.min(length - skip, bytes.length - done);
      if (!move(gpa + skip, bytes.subarray(done, done + count))) {
        this.#fail("buffer outside RAM");
        return false;
      }
      done += count;
      skip = 0;
    }
    return done === bytes.length;
  }

  #checked(head: number, readable: Segment[], writable: Segment[]): Chain | undefined {
    const total = (segments: Segment[]) => segments.reduce((sum, s) => sum + s.length, 0);
    const readableBytes = total(readable);
    const writableBytes = total(writable);
    if (Math.max(readableBytes, writableBytes) > CHAIN_BYTES_MAXIMUM) {
      return void this.#fail(`a chain of more than ${CHAIN_BYTES_MAXIMUM} bytes`);
    }
    return { head, readable, writable, readableBytes, writableBytes };
  }

  #address(at: number): number | undefined {
    const low = this.memory.integer(at, 4);
    const high = this.memory.integer(at + 4, 4);
    if (low === undefined || high === undefined) return undefined;
    return high * WORD + low;
  }

  #wantsInterrupt(used: number): boolean {
    const driver = this.#area(this.state.queueDriver);
    if (this.eventIndex()) {
      const event = this.memory.integer(driver + 4 + 2 * this.#size, 2) ?? 0;
      return event === (used - 1 & 0xffff);
    }
    return ((this.memory.integer(driver, 2) ?? 0) & 1) === 0;
  }

  #fail(why: string): false {
    this.broken(why);
    return false;
  }
}
