/**
 * The kinds of fields a layout can have. All are little-endian and kept in place in lent bytes, which
 * may be shared memory.
 */
import type { ByteQueue, FieldKind } from "./layout.ts";

type Numbers = Uint8Array | Uint16Array | Uint32Array | Float64Array;

function scalar(
  bytes: number,
  make: (buffer: ArrayBufferLike, offset: number) => Numbers,
): FieldKind<number> {
  return {
    byteLength: bytes,
    alignment: bytes,
    writable: true,
    bind(buffer, offset) {
      const cell = make(buffer, offset);
      return { get: () => cell[0]!, set: (value) => void (cell[0] = value) };
    },
  };
}

/** An unsigned byte. */
export const u8: FieldKind<number> = scalar(1, (b, o) => new Uint8Array(b, o, 1));
/** An unsigned 16-bit integer. */
export const u16: FieldKind<number> = scalar(2, (b, o) => new Uint16Array(b, o, 1));
/** An unsigned 32-bit integer. */
export const u32: FieldKind<number> = scalar(4, (b, o) => new Uint32Array(b, o, 1));
/** An integer up to 2^53, for guest time in ticks. Kept as a double. */
export const u53: FieldKind<number> = scalar(8, (b, o) => new Float64Array(b, o, 1));

/** An unsigned 64-bit integer. */
export const u64: FieldKind<bigint> = {
  byteLength: 8,
  alignment: 8,
  writable: true,
  bind(buffer, offset) {
    const cell = new BigUint64Array(buffer, offset, 1);
    return { get: () => cell[0]!, set: (value) => void (cell[0] = value) };
  },
};

/** True or false, kept as a byte. */
export const bool: FieldKind<boolean> = {
  byteLength: 1,
  alignment: 1,
  writable: true,
  bind(buffer, offset) {
    const cell = new Uint8Array(buffer, offset, 1);
    return { get: () => cell[0] !== 0, set: (value) => void (cell[0] = value ? 1 : 0) };
  },
};

/** An array of bytes. */
export function bytes(length: number): FieldKind<Uint8Array> {
  return fixed(length, 1, (b, o) => new Uint8Array(b, o, length));
}

/** An array of unsigned 16-bit integers. */
export function u16s(length: number): FieldKind<Uint16Array> {
  return fixed(length * 2, 2, (b, o) => new Uint16Array(b, o, length));
}

/** An array of unsigned 32-bit integers. */
export function u32s(length: number): FieldKind<Uint32Array> {
  return fixed(length * 4, 4, (b, o) => new Uint32Array(b, o, length));
}

/** An array of integers up to 2^53. */
export function u53s(length: number): FieldKind<Float64Array> {
  return fixed(length * 8, 8, (b, o) => new Float64Array(b, o, length));
}

function fixed<T>(
  byteLength: number,
  alignment: number,
  make: (buffer: ArrayBufferLike, offset: number) => T,
): FieldKind<T> {
  return {
    byteLength,
    alignment,
    writable: false,
    bind(buffer, offset) {
      const value = make(buffer, offset);
      return { get: () => value };
    },
  };
}

/** A bounded queue of bytes. */
export function byteQueue(capacity: number): FieldKind<ByteQueue> {
  return fixed(8 + capacity, 4, (buffer, offset) => {
    const head = new Uint32Array(buffer, offset, 2);
    const data = new Uint8Array(buffer, offset + 8, capacity);
    return {
      get length() {
        return head[1]!;
      },
      capacity,
      push(value) {
        if (head[1] === capacity) return false;
        data[(head[0]! + head[1]!) % capacity] = value;
        head[1]!++;
        return true;
      },
      shift() {
        if (head[1] === 0) return undefined;
        const value = data[head[0]!];
        head[0] = (head[0]! + 1) % capacity;
        head[1]!--;
        return value;
      },
      clear() {
        head[0] = head[1] = 0;
      },
    };
  });
}
