/**
 * Regions as bytes, to be kept for later runs of the same guest (issue 3 section 1, "Persistent
 * profiles"): one module that is ready to be compiled, and what its functions were made from, as
 * MessagePack behind a head of magic, version, length and digest of what follows (X5).
 *
 *     u32 magic | u32 version | u32 length | u32 zero | 16 characters of digest | content | zeros
 *
 * Invariants: what was cut or damaged, or was written for another layout of memory or by another version
 * of the translator, is not used at all; a region carries its code, and is placed only where guest memory
 * holds the same.
 */
import { decode, encode } from "@std/msgpack";
import { Digest } from "../base/checksum.ts";
import { FormatError } from "../base/errors.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { RegionMaker } from "./region_maker.ts";
import type { CodePart, MadeRegion } from "./translation.ts";

/**
 * To be raised with every change of what regions are made of: their functions, the layout of VM memory that
 * these know, or their imports. A test over generated functions tells when that was forgotten.
 */
export const TRANSLATION_VERSION = 4;

const MAGIC = 0x4b545643;
const HEAD_BYTES = 32;
const DIGEST_AT = 16;

type KeptPart = readonly [page: number, first: number, code: Uint8Array];
type KeptRegion = readonly [
  entries: readonly number[],
  instructions: number,
  parts: readonly KeptPart[],
  bodyStart: number,
  bodyEnd: number,
  /** Offsets × 2, plus 1 for a branch that is likely to be taken. */
  hints: Uint8Array,
];
type Content = readonly [layout: string, module: Uint8Array, regions: readonly KeptRegion[]];

/** What was kept. */
export interface KeptRegions {
  /** The layout of memory that they were made for, see `layoutOf`. */
  readonly layout: string;
  /** The regions; the one with index i has slot i + 1 in the module. */
  readonly regions: readonly MadeRegion[];
  /** A module of all of them. */
  readonly module: Uint8Array<ArrayBuffer>;
}

/** Writes regions that were made for a layout of memory. */
export function encodeRegions(
  plan: MemoryPlan,
  regions: readonly MadeRegion[],
): Uint8Array<ArrayBuffer> {
  const functions = regions.map(({ finished }, i) => ({ slot: i + 1, finished }));
  const { bytes, bodies } = new RegionMaker(plan).linkWithPlaces(functions);
  const kept = regions.map((region, i) => keep(region, bodies[i]!));
  const content: Content = [layoutOf(plan), bytes, kept];
  const payload = encode(content);
  const out = new Uint8Array(HEAD_BYTES + Math.ceil(payload.length / 4) * 4);
  out.set(payload, HEAD_BYTES);
  const head = new DataView(out.buffer);
  head.setUint32(0, MAGIC, true);
  head.setUint32(4, TRANSLATION_VERSION, true);
  head.setUint32(8, payload.length, true);
  out.set(new TextEncoder().encode(digestOf(out)), DIGEST_AT);
  return out;
}

/** Reads what `encodeRegions` wrote. Throws FormatError when it is not that. */
export function decodeRegions(bytes: Uint8Array<ArrayBuffer>): KeptRegions {
  const [layout, module, regions] = decode(payloadOf(bytes)) as Content;
  return {
    layout,
    module: module as Uint8Array<ArrayBuffer>,
    regions: regions.map((region) => unkeep(region, module)),
  };
}

/** All addresses that functions of regions may know. */
export function layoutOf(plan: MemoryPlan): string {
  return JSON.stringify(plan);
}

function payloadOf(bytes: Uint8Array<ArrayBuffer>): Uint8Array {
  if (bytes.length < HEAD_BYTES) throw new FormatError("kept regions end in their head");
  const head = new DataView(bytes.buffer, bytes.byteOffset, HEAD_BYTES);
  if (head.getUint32(0, true) !== MAGIC) throw new FormatError("these are no kept regions");
  const version = head.getUint32(4, true);
  if (version !== TRANSLATION_VERSION) {
    throw new FormatError(`kept regions have version ${version}, not ${TRANSLATION_VERSION}`);
  }
  const length = head.getUint32(8, true);
  if (bytes.length !== HEAD_BYTES + Math.ceil(length / 4) * 4) {
    throw new FormatError(`kept regions have ${bytes.length} bytes, not as their head says`);
  }
  const digest = new TextDecoder().decode(bytes.subarray(DIGEST_AT, HEAD_BYTES));
  if (digest !== digestOf(bytes)) throw new FormatError("kept regions are damaged");
  return bytes.subarray(HEAD_BYTES, HEAD_BYTES + length);
}

function digestOf(bytes: Uint8Array<ArrayBuffer>): string {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const start = aligned.byteOffset + HEAD_BYTES;
  const digest = new Digest();
  digest.number(new DataView(aligned.buffer, aligned.byteOffset).getUint32(8, true));
  digest.words(new Uint32Array(aligned.buffer, start, (bytes.length - HEAD_BYTES) / 4));
  return digest.hex();
}

function keep({ entries, instructions, parts, finished }: MadeRegion, start: number): KeptRegion {
  const { body, hints } = finished;
  const kept = parts.map(({ page, first, code }): KeptPart => [page, first, bytesOf(code)]);
  const packed = Uint32Array.from(hints, ({ at, likely }) => at * 2 + (likely ? 1 : 0));
  return [entries, instructions, kept, start, start + body.length, bytesOf(packed)];
}

function unkeep(region: KeptRegion, module: Uint8Array): MadeRegion {
  const [entries, instructions, parts, bodyStart, bodyEnd, hints] = region;
  const packed = new Uint32Array(hints.slice().buffer);
  return {
    entries,
    instructions,
    parts: parts.map(([page, first, code]): CodePart => ({
      page,
      first,
      code: new Uint16Array(code.slice().buffer),
    })),
    finished: {
      body: module.subarray(bodyStart, bodyEnd),
      hints: Array.from(packed, (hint) => ({ at: hint >>> 1, likely: (hint & 1) === 1 })),
    },
  };
}

function bytesOf(words: Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
