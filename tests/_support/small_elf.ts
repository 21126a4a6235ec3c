/**
 * A small executable for tests of the loader: one segment of 16 bytes and one symbol, `tohost` (System V
 * ABI, "Object Files").
 */

/** What differs from the plain one. */
export interface SmallElf {
  readonly entry?: bigint;
  readonly virtualAddress?: bigint;
  readonly physicalAddress?: bigint;
  /** Bytes in memory; 16 of them are in the file. */
  readonly memoryBytes?: bigint;
  readonly tohost?: bigint;
  /** ELF class: 1 is 32 bits, 2 is 64. */
  readonly bits?: 1 | 2;
  /** Byte order: 1 is little-endian. */
  readonly order?: 1 | 2;
  /** e_machine: 243 is RISC-V. */
  readonly machine?: number;
}

const PROGRAM_HEADER = 64;
const STRINGS = 200;
const SECTION_HEADERS = 256;
const SYMBOLS = 120;
const CONTENT = 448;
const RAM = 0x8000_0000n;

/** Makes the file; `content` is the segment's first 16 bytes. */
export function smallElf(content: Uint8Array, options: SmallElf = {}): Uint8Array<ArrayBuffer> {
  const { entry = RAM, virtualAddress = RAM, physicalAddress = RAM } = options;
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  const u16 = (at: number, value: number) => view.setUint16(at, value, true);
  const u32 = (at: number, value: number) => view.setUint32(at, value, true);
  const u64 = (at: number, value: bigint | number) => view.setBigUint64(at, BigInt(value), true);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, options.bits ?? 2, options.order ?? 1, 1]);
  u16(18, options.machine ?? 243);
  u64(24, entry);
  u64(32, PROGRAM_HEADER);
  u64(40, SECTION_HEADERS);
  u16(54, 56);
  u16(56, 1);
  u16(58, 64);
  u16(60, 3);
  u32(PROGRAM_HEADER, 1);
  u64(PROGRAM_HEADER + 8, CONTENT);
  u64(PROGRAM_HEADER + 16, virtualAddress);
  u64(PROGRAM_HEADER + 24, physicalAddress);
  u64(PROGRAM_HEADER + 32, 16);
  u64(PROGRAM_HEADER + 40, options.memoryBytes ?? 4096n);
  const symbolSection = SECTION_HEADERS + 64;
  u32(symbolSection + 4, 2);
  u32(symbolSection + 40, 2);
  u64(symbolSection + 24, SYMBOLS);
  u64(symbolSection + 32, 48);
  u64(SECTION_HEADERS + 128 + 24, STRINGS);
  u32(SYMBOLS + 24, 1);
  u64(SYMBOLS + 32, options.tohost ?? 0n);
  bytes.set(new TextEncoder().encode("\0tohost\0"), STRINGS);
  bytes.set(content.subarray(0, 16), CONTENT);
  return bytes;
}
