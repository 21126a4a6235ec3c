/**
 * A ring of bytes in shared memory between one writer and one reader, each in a thread of its own.
 *
 *     0  Uint32  bytes ever read,    written by the reader only
 *     4  Uint32  bytes ever written, written by the writer only
 *     8  the bytes
 *
 * Invariants: both counters only grow (modulo 2^32), and written - read is what can be read, from 0 to
 * the capacity. Bytes are copied before the counter that publishes them is stored.
 */
import { assert } from "./assert.ts";

const READ = 0;
const WRITTEN = 1;
const HEADER_BYTES = 8;

/** One end of a ring; make one on each side over the same memory. */
export class ByteRing {
  readonly #counters: Int32Array;
  readonly #data: Uint8Array;

  /** Bytes of shared memory that a ring of the given capacity takes. */
  static bytes(capacity: number): number {
    return HEADER_BYTES + capacity;
  }

  /** A ring at an offset (a multiple of 4); the capacity is a power of two below 2^31. */
  constructor(shared: SharedArrayBuffer, byteOffset: number, readonly capacity: number) {
    // A capacity that does not divide 2^32 would lose its place when the counters wrap.
    assert(capacity > 0 && capacity < 2 ** 31 && (capacity & (capacity - 1)) === 0);
    this.#counters = new Int32Array(shared, byteOffset, 2);
    this.#data = new Uint8Array(shared, byteOffset + HEADER_BYTES, capacity);
  }

  /** Bytes that can be read now. */
  get readable(): number {
    const count = (Atomics.load(this.#counters, WRITTEN) - Atomics.load(this.#counters, READ)) >>>
      0;
    assert(count <= this.capacity, "a ring's counters were overwritten");
    return count;
  }

  /** Bytes that can be written now. */
  get writable(): number {
    return this.capacity - this.readable;
  }

  /** Writes as much as there is room for; returns how many bytes. */
  write(bytes: Uint8Array): number {
    return this.writeAll([bytes], Math.min(bytes.length, this.writable));
  }

  /** Writes `length` bytes that lie in several arrays, at once: the reader sees all or none. */
  writeAll(parts: readonly Uint8Array[], length: number): number {
    assert(length <= this.writable, "a ring has no room for that");
    const written = Atomics.load(this.#counters, WRITTEN);
    let done = 0;
    for (const part of parts) {
      const some = part.subarray(0, length - done);
      this.#copyIn(written + done, some);
      done += some.length;
    }
    Atomics.store(this.#counters, WRITTEN, (written + done) | 0);
    return done;
  }

  /** Reads as much as there is, up to the buffer's length; returns how many bytes. */
  read(into: Uint8Array): number {
    const count = this.peek(into);
    this.skip(count);
    return count;
  }

  /** Like `read`, from `offset` bytes on, but leaves the bytes in the ring. */
  peek(into: Uint8Array, offset = 0): number {
    const count = Math.min(into.length, Math.max(0, this.readable - offset));
    const at = ((Atomics.load(this.#counters, READ) + offset) >>> 0) % this.capacity;
    const first = Math.min(count, this.capacity - at);
    into.set(this.#data.subarray(at, at + first));
    into.set(this.#data.subarray(0, count - first), first);
    return count;
  }

  /** Takes bytes out of the ring without looking at them. */
  skip(count: number): void {
    assert(count <= this.readable, "a ring does not hold that many bytes");
    Atomics.store(this.#counters, READ, (Atomics.load(this.#counters, READ) + count) | 0);
  }

  #copyIn(counter: number, bytes: Uint8Array): void {
    const at = (counter >>> 0) % this.capacity;
    const first = Math.min(bytes.length, this.capacity - at);
    this.#data.set(bytes.subarray(0, first), at);
    this.#data.set(bytes.subarray(first), 0);
  }
}
