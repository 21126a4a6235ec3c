/**
 * How a checkpoint's file lies in bytes (X5). All integers are little-endian.
 *
 *     header   "CHRONCKP" | u32 version | u32 bytes of the file | u32 0 | u32 CRC-32 of the 20 bytes before
 *     frame    u32 kind, bit 16: sparse | u32 stored bytes | u32 bytes | u32 CRC-32 of the 12 bytes before and
 *              the stored bytes | stored bytes: the bytes themselves when they are as many, else their form
 *              without zeros (base/sparse_bytes.ts) when the frame is sparse, else their zstd form
 *
 * The frames are, in this order: head (1) and state (2), msgpack, see checkpoint_format.ts; page map (3), see
 * datastore/page_map.ts; active pages (4): u32 first page and u32 pages of each run.
 *
 * Version 1 had no sparse frames; it is read, too.
 *
 * Invariants: the file is exactly as long as its header says and its frames are; what does not fit its
 * checksum is never decoded; lengths are bounded before anything is reserved for them.
 */
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import { FormatError } from "../base/errors.ts";
import { decodeSparse, encodeSparse } from "../base/sparse_bytes.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { type PageMap, readPageMap, writePageMap } from "../datastore/page_map.ts";
import type { HostFile, HostFiles } from "../host/files.ts";
import type { PageCodec } from "../host/page_codec.ts";
import {
  type CheckpointHead,
  type CheckpointState,
  MEMORY_PAGES_MAXIMUM,
  packValue,
  readHead,
  readState,
} from "./checkpoint_format.ts";

/** Version of this format. */
export const CHECKPOINT_VERSION = 2;
/** The oldest version that is read. */
const OLDEST_VERSION = 1;
/** Bytes before the first frame. */
export const CHECKPOINT_HEADER_BYTES = 24;
/** Bytes before a frame's stored bytes. */
export const CHECKPOINT_FRAME_BYTES = 16;

const MAGIC = new TextEncoder().encode("CHRONCKP");
/** Of a frame's kind. */
const SPARSE = 1 << 16;
/**
 * A file may be this share of the bytes of its pages before it is worth to compress its frames: whoever goes on
 * need not load a library first.
 */
const LOOSE_SHARE = 1 / 64;

/** How much shorter than it is a frame is believed to become without its zeros: a machine's state does. */
const LOOSE_TIMES = 16;

const FRAMES = ["head", "state", "map", "active"] as const;
type FrameName = typeof FRAMES[number];
/** What errors call them. */
const FRAME_WORDS: Readonly<Record<FrameName, string>> = {
  head: "head",
  state: "state",
  map: "page map",
  active: "list of active pages",
};

const MiB = 1024 * 1024;
/** Most bytes of each frame before compression. */
const FRAME_MAXIMUM: Readonly<Record<FrameName, number>> = {
  head: 4 * MiB,
  state: 64 * MiB,
  map: 4 + 16 * MEMORY_PAGES_MAXIMUM,
  active: 8 * MEMORY_PAGES_MAXIMUM,
};
/** Most bytes of a file: an uncompressed frame of each kind is the worst there is. */
const FILE_MAXIMUM = Object.values(FRAME_MAXIMUM).reduce(
  (sum, bytes) => sum + CHECKPOINT_FRAME_BYTES + bytes,
  CHECKPOINT_HEADER_BYTES,
);

/** A checkpoint as values. */
export interface CheckpointContents {
  readonly head: CheckpointHead;
  readonly state: CheckpointState;
  readonly map: PageMap;
  /** Runs of active pages: first page and pages of each. */
  readonly active: Uint32Array;
}

/** The file of a checkpoint. */
export function writeCheckpoint(
  contents: CheckpointContents,
  codec: PageCodec,
): Uint8Array<ArrayBuffer> {
  const { head, state, map, active } = contents;
  const bytes = {
    head: packValue(head),
    state: packValue(state),
    map: writePageMap(map),
    active: new Uint8Array(active.slice().buffer),
  };
  let loose = looseBytes(map);
  const frames = FRAMES.map((name) => {
    const made = frame(name, bytes[name], codec, loose);
    loose -= made.length;
    return made;
  });
  return concatBytes([header(frames, codec), ...frames]) as Uint8Array<ArrayBuffer>;
}

/** The same file with another head. */
export function withHead(
  file: CheckpointFile,
  head: CheckpointHead,
  codec: PageCodec,
): Uint8Array<ArrayBuffer> {
  const first = frame("head", packValue(head), codec, looseBytes(file.map()));
  const frames = [first, ...file.framesAfterHead()];
  return concatBytes([header(frames, codec), ...frames]) as Uint8Array<ArrayBuffer>;
}

