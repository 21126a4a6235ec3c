/**
 * Messages over a byte ring: u32 length of the payload, u16 kind, payload (little-endian).
 *
 * Invariant: a message becomes readable whole or not at all.
 */
import { assert } from "./assert.ts";
import type { ByteRing } from "./byte_ring.ts";

const HEADER_BYTES = 6;

/** A message that was read. */
export interface RingMessage {
  /** What it is, 0 to 65535. */
  readonly kind: number;
  /** Its payload, a copy. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** One end of a ring of messages. */
export class MessageRing {
  readonly #ring: ByteRing;
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);

  /** Messages over a ring that carries nothing else. */
  constructor(ring: ByteRing) {
    this.#ring = ring;
  }

  /** Longest payload that ever fits. */
  get longest(): number {
    return this.#ring.capacity - HEADER_BYTES;
  }

  /** Writes a message; false when there is no room for it now. */
  tryWrite(kind: number, bytes: Uint8Array): boolean {
    assert(bytes.length <= this.longest && kind >= 0 && kind < 0x1_0000, "no such message fits");
    const length = HEADER_BYTES + bytes.length;
    if (this.#ring.writable < length) return false;
    this.#view.setUint32(0, bytes.length, true);
    this.#view.setUint16(4, kind, true);
    this.#ring.writeAll([this.#header, bytes], length);
    return true;
  }

  /** Takes the next message, if there is one. */
  tryRead(): RingMessage | undefined {
    const { readable } = this.#ring;
    if (readable < HEADER_BYTES) return undefined;
    this.#ring.peek(this.#header);
    const length = this.#view.getUint32(0, true);
    const kind = this.#view.getUint16(4, true);
    assert(HEADER_BYTES + length <= readable, "a ring's message is longer than what was written");
    const bytes = new Uint8Array(length);
    this.#ring.skip(HEADER_BYTES);
    this.#ring.read(bytes);
    return { kind, bytes };
  }
}
