/**
 * How a log lies in bytes: segments of frames, each frame one cluster of records (design.md, "Records";
 * X5). All integers are little-endian.
 *
 *     segment   "CHRONLOG" | u32 version | u32 stream | u32 number | u32 CRC-32 of the 20 bytes before
 *     frame     u32 stored bytes | u32 CRC-32 of all behind it | u32 bytes of the cluster
 *               f64 icount, f64 ticks at the cluster's start | stored bytes
 *
 * The stored bytes are the cluster itself when both lengths are the same, else its zstd form.
 *
 * Invariants: a frame is only read when its checksum holds; frames are only ever appended; a tail that
 * is no whole frame is cut off and reported, never misread.
 */
import { crc32 } from "../base/checksum.ts";
import { FormatError } from "../base/errors.ts";

/** Version of this format. */
export const LOG_VERSION = 1;
/** The logs of a recording; `state` is what it begins from, where that is not power-on. */
export const LOG_STREAM = { events: 1, outputs: 2, state: 3 } as const;
/** Name of one of them. */
export type LogStream = keyof typeof LOG_STREAM;

/** Bytes before the first frame of a segment. */
export const SEGMENT_HEADER_BYTES = 24;
/** Bytes before a frame's stored bytes. */
export const FRAME_HEADER_BYTES = 28;
/** Most bytes of a cluster; a frame that claims more is damaged. */
export const CLUSTER_BYTES_MAXIMUM = 64 * 1024 * 1024;

const MAGIC = new TextEncoder().encode("CHRONLOG");

/** A cluster of records as it is made, before it is compressed. */
export interface Cluster {
  /** icount that its first record counts from. */
  readonly icount: number;
  /** Guest time that its first record counts from. */
  readonly ticks: number;
  /** Its records, one msgpack array after another. */
  readonly bytes: Uint8Array;
}

/** Where a frame lies and what it claims. */
export interface FrameEntry {
  /** Number of the segment. */
  readonly segment: number;
  /** Offset of its stored bytes in the segment. */
  readonly offset: number;
  readonly storedBytes: number;
  readonly clusterBytes: number;
  readonly icount: number;
  readonly ticks: number;
}

/** Where and why a log was cut. */
export interface TornTail {
  /** Number of the segment. */
  readonly segment: number;
  /** Offset in it of the first byte that is not used. */
  readonly offset: number;
  /** Bytes that are not used. */
  readonly bytes: number;
  /** Why, in words. */
  readonly reason: string;
}

/** The head of a segment. */
export function segmentHeader(stream: LogStream, number: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, LOG_VERSION, true);
  view.setUint32(12, LOG_STREAM[stream], true);
  view.setUint32(16, number, true);
  view.setUint32(20, crc32(bytes.subarray(0, 20)), true);
  return bytes;
}

/** A frame, whole. `stored` is the cluster itself or its compressed form. */
export function frame(cluster: Cluster, stored: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + stored.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, stored.length, true);
  view.setUint32(8, cluster.bytes.length, true);
  view.setFloat64(12, cluster.icount, true);
  view.setFloat64(20, cluster.ticks, true);
  bytes.set(stored, FRAME_HEADER_BYTES);
  view.setUint32(4, crc32(bytes.subarray(8)), true);
  return bytes;
}

/** Frames of a segment, and where it stops making sense. */
export interface SegmentContents {
  readonly frames: FrameEntry[];
  readonly torn: TornTail | undefined;
}

/**
 * Reads a segment's frames, up to the first that is not whole. Throws FormatError when it is no segment
 * of this stream and number, or of another version.
 */
export function readSegment(
  bytes: Uint8Array,
  stream: LogStream,
  segment: number,
): SegmentContents {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const frames: FrameEntry[] = [];
  const torn = (offset: number, reason: string): SegmentContents => ({
    frames,
    torn: { segment, offset, bytes: bytes.length - offset, reason },
  });
  if (bytes.length < SEGMENT_HEADER_BYTES) return torn(0, "the segment's head is cut");
  checkHeader(bytes, view, stream, segment);
  let at = SEGMENT_HEADER_BYTES;
  while (at < bytes.length) {
    if (at + FRAME_HEADER_BYTES > bytes.length) return torn(at, "a frame's head is cut");
    const storedBytes = view.getUint32(at, true);
    const clusterBytes = view.getUint32(at + 8, true);
    const end = at + FRAME_HEADER_BYTES + storedBytes;
    if (storedBytes > clusterBytes || clusterBytes > CLUSTER_BYTES_MAXIMUM) {
      return torn(at, "a frame's lengths make no sense");
    }
    if (end > bytes.length) return torn(at, "a frame is cut");
    if (crc32(bytes.subarray(at + 8, end)) !== view.getUint32(at + 4, true)) {
      return torn(at, "a frame's checksum does not hold");
    }
    const [icount, ticks] = [view.getFloat64(at + 12, true), view.getFloat64(at + 20, true)];
    if (![icount, ticks].every((n) => Number.isSafeInteger(n) && n >= 0)) {
      return torn(at, "a frame's start makes no sense");
    }
    const offset = at + FRAME_HEADER_BYTES;
    frames.push({ segment, offset, storedBytes, clusterBytes, icount, ticks });
    at = end;
  }
  return { frames, torn: undefined };
}

function checkHeader(
  bytes: Uint8Array,
  view: DataView,
  stream: LogStream,
  segment: number,
): void {
  const what = `segment ${segment} of the log of ${stream}`;
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new FormatError(`${what} is no log`);
  const version = view.getUint32(8, true);
  if (version !== LOG_VERSION) {
    throw new FormatError(`${what} has version ${version}; this program reads ${LOG_VERSION}`);
  }
  if (crc32(bytes.subarray(0, 20)) !== view.getUint32(20, true)) {
    throw new FormatError(`${what}: the checksum of its head does not hold`);
  }
  if (view.getUint32(12, true) !== LOG_STREAM[stream] || view.getUint32(16, true) !== segment) {
    throw new FormatError(`${what} is another segment, under this name`);
  }
}
