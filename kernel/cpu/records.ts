/**
 * Predecoded records: which operation numbers exist and how a record lies in memory. One record is 16
 * bytes, one for each halfword of a page (translator.md, "predecoded WebAssembly interpreter").
 *
 *     0  u16 operation     2  u16 rd offset     4  u16 rs1 offset     6  u16 rs2 offset
 *     8  i32 immediate (near branches: distance in record bytes)      12 u32 instruction bits
 *
 * Register offsets are relative to the hart block; writes to x0 go to the sink.
 */
import { HART } from "../memory/hart_layout.ts";
import { CONTROL } from "../memory/control_layout.ts";
import { CONTROL_BLOCK, HART_BLOCK, RECORD_BYTES } from "../memory/memory_plan.ts";
import { COMPRESSED } from "./isa/c.ts";
import type { Decoded } from "./isa/decode.ts";
import { ILLEGAL } from "./isa/decode.ts";
import { isMarker } from "./isa/marker.ts";
import { ROWS } from "./isa/table.ts";

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

/** One handler of the interpreter. */
export interface Variant {
  /** Position in ROWS. */
  readonly row: number;
  readonly length: 2 | 4;
  /** A branch or jump whose target lies in the same page. */
  readonly near: boolean;
}

const compressible = new Set(COMPRESSED.map((row) => row.long));

/** All handlers; operation number = position + SPECIALS. */
export const VARIANTS: readonly Variant[] = ROWS.flatMap((row, i) => {
  const lengths: (2 | 4)[] = compressible.has(i) ? [4, 2] : [4];
  const nears = row.flow === "branch" || row.flow === "jump" ? [false, true] : [false];
  return lengths.flatMap((length) => nears.map((near) => ({ row: i, length, near })));
});

const numbers = new Map(VARIANTS.map((v, i) => [key(v.row, v.length, v.near), i + SPECIALS]));

function key(row: number, length: number, near: boolean): number {
  return row << 2 | (length >> 2) << 1 | (near ? 1 : 0);
}

/** Operation number of a handler. */
const operationTable = new Uint16Array(ROWS.length << 2);
for (const [k, number] of numbers) operationTable[k] = number;

/** Number of operations, specials included. */
export const OPERATIONS = VARIANTS.length + SPECIALS;

/** Where writes to x0 go, relative to the hart block. */
const SINK = CONTROL_BLOCK + CONTROL.offset.sink - HART_BLOCK;

const floatDestination = ROWS.map((row) => row.operands.includes("D"));
const floatSource1 = ROWS.map((row) => row.operands.includes("S"));
const floatSource2 = ROWS.map((row) => row.operands.includes("T"));
const relative = ROWS.map((row) => row.flow === "branch" || row.flow === "jump");

/** Whether control may not simply fall to the next instruction: decoding ahead stops there. */
export const ENDS_RUN: readonly boolean[] = ROWS.map((row) =>
  row.flow === "jump" || row.flow === "indirect" || row.flow === "system"
);

/** Writes records into VM memory. */
export class RecordWriter {
  readonly #view: DataView;

  /** @param buffer the VM's memory */
  constructor(buffer: ArrayBufferLike) {
    this.#view = new DataView(buffer);
  }

  /** Writes an operation that is no instruction. */
  special(address: number, operation: number, bits = 0): void {
    this.#view.setUint16(address + RECORD.operation, operation, true);
    this.#view.setUint32(address + RECORD.bits, bits, true);
  }

  /**
   * Writes a decoded instruction.
   * @param address of the record
   * @param pageOffset of the instruction, or -1 when it is not part of a decoded page
   */
  instruction(address: number, decoded: Decoded, pageOffset: number): void {
    if (decoded.row === ILLEGAL) return this.special(address, SPECIAL.illegal, decoded.bits);
    const { row, rd, rs1, rs2, imm, length, bits } = decoded;
    if (isMarker(bits)) return this.special(address, SPECIAL.marker, bits);
    const view = this.#view;
    const target = pageOffset + imm;
    const near = relative[row]! && pageOffset >= 0 && target >= 0 && target < 4096;
    const operation = operationTable[key(row, length, near)]!;
    const f = HART.offset.f;
    const destination = floatDestination[row] ? f + rd * 8 : rd === 0 ? SINK : rd * 8;
    view.setUint16(address + RECORD.rd, destination, true);
    view.setUint16(address + RECORD.rs1, floatSource1[row] ? f + rs1 * 8 : rs1 * 8, true);
    view.setUint16(address + RECORD.rs2, floatSource2[row] ? f + rs2 * 8 : rs2 * 8, true);
    view.setInt32(address + RECORD.immediate, near ? imm / 2 * RECORD_BYTES : imm, true);
    view.setUint32(address + RECORD.bits, bits, true);
    view.setUint16(address + RECORD.operation, operation, true);
  }
}