function header(frames: readonly Uint8Array[], codec: PageCodec): Uint8Array {
  const bytes = new Uint8Array(CHECKPOINT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, CHECKPOINT_VERSION, true);
  const length = frames.reduce((sum, part) => sum + part.length, CHECKPOINT_HEADER_BYTES);
  view.setUint32(12, length, true);
  view.setUint32(20, codec.crc32(bytes.subarray(0, 20)), true);
  return bytes;
}

/** Bytes that the frames of a map's checkpoint may have before they are compressed. */
function looseBytes({ counts, packs }: PageMap): number {
  let pages = 0;
  for (let i = 0; i < counts.length; i++) if (packs[i] !== 0) pages += counts[i]!;
  return pages * PAGE_BYTES * LOOSE_SHARE;
}

/** @param loose bytes from which on it is compressed */
function frame(
  name: FrameName,
  contents: Uint8Array,
  codec: PageCodec,
  loose: number,
): Uint8Array {
  assert(contents.length <= FRAME_MAXIMUM[name], `the ${name} of a checkpoint is not too long`);
  const { stored, isSparse } = formOf(contents, codec, loose);
  const bytes = new Uint8Array(CHECKPOINT_FRAME_BYTES + stored.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, FRAMES.indexOf(name) + 1 | (isSparse ? SPARSE : 0), true);
  view.setUint32(4, stored.length, true);
  view.setUint32(8, contents.length, true);
  bytes.set(stored, CHECKPOINT_FRAME_BYTES);
  view.setUint32(12, frameCrc(bytes, codec), true);
  return bytes;
}

/** How a frame is stored: as it is, without its zeros, or compressed. */
function formOf(
  contents: Uint8Array,
  codec: PageCodec,
  loose: number,
): { readonly stored: Uint8Array; readonly isSparse: boolean } {
  // What is so long will not be short without its zeros either.
  const sparse = contents.length <= loose * LOOSE_TIMES ? encodeSparse(contents) : contents;
  const isSparse = sparse.length < contents.length;
  const form = { stored: isSparse ? sparse : contents, isSparse };
  if (form.stored.length <= loose) return form;
  const packed = codec.pack(contents);
  return packed.length < form.stored.length ? { stored: packed, isSparse: false } : form;
}

function frameCrc(frame: Uint8Array, codec: PageCodec): number {
  return codec.crc32(frame.subarray(CHECKPOINT_FRAME_BYTES), codec.crc32(frame.subarray(0, 12)));
}

/** Length of the file by its header. Throws FormatError. */
function readHeader(bytes: Uint8Array, fileBytes: number, codec: PageCodec): void {
  if (bytes.length < CHECKPOINT_HEADER_BYTES) throw new FormatError("it is cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new FormatError("it is no checkpoint");
  const version = view.getUint32(8, true);
  if (version < OLDEST_VERSION || version > CHECKPOINT_VERSION) {
    throw new FormatError(
      `it has format version ${version}; this program reads ${OLDEST_VERSION} to ${CHECKPOINT_VERSION}`,
    );
  }
  if (codec.crc32(bytes.subarray(0, 20)) !== view.getUint32(20, true)) {
    throw new FormatError("the checksum of its header does not hold");
  }
  const length = view.getUint32(12, true);
  if (fileBytes < length) throw new FormatError(`it is cut short: ${fileBytes} of ${length} bytes`);
  if (fileBytes > length) throw new FormatError("it is longer than it says");
}

/** Bytes of the frame that begins these bytes. Throws FormatError. */
function readFrame(bytes: Uint8Array, name: FrameName, codec: PageCodec): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stored = frameLength(bytes, name);
  const length = view.getUint32(8, true);
  const whole = bytes.subarray(0, CHECKPOINT_FRAME_BYTES + stored);
  if (frameCrc(whole, codec) !== view.getUint32(12, true)) {
    throw new FormatError(`the checksum of its ${FRAME_WORDS[name]} does not hold`);
  }
  const body = whole.subarray(CHECKPOINT_FRAME_BYTES);
  if (stored === length) return body;
  if ((view.getUint32(0, true) & SPARSE) !== 0) return unpackSparse(body, length, name);
  let contents: Uint8Array | undefined;
  try {
    contents = codec.unpack(body, length);
  } catch {
    // Said below.
  }
  if (contents?.length !== length) {
    throw new FormatError(`its ${FRAME_WORDS[name]} does not unpack to ${length} bytes`);
  }
  return contents;
}

function unpackSparse(body: Uint8Array, length: number, name: FrameName): Uint8Array {
  try {
    return decodeSparse(body, length);
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(`its ${FRAME_WORDS[name]}: ${error.message}`, { cause: error });
  }
}

