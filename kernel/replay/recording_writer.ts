/**
 * Writes a recording's folder, in the kernel world (issue 4, "Record"; design.md, "Records").
 *
 *     manifest.json          what the recording is of (manifest.ts)
 *     events-000000.log      the event log, in segments (log_format.ts); outputs-…: the output ledger
 *     images/HASH            copies of small images, or of all if asked for
 *     disk0.before           what a writable disk held before the guest wrote to it
 *     state-000000.log       the state that it began from, unless that was power-on (start_state.ts)
 *
 * Invariants: segments are only appended to; with `every`, a cluster is on stable storage before the
 * outputs that follow it leave; the first failure is kept and ends the recording, not the VM.
 */
import { assert } from "../base/assert.ts";
import type { Host } from "../host/host.ts";
import type { HostFile } from "../host/files.ts";
import {
  type Cluster,
  frame,
  type LogStream,
  SEGMENT_HEADER_BYTES,
  segmentHeader,
} from "./log_format.ts";
import type { RecordingManifest } from "./manifest.ts";
import { formatRecordingManifest } from "./manifest_text.ts";

/** When what was recorded must be on stable storage. */
export type RecordSync = "none" | "periodic" | "every";
/** Milliseconds between two flushes of `periodic`. */
export const SYNC_MILLISECONDS = 100;

/** A segment is ended when it is longer. */
const SEGMENT_BYTES = 64 * 1024 * 1024;
/** Clusters below this are not worth packing. */
const LEAST_PACKED = 64;

/** Name of a segment's file. */
export function segmentName(stream: LogStream, number: number): string {
  return `${stream}-${String(number).padStart(6, "0")}.log`;
}

class StreamWriter {
  #file: HostFile;
  #end = SEGMENT_HEADER_BYTES;
  #number = 0;
  #dirty = true;
  /** A flush beside other work. */
  #flushing: Promise<void> | undefined;
  /** Ends when earlier segments are flushed, if they are to be, and closed. */
  #retiring = Promise.resolve();

  constructor(
    private readonly host: Host,
    private readonly folder: string,
    private readonly stream: LogStream,
    private readonly syncs: boolean,
    private readonly failed: (error: Error) => void,
  ) {
    this.#file = this.#open();
  }

  append(cluster: Cluster): number {
    if (this.#end > SEGMENT_BYTES) this.#nextSegment();
    const { bytes } = cluster;
    const packed = bytes.length < LEAST_PACKED ? bytes : this.host.compression.pack(bytes);
    const whole = frame(cluster, packed.length < bytes.length ? packed : bytes);
    this.#file.write(this.#end, whole);
    this.#end += whole.length;
    this.#dirty = true;
    return whole.length;
  }

  flush(): void {
    if (this.#dirty) this.#file.flushNow();
    this.#dirty = false;
  }

  /** The same beside other work: disks of the VM are served by this thread. */
  flushSoon(): void {
    if (!this.#dirty || this.#flushing !== undefined) return;
    this.#dirty = false;
    this.#flushing = this.#file.flush().catch(this.failed).then(() => {
      this.#flushing = undefined;
    });
  }

  async close(): Promise<void> {
    await this.#flushing;
    await this.#retiring;
    this.#file.close();
  }

  #nextSegment(): void {
    const file = this.#file;
    const mustFlush = this.syncs && this.#dirty;
    this.#retiring = Promise.all([this.#flushing, this.#retiring])
      .then(() => mustFlush ? file.flush() : undefined)
      .catch(this.failed)
      .then(() => file.close());
    this.#number++;
    this.#file = this.#open();
  }

  #open(): HostFile {
    const name = segmentName(this.stream, this.#number);
    const file = this.host.files.create(`${this.folder}/${name}`);
    file.write(0, segmentHeader(this.stream, this.#number));
    this.#end = SEGMENT_HEADER_BYTES;
    return file;
  }
}

/** Writes one recording. */
export class RecordingWriter {
  /** Bytes of both logs so far. */
  logBytes = 0;
  readonly #streams: Readonly<Partial<Record<LogStream, StreamWriter>>>;
  #failure: Error | undefined;
  #flushed = 0;
  #closed = false;

  /**
   * Makes the folder's logs and its first manifest. The folder exists and is empty. Throws HostError.
   *
   * @param failed is told of the first failure to write
   */
  constructor(
    private readonly host: Host,
    readonly folder: string,
    manifest: RecordingManifest,
    private readonly sync: RecordSync,
    private readonly failed: (error: Error) => void,
  ) {
    this.setManifest(manifest);
    const stream = (name: LogStream) =>
      new StreamWriter(host, folder, name, sync !== "none", (error) => this.#fail(error));
    this.#streams = {
      events: stream("events"),
      outputs: stream("outputs"),
      ...manifest.start === "state" && { state: stream("state") },
    };
    this.#flushed = host.clock.monotonicMilliseconds();
  }

  /** Replaces the manifest: digests of images are known later than the recording begins. */
  setManifest(manifest: RecordingManifest): void {
    const text = new TextEncoder().encode(formatRecordingManifest(manifest));
    this.host.files.replace(`${this.folder}/manifest.json`, text);
  }

  /** Appends a cluster, and flushes as was asked for. */
  append(stream: LogStream, cluster: Cluster): void {
    this.#attempt(() => {
      const writer = this.#streams[stream];
      assert(writer !== undefined, `this recording has no log of ${stream}`);
      this.logBytes += writer.append(cluster);
      if (this.sync === "every") writer.flush();
      const now = this.host.clock.monotonicMilliseconds();
      if (this.sync !== "periodic" || now - this.#flushed < SYNC_MILLISECONDS) return;
      this.#flushed = now;
      for (const each of Object.values(this.#streams)) each.flushSoon();
    });
  }

  /** Writes all to stable storage (unless that was never asked for) and closes the files. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#attempt(() => {
      if (this.sync !== "none") this.#flush();
    });
    for (const stream of Object.values(this.#streams)) await stream.close();
  }

  #flush(): void {
    for (const stream of Object.values(this.#streams)) stream.flush();
  }

  #attempt(action: () => void): void {
    if (this.#failure !== undefined) return;
    try {
      action();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.failed(error);
  }
}
