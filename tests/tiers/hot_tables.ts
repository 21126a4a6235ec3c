/**
 * The memory image of the page-table test: three roots that share tables, a playground of small and large
 * pages with data and code, tables that map themselves, and untouched copies to restore entries from
 * (privileged ISA, "Sv39", "Sv48", "Sv57").
 *
 * Invariant: the program and its trap handler lie under one large page of the root that no edit touches.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import { START } from "../_support/hot_program.ts";
import { entryFor, LEAF } from "../_support/page_tables.ts";
import { encode } from "../../tools/asm/encode.ts";

/** Page tables, each a page; copies of all lie COPIES further on. */
export const TABLES = 0x8020_0000;
/** How far behind the tables their untouched copies lie. */
export const COPIES = 0x1_0000;
/** Numbers of the tables. */
export const TABLE = {
  rootA: 0,
  rootB: 1,
  /** Its first entry leads to rootA. */
  root48: 2,
  /** Its first entry leads to root48. */
  root57: 3,
  middle: 4,
  otherMiddle: 5,
  /** Leaf tables of the playground. */
  first: 6,
  second: 7,
  third: 8,
  /** Maps with small pages what a large page maps. */
  split: 9,
} as const;
/** Frames of code, then of data. */
export const FRAMES = 0x8030_0000;
export const CODE_FRAMES = 6;
export const DATA_FRAMES = 12;

/** Virtual addresses: the playground, and all of memory once more. */
export const PLAYGROUND = 0x4000_0000;
export const ALIAS = 0xc000_0000;
/** Two megabytes from here on, in the playground, are one large page or 512 small ones. */
export const LARGE = PLAYGROUND + 4 * 0x20_0000;
/** Physical address of that page: tables and frames. */
export const LARGE_FRAME = TABLES;
/** Pages of each leaf table that hold data, then those that hold code. */
export const DATA_PAGES = 6;
export const CODE_PAGES = 4;
/** The entry of the first leaf table that maps the table itself. */
export const SELF = 511;
/** Entries of the middle tables that the program edits. */
export const MIDDLE_ENTRIES = 5;

/** Places in a page of code. */
export const FUNCTION = { plain: 0x004, loop: 0x100, remaps: 0x200, across: 0xff4 } as const;
/** Registers that the function that remaps its page is given: where the entry lies, and its new value. */
export const REMAP = { address: 17, entry: 16 } as const;
const RETURN = encode("jalr", { rs1: 1 });

/** Physical address of a table. */
export const tableAt = (table: number) => TABLES + 4096 * table;
/** Physical address of a frame; those of code come first. */
export const frameAt = (frame: number) => FRAMES + 4096 * frame;

/** A page of code; pages differ in their constants alone. */
function codePage(rng: Prng): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  const put = (at: number, words: readonly number[]) => {
    words.forEach((word, i) => {
      view.setUint16(at + 4 * i, word & 0xffff, true);
      if (at + 4 * i + 2 < 4096) view.setUint16(at + 4 * i + 2, word >>> 16, true);
    });
  };
  const add = () => encode("addi", { rd: 10, rs1: 10, imm: 1 + rng.below(2000) });
  view.setUint16(0, add() >>> 16, true);
  view.setUint16(2, 0x0001, true);
  put(FUNCTION.plain, [add(), encode("xor", { rd: 11, rs1: 11, rs2: 10 }), RETURN]);
  const count = encode("addi", { rd: 14, rs1: 14, imm: -1 });
  const back = encode("bne", { rs1: 14, rs2: 0, imm: -8 });
  put(FUNCTION.loop, [encode("addi", { rd: 14, imm: 9 }), add(), count, back, RETURN]);
  const { address, entry } = REMAP;
  const swap = encode("amoswap.d", { rd: entry, rs1: address, rs2: entry });
  put(FUNCTION.remaps, [add(), swap, add(), encode("addi", { rd: 11, rs1: 10 }), RETURN]);
  // Two instructions, then one whose second half is the next page's first.
  put(FUNCTION.across, [add(), add()]);
  view.setUint16(4092, 0x0001, true);
  view.setUint16(4094, add() & 0xffff, true);
  return bytes;
}

/** Flags of a leaf: nearly always usable. */
function leafFlags(rng: Prng, base: bigint): bigint {
  const flip = () => 1n << BigInt(rng.below(8));
  return rng.below(5) > 0 ? base : base ^ flip();
}

/** Puts tables, copies and frames into an image that starts at START. */
export function addHotTables(image: Uint8Array<ArrayBuffer>, rng: Prng, user: boolean): void {
  const view = new DataView(image.buffer);
  const put = (table: number, index: number, entry: bigint) => {
    for (const copy of [0, COPIES]) {
      view.setBigUint64(tableAt(table) + copy - START + 8 * index, entry, true);
    }
  };
  const pointer = (table: number) => entryFor(tableAt(table), LEAF.V);
  const all = user ? LEAF.user : LEAF.all;
  for (const root of [TABLE.rootA, TABLE.rootB]) {
    put(root, 1, pointer(root === TABLE.rootA || rng.below(2) === 0 ? 4 : 5));
    put(root, 2, entryFor(START, all));
    put(root, 3, entryFor(START, all));
    // The root is a table of every level.
    put(root, 4, pointer(root));
  }
  put(TABLE.root48, 0, pointer(TABLE.rootA));
  put(TABLE.root57, 0, pointer(TABLE.root48));
  for (const middle of [TABLE.middle, TABLE.otherMiddle]) {
    const leaves = [TABLE.first, TABLE.second, TABLE.third];
    for (let i = 0; i < 3; i++) put(middle, i, pointer(i === 0 ? TABLE.first : rng.pick(leaves)));
    put(middle, 3, entryFor(LARGE_FRAME, all));
    put(middle, 4, rng.below(2) === 0 ? entryFor(LARGE_FRAME, all) : pointer(TABLE.split));
  }
  for (const table of [TABLE.first, TABLE.second, TABLE.third]) {
    for (let i = 0; i < DATA_PAGES; i++) {
      // Now and then a table is data as well.
      const freed = rng.below(12) === 0 ? tableAt(rng.pick([TABLE.third, TABLE.split])) : undefined;
      const frame = freed ?? frameAt(CODE_FRAMES + rng.below(DATA_FRAMES));
      put(table, i, entryFor(frame, leafFlags(rng, all & ~LEAF.X)));
    }
    for (let i = DATA_PAGES; i < DATA_PAGES + CODE_PAGES; i++) {
      put(table, i, entryFor(frameAt(rng.below(CODE_FRAMES)), leafFlags(rng, all & ~LEAF.W)));
    }
  }
  put(TABLE.first, SELF, entryFor(tableAt(TABLE.first), all));
  for (let i = 0; i < 512; i++) put(TABLE.split, i, entryFor(LARGE_FRAME + 4096 * i, all));
  for (let i = 0; i < CODE_FRAMES; i++) image.set(codePage(rng), frameAt(i) - START);
}

/** Bytes of an image with everything. */
export const IMAGE_BYTES = frameAt(CODE_FRAMES + DATA_FRAMES) - START;