/** Stored bytes of the frame that begins these bytes, when that makes sense. */
function frameLength(bytes: Uint8Array, name: FrameName): number {
  const words = FRAME_WORDS[name];
  if (bytes.length < CHECKPOINT_FRAME_BYTES) throw new FormatError(`its ${words} is cut`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [kind, stored, length] = [0, 4, 8].map((at) => view.getUint32(at, true));
  const fits = (kind! & ~SPARSE) === FRAMES.indexOf(name) + 1 && length! <= FRAME_MAXIMUM[name] &&
    stored! <= length! && CHECKPOINT_FRAME_BYTES + stored! <= bytes.length;
  if (!fits) throw new FormatError(`its ${words} is cut, or its lengths make no sense`);
  return stored!;
}

/** A checkpoint's file in memory. Frames are decoded when they are asked for. */
export class CheckpointFile {
  /** What is known of it. */
  readonly head: CheckpointHead;
  readonly #frames: Readonly<Record<FrameName, Uint8Array>>;

  /** Checks frames and head. Throws FormatError. */
  constructor(bytes: Uint8Array, id: string, private readonly codec: PageCodec) {
    readHeader(bytes.subarray(0, CHECKPOINT_HEADER_BYTES), bytes.length, codec);
    let rest = bytes.subarray(CHECKPOINT_HEADER_BYTES);
    const frames: Partial<Record<FrameName, Uint8Array>> = {};
    for (const name of FRAMES) {
      const end = CHECKPOINT_FRAME_BYTES + frameLength(rest, name);
      frames[name] = rest.subarray(0, end);
      rest = rest.subarray(end);
    }
    if (rest.length > 0) throw new FormatError("there is more in it than it should have");
    this.#frames = frames as Record<FrameName, Uint8Array>;
    this.head = headOf(this.#read("head"), id);
  }

  /** The machine's state. Throws FormatError. */
  state(): CheckpointState {
    return readState(this.#read("state"));
  }

  /** The page map. Throws FormatError. */
  map(): PageMap {
    return readPageMap(this.#read("map"), this.head.memoryPages, this.head.packs.length);
  }

  /** Runs of active pages: first page and pages of each. Throws FormatError. */
  active(): Uint32Array {
    const bytes = this.#read("active");
    if (bytes.length % 8 !== 0) throw new FormatError("its list of active pages is cut");
    const runs = new Uint32Array(bytes.slice().buffer);
    const { memoryPages } = this.head;
    for (let i = 0, pages = 0; i < runs.length; i += 2) {
      pages += runs[i + 1]!;
      if (runs[i + 1] === 0 || runs[i]! + runs[i + 1]! > memoryPages || pages > memoryPages) {
        throw new FormatError("its list of active pages names pages outside memory");
      }
    }
    return runs;
  }

  /** The other frames as they are stored, their checksums checked. */
  framesAfterHead(): Uint8Array[] {
    return FRAMES.slice(1).map((name) => {
      this.#read(name);
      return this.#frames[name];
    });
  }

  #read(name: FrameName): Uint8Array {
    return readFrame(this.#frames[name], name, this.codec);
  }
}

function headOf(bytes: Uint8Array, id: string): CheckpointHead {
  const head = readHead(bytes);
  if (head.id !== id) throw new FormatError(`it is checkpoint ${head.id}, under this name`);
  if (head.parent === id) throw new FormatError("it is its own parent");
  return head;
}

/** Does something with an open file, and closes it. */
function withFile<T>(files: HostFiles, path: string, act: (file: HostFile) => T): T {
  const file = files.open(path);
  try {
    return act(file);
  } finally {
    file.close();
  }
}

function readPart(file: HostFile, bytes: number): Uint8Array {
  const part = new Uint8Array(Math.min(bytes, file.size));
  return part.subarray(0, file.read(0, part));
}

/** Reads a checkpoint's file. Throws FormatError and HostError. */
export function openCheckpointFile(
  files: HostFiles,
  path: string,
  id: string,
  codec: PageCodec,
): CheckpointFile {
  return withFile(files, path, (file) => {
    if (file.size > FILE_MAXIMUM) throw new FormatError("it is longer than a checkpoint can be");
    return new CheckpointFile(readPart(file, file.size), id, codec);
  });
}

/** Reads a checkpoint's head alone. Throws FormatError and HostError. */
export function openCheckpointHead(
  files: HostFiles,
  path: string,
  id: string,
  codec: PageCodec,
): CheckpointHead {
  return withFile(files, path, (file) => {
    const start = CHECKPOINT_HEADER_BYTES + CHECKPOINT_FRAME_BYTES;
    let bytes = readPart(file, start + 4096);
    readHeader(bytes.subarray(0, CHECKPOINT_HEADER_BYTES), file.size, codec);
    if (bytes.length < start) throw new FormatError("its head is cut");
    const view = new DataView(bytes.buffer);
    const stored = view.getUint32(CHECKPOINT_HEADER_BYTES + 4, true);
    if (stored > FRAME_MAXIMUM.head) throw new FormatError("its head's lengths make no sense");
    if (start + stored > bytes.length) bytes = readPart(file, start + stored);
    return headOf(readFrame(bytes.subarray(CHECKPOINT_HEADER_BYTES), "head", codec), id);
  });
}
