/**
 * A seeded generator of pseudo-random numbers (xoshiro128**, Blackman and Vigna) over lent words, so
 * that its state can be part of a machine. For tests and for guests' entropy, not for secrets.
 */

function splitMix32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = state + 0x9e3779b9 >>> 0;
    let z = state;
    z = Math.imul(z ^ z >>> 16, 0x85ebca6b);
    z = Math.imul(z ^ z >>> 13, 0xc2b2ae35);
    return (z ^ z >>> 16) >>> 0;
  };
}

const rotate = (value: number, by: number) => value << by | value >>> 32 - by;

/** The generator. Equal seeds give equal sequences on every host. */
export class Prng {
  /**
   * @param seed any integer; ignored when `words` already holds a state
   * @param words four words to keep the state in
   */
  constructor(seed: number | bigint, private readonly words: Uint32Array = new Uint32Array(4)) {
    if (words.every((word) => word === 0)) {
      const whole = BigInt.asUintN(64, BigInt(seed));
      const low = splitMix32(Number(whole & 0xffff_ffffn));
      const high = splitMix32(Number(whole >> 32n) ^ 0x5bd1e995);
      for (let i = 0; i < 4; i++) words[i] = low() ^ high();
      if (words.every((word) => word === 0)) words[0] = 1;
    }
  }

  /** The next 32 bits. */
  u32(): number {
    const s = this.words;
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = rotate(s[3]!, 11);
    return result;
  }

  /** The next 64 bits. */
  u64(): bigint {
    return BigInt(this.u32()) << 32n | BigInt(this.u32());
  }

  /** An integer from 0 up to but not including `bound`, which is at most 2^32. */
  below(bound: number): number {
    return Math.floor(this.u32() * bound / 2 ** 32);
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Random bytes. */
  bytes(length: number): Uint8Array {
    return this.fill(new Uint8Array(length));
  }

  /** Makes the sequence depend on more bytes, without forgetting what it depended on. */
  mix(bytes: Uint8Array): void {
    const { words } = this;
    bytes.forEach((byte, i) => {
      words[i & 3] = words[i & 3]! ^ byte << (i >> 2 & 3) * 8;
      if ((i & 15) === 15) this.u32();
    });
    if (words.every((word) => word === 0)) words[0] = 1;
    this.u32();
  }

  /** Fills bytes and gives them back. */
  fill(into: Uint8Array): Uint8Array {
    for (let i = 0; i < into.length; i++) into[i] = this.u32() >>> 24;
    return into;
  }
}
