/**
 * How predecoded records lie in memory, and the operations that are no instruction. One record is 16
 * bytes, one for each halfword of a page (translator.md, "predecoded WebAssembly interpreter").
 *
 *     0  u16 operation     2  u16 rd offset     4  u16 rs1 offset     6  u16 rs2 offset
 *     8  i32 immediate (near branches: distance in record bytes)      12 u32 instruction bits
 *
 * Register offsets are relative to the hart block; writes to x0 go to the sink.
 */

/** Byte offsets in a record. */
export const RECORD = { operation: 0, rd: 2, rs1: 4, rs2: 6, immediate: 8, bits: 12 } as const;

/** Operations that are no instruction. */
export const SPECIAL = {
  undecoded: 0,
  pageEnd: 1,
  straddle: 2,
  illegal: 3,
  /** A marker of replay-only code. */
  marker: 4,
  /** Asks the points there first; the second is an instruction on two pages. */
  point: 5,
  straddlePoint: 6,
} as const;
/** Operations that are no instruction: the first handler's number. */
export const SPECIALS = 7;
