/**
 * Contents of a simulated file: chunks that copies share until one of them writes. A hole reads as zeros.
 *
 * Invariant: bytes of chunks at or behind the size are zero, so that a file that grows again shows zeros.
 */

const CHUNK_BYTES = 4096;

/** Bytes that are cheap to copy, and to have holes in. */
export class SparseBytes {
  readonly #chunks: Map<number, Uint8Array>;
  /** Chunks that no copy shares. */
  #own = new Set<number>();
  #size: number;

  constructor(from?: SparseBytes) {
    this.#chunks = new Map(from ? from.#chunks : []);
    this.#size = from?.size ?? 0;
  }

  /** Length in bytes. */
  get size(): number {
    return this.#size;
  }

  /** A copy. */
  clone(): SparseBytes {
    this.#own.clear();
    return new SparseBytes(this);
  }

  /** Copies bytes out; gives how many there are. */
  read(offset: number, into: Uint8Array): number {
    const end = Math.min(this.#size, offset + into.length);
    for (let at = offset; at < end;) {
      const start = at % CHUNK_BYTES;
      const count = Math.min(CHUNK_BYTES - start, end - at);
      const chunk = this.#chunks.get((at - start) / CHUNK_BYTES);
      const part = into.subarray(at - offset, at - offset + count);
      if (chunk === undefined) part.fill(0);
      else part.set(chunk.subarray(start, start + count));
      at += count;
    }
    return Math.max(0, end - offset);
  }

  /** Copies bytes in, making it longer where they end behind the end. */
  write(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    for (let at = offset; at < end;) {
      const start = at % CHUNK_BYTES;
      const count = Math.min(CHUNK_BYTES - start, end - at);
      const part = bytes.subarray(at - offset, at - offset + count);
      this.#writable((at - start) / CHUNK_BYTES).set(part, start);
      at += count;
    }
    if (bytes.length > 0) this.#size = Math.max(this.#size, end);
  }

  /** Cuts it, or makes it longer with zeros. */
  resize(size: number): void {
    if (size < this.#size) {
      for (const index of [...this.#chunks.keys()]) {
        if (index * CHUNK_BYTES >= size) {
          this.#chunks.delete(index);
          this.#own.delete(index);
        }
      }
      const rest = size % CHUNK_BYTES;
      const last = (size - rest) / CHUNK_BYTES;
      if (this.#chunks.has(last)) this.#writable(last).fill(0, rest);
    }
    this.#size = size;
  }

  /** Parts that are no holes, in order; their bytes are not to be changed. */
  *parts(): Generator<{ readonly offset: number; readonly bytes: Uint8Array }> {
    for (const index of [...this.#chunks.keys()].sort((a, b) => a - b)) {
      const offset = index * CHUNK_BYTES;
      yield { offset, bytes: this.#chunks.get(index)!.subarray(0, this.#size - offset) };
    }
  }

  #writable(index: number): Uint8Array {
    let chunk = this.#chunks.get(index);
    if (chunk === undefined || !this.#own.has(index)) {
      chunk = chunk?.slice() ?? new Uint8Array(CHUNK_BYTES);
      this.#chunks.set(index, chunk);
      this.#own.add(index);
    }
    return chunk;
  }
}
