/**
 * What fuzz targets share: numbers that lie on edges, and damage done to good bytes.
 */
import type { Prng } from "../../kernel/base/prng.ts";

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
