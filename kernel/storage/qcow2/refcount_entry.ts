/**
 * Refcounts of 1 to 64 bits in a block (qcow2, "Host cluster management"): those of less than a byte lie
 * from the least significant bit up, the others are big endian.
 */
import { getNumber64, setNumber64 } from "./header.ts";

/** Most that a refcount can be, for our purposes: the greatest number that is exact. */
export function refcountMaximum(order: number): number {
  return Math.min(2 ** (2 ** order) - 1, Number.MAX_SAFE_INTEGER);
}

/** Refcount at an index of a block. */
export function getRefcount(view: DataView, order: number, index: number): number {
  switch (order) {
    case 3:
      return view.getUint8(index);
    case 4:
      return view.getUint16(index * 2);
    case 5:
      return view.getUint32(index * 4);
    case 6:
      return getNumber64(view, index * 8);
    default: {
      const bits = 1 << order;
      const at = index * bits;
      return view.getUint8(at >>> 3) >>> (at & 7) & (1 << bits) - 1;
    }
  }
}

/** Sets a refcount, which is not above the maximum. */
export function setRefcount(view: DataView, order: number, index: number, value: number): void {
  switch (order) {
    case 3:
      return view.setUint8(index, value);
    case 4:
      return view.setUint16(index * 2, value);
    case 5:
      return view.setUint32(index * 4, value);
    case 6:
      return setNumber64(view, index * 8, value);
    default: {
      const bits = 1 << order;
      const at = index * bits;
      const mask = (1 << bits) - 1 << (at & 7);
      const old = view.getUint8(at >>> 3);
      view.setUint8(at >>> 3, old & ~mask | value << (at & 7) & mask);
    }
  }
}
