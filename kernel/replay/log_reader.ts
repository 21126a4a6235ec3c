/**
 * Reads a log from bytes: an index of its frames, and cursors that go through its records. Knows no
 * files and no runtime, so it also reads in a browser.
 *
 * Invariants: no byte behind a damaged frame is read; what a cluster claims is looked over before anything
 * is made of it, so memory is in proportion to what a cluster really holds; a cursor's place is two numbers, so that going
 * back in time is going back in the log.
 */
import { decodeMulti } from "@msgpack/msgpack";
import { FormatError } from "../base/errors.ts";
import { type FrameEntry, type LogStream, readSegment, type TornTail } from "./log_format.ts";
import { checkRecordShape } from "./record_shape.ts";
import type { RawRecord } from "./record_table.ts";

/** Unpacks the zstd form of so many bytes. Throws when it is none of that many. */
export type Decompress = (stored: Uint8Array, bytes: number) => Uint8Array;

/** A cursor's place: frame and record in it. */
export interface LogPlace {
  readonly frame: number;
  readonly record: number;
}

/** Most elements of an array or bytes of a field that a record may have. */
const FIELD_LIMITS = {
  maxStrLength: 4096,
  maxArrayLength: 4096,
  maxMapLength: 4096,
  maxBinLength: 64 * 1024 * 1024,
  maxExtLength: 16,
};

/** A log. */
export class LogReader {
  readonly frames: readonly FrameEntry[];
  /** Where it was cut, if it was. */
  readonly torn: TornTail | undefined;
  readonly #cache: { frame: number; records: readonly RawRecord[] }[] = [];

  /**
   * Reads the index, up to where the log is cut or damaged: what follows, in later segments too, would be
   * out of place. Throws FormatError when a segment is none.
   */
  constructor(
    stream: LogStream,
    private readonly segments: readonly Uint8Array[],
    private readonly decompress: Decompress,
  ) {
    const frames: FrameEntry[] = [];
    let torn: TornTail | undefined;
    for (const [number, bytes] of segments.entries()) {
      const contents = readSegment(bytes, stream, number);
      frames.push(...contents.frames);
      torn = contents.torn;
      if (torn !== undefined) break;
    }
    this.frames = frames;
    this.torn = torn;
  }

  /** A cursor at the first record. */
  cursor(): LogCursor {
    return new LogCursor(this);
  }

  /** Bytes of all clusters, unpacked. */
  get bytes(): number {
    return this.frames.reduce((sum, { clusterBytes }) => sum + clusterBytes, 0);
  }

  /** Records of a frame. Throws FormatError when its contents are none. */
  records(frame: number): readonly RawRecord[] {
    const cached = this.#cache.find((entry) => entry.frame === frame);
    if (cached !== undefined) return cached.records;
    const records = decodeCluster(this.frames[frame]!, this.cluster(frame));
    this.#cache.unshift({ frame, records });
    if (this.#cache.length > 4) this.#cache.pop();
    return records;
  }

  /** Bytes of a frame's cluster. Throws FormatError when they cannot be unpacked. */
  cluster(frame: number): Uint8Array {
    const { segment, offset, storedBytes, clusterBytes } = this.frames[frame]!;
    const stored = this.segments[segment]!.slice(offset, offset + storedBytes);
    if (storedBytes === clusterBytes) return stored;
    let bytes: Uint8Array;
    try {
      bytes = this.decompress(stored, clusterBytes);
    } catch (cause) {
      throw new FormatError(`segment ${segment}, offset ${offset}: a frame cannot be unpacked`, {
        cause,
      });
    }
    if (bytes.length === clusterBytes) return bytes;
    throw new FormatError(`segment ${segment}, offset ${offset}: a frame has another length`);
  }
}

function decodeCluster(entry: FrameEntry, bytes: Uint8Array): RawRecord[] {
  const records: RawRecord[] = [];
  let { icount, ticks } = entry;
  const wrong = (why: string) =>
    new FormatError(`segment ${entry.segment}, frame at icount ${entry.icount}: ${why}`);
  try {
    checkRecordShape(bytes);
    for (const item of decodeMulti(bytes, FIELD_LIMITS)) {
      if (!Array.isArray(item) || item.length < 4) throw new FormatError("a record is no list");
      const [kind, executed, passed, hart, ...fields] = item;
      if (![kind, executed, passed, hart].every(Number.isSafeInteger)) {
        throw new FormatError("a record has no place");
      }
      icount += executed;
      ticks += passed;
      if (executed < 0 || hart < 0 || ticks < 0 || !Number.isSafeInteger(icount + ticks)) {
        throw new FormatError("a record's place makes no sense");
      }
      records.push({ kind, stamp: { icount, ticks, hart }, fields });
    }
  } catch (cause) {
    if (cause instanceof FormatError) throw wrong(cause.message);
    throw wrong(`it is no msgpack: ${cause instanceof Error ? cause.message : cause}`);
  }
  return records;
}

/** Goes through a log's records. */
export class LogCursor {
  #frame = 0;
  #record = 0;

  constructor(private readonly log: LogReader) {}

  /** The record at this place; undefined at the end. */
  peek(): RawRecord | undefined {
    while (this.#frame < this.log.frames.length) {
      const records = this.log.records(this.#frame);
      if (this.#record < records.length) return records[this.#record];
      this.#frame++;
      this.#record = 0;
    }
    return undefined;
  }

  /** Goes on to the next record. */
  advance(): void {
    this.#record++;
  }

  /** Where it is. */
  get place(): LogPlace {
    return { frame: this.#frame, record: this.#record };
  }

  /** Goes to a place it was at. */
  goTo({ frame, record }: LogPlace): void {
    this.#frame = frame;
    this.#record = record;
  }
}
