/**
 * Images for the runner guest (guests/isa/runner): a random program, its registers, data and page
 * tables at the places that runner.S names.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import { POINTERS, ProgramMaker } from "./random_program.ts";

const BASE = 0x8000_0000;
const HEADER = 0x1000;
const PROGRAM = 0x1_0000;
const DATA = 0x10_0000;
const DATA_BYTES = 0x1_0000;
const TABLES = 0x20_0000;
const TABLE_BYTES = 0x4_0000;
const IMAGE_BYTES = TABLES + TABLE_BYTES;

/** Where translation is on: levels of the page table. */
export type Paging = "bare" | "sv39" | "sv48" | "sv57";

/** One differential case. */
export interface RunnerCase {
  readonly privilege: 0 | 1 | 3;
  readonly paging: Paging;
  readonly float: boolean;
  readonly slots: number;
  readonly iterations: number;
}

const EDGES: readonly bigint[] = [
  0n,
  1n,
  -1n,
  2n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x7fffffffffffffffn,
  -0x8000000000000000n,
  -0x80000000n,
];

/** Doubles and boxed singles at the edges of their formats. */
const FLOAT_EDGES: readonly bigint[] = [
  0n,
  0x8000000000000000n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  0x7ff0000000000001n,
  0x0000000000000001n,
  0x000fffffffffffffn,
  0x0010000000000000n,
  0x7fefffffffffffffn,
  0xffffffff00000000n,
  0xffffffff3f800000n,
  0xffffffff7f800000n,
  0xffffffff7fc00000n,
  0xffffffff7f800001n,
  0xffffffff00000001n,
  0xffffffff00800000n,
  0xffffffff7f7fffffn,
  0x000000003f800000n,
];

const MODES = { bare: 0n, sv39: 8n, sv48: 9n, sv57: 10n } as const;
const LEVELS = { bare: 0, sv39: 3, sv48: 4, sv57: 5 } as const;
/** V R W X U A D. */
const LEAF_FULL = 0xdfn;

/** Builds the image of a case. */
export function runnerImage(runner: Uint8Array, rng: Prng, c: RunnerCase): Uint8Array<ArrayBuffer> {
  const image = new Uint8Array(IMAGE_BYTES);
  const view = new DataView(image.buffer);
  image.set(runner);
  const words = new ProgramMaker(rng, c).make();
  words.forEach((word, i) => view.setUint32(PROGRAM + 4 * i, word, true));
  image.set(rng.bytes(DATA_BYTES), DATA);
  const paged = c.paging !== "bare" && c.privilege !== 3;
  const entry = paged ? buildTables(view, rng, c) : { program: BASE + PROGRAM, data: BASE + DATA };
  const header: bigint[] = [
    BigInt(c.iterations),
    paged ? MODES[c.paging] << 60n | BigInt(BASE + TABLES) >> 12n : 0n,
    BigInt(c.privilege),
    BigInt(entry.program),
    // SUM and MXR as chance has it.
    BigInt(rng.below(4)) << 18n,
  ];
  header.forEach((value, i) => view.setBigUint64(HEADER + 8 * i, value, true));
  for (let i = 1; i < 32; i++) {
    const value = POINTERS.includes(i)
      ? BigInt(entry.data) + BigInt(pointerOffset(rng, i))
      : rng.below(2) === 0
      ? rng.pick(EDGES)
      : rng.u64();
    view.setBigUint64(HEADER + 0x100 + 8 * (i - 1), BigInt.asUintN(64, value), true);
  }
  for (let i = 0; i < 32; i++) {
    const value = rng.below(3) === 0
      ? rng.u64()
      : rng.below(4) === 0
      ? 0xffffffff00000000n | BigInt(rng.u32())
      : rng.pick(FLOAT_EDGES);
    view.setBigUint64(HEADER + 0x200 + 8 * i, value, true);
  }
  view.setBigUint64(HEADER + 0x300, BigInt(rng.below(5) << 5), true);
  return image;
}

/** Pointers: two aligned in mid-data, one odd, one close to a page's end. */
function pointerOffset(rng: Prng, register: number): number {
  if (register === 2) return 0x8000;
  if (register === 15) return 0x4000 + 8 * rng.below(256);
  if (register === 26) return 0x6000 + rng.below(4096);
  return 0xa000 - 1 - rng.below(16);
}

/** Maps the program's page and the data's pages at high and low addresses with random permissions. */
function buildTables(
  view: DataView,
  rng: Prng,
  c: RunnerCase,
): { program: bigint; data: bigint } {
  let used = 1;
  const levels = LEVELS[c.paging];
  const tableAt = (index: number) => TABLES + index * 4096;
  const map = (address: bigint, frame: number, flags: bigint) => {
    let table = 0;
    for (let level = levels - 1; level > 0; level--) {
      const slot = tableAt(table) + Number(address >> BigInt(12 + 9 * level) & 511n) * 8;
      const entry = view.getBigUint64(slot, true);
      if (entry === 0n) {
        view.setBigUint64(slot, BigInt(BASE + tableAt(used)) >> 12n << 10n | 1n, true);
        table = used++;
      } else {
        table = (Number(entry >> 10n << 12n) - BASE - TABLES) / 4096;
      }
    }
    const slot = tableAt(table) + Number(address >> 12n & 511n) * 8;
    view.setBigUint64(slot, BigInt(BASE + frame) >> 12n << 10n | flags, true);
  };
  const user = c.privilege === 0 ? 0n : 0x10n;
  const program = 0x10_0000n + BigInt(rng.below(64)) * 0x1000n;
  for (let page = 0n; page < 8n; page++) {
    map(program + page * 0x1000n, PROGRAM + Number(page) * 4096, LEAF_FULL ^ user);
  }
  const top = (1n << 64n) - (1n << BigInt(12 + 9 * levels - 1));
  const data = rng.below(2) === 0 ? 0x4000_0000n - 0x5000n : top + 0x7000n;
  for (let page = 0; page < 16; page++) {
    // Mostly usable; sometimes without V, R, W, U, A or D, sometimes reserved bits.
    let flags = LEAF_FULL ^ user;
    if (rng.below(3) === 0) flags ^= 1n << BigInt(rng.below(8));
    if (rng.below(3) === 0) flags &= ~0xc0n;
    if (rng.below(24) === 0) flags |= 1n << 60n;
    map(BigInt.asUintN(64, data + BigInt(page) * 0x1000n), DATA + page * 4096, flags);
  }
  return { program, data: BigInt.asUintN(64, data) };
}
