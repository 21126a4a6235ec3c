/**
 * Fuzz targets for what a recording is read from: segments, frames, clusters and records of its logs,
 * its manifest, and the file of what a disk held before. A recording may come from anybody.
 */
import { decode, encode } from "@msgpack/msgpack";
import { assert } from "../../kernel/base/assert.ts";
import { concatBytes, equalBytes } from "../../kernel/base/bytes.ts";
import { crc32 } from "../../kernel/base/checksum.ts";
import { FormatError } from "../../kernel/base/errors.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { hostCompression } from "../../kernel/host/compression.ts";
import { SECTOR_BYTES } from "../../kernel/limits.ts";
import { NONDET_ENTRY_BYTES } from "../../kernel/memory/nondet_buffer.ts";
import { readEpoch } from "../../kernel/replay/epochs.ts";
import {
  frame,
  FRAME_HEADER_BYTES,
  type LogStream,
  SEGMENT_HEADER_BYTES,
} from "../../kernel/replay/log_format.ts";
import { LogReader } from "../../kernel/replay/log_reader.ts";
import { formatRecordingManifest, parseRecordingManifest } from "../../kernel/replay/manifest.ts";
import { CLUSTER_ITEMS_MAXIMUM } from "../../kernel/replay/record_shape.ts";
import { NondetSource } from "../../kernel/replay/nondet_source.ts";
import {
  EVENT_RECORD,
  OUTPUT_RECORD,
  type RawRecord,
  readEventRecord,
  readOutputRecord,
} from "../../kernel/replay/record_table.ts";
import { restoreState, stateClusters } from "../../kernel/replay/start_state.ts";
import { EarlierDisk, KeepingDisk } from "../../kernel/storage/before_image.ts";
import { type LogEntry, makeFrame, makeManifest, makeSegment } from "../_support/logs.ts";
import { testMachine } from "../_support/machine.ts";
import { TornDisk, TornFile } from "../_support/torn_storage.ts";
import type { FuzzTarget } from "./engine.ts";
import { damaged, edge32, edge64, orRefused } from "./support.ts";

/** A file that cannot be written ends what is tested. */
const raise = (error: Error) => {
  throw error;
};

const STREAMS: readonly LogStream[] = ["events", "outputs"];
const KINDS = [...Object.values(EVENT_RECORD), ...Object.values(OUTPUT_RECORD)];

/** A field: often of the right sort, on an edge, or of no sort at all. */
function drawField(random: Prng): unknown {
  switch (random.below(8)) {
    case 0:
      return random.pick(["uart0", "net0", "disk0", "", "power-off", "reset", "12", "\0"]);
    case 1:
      return random.bytes(random.pick([0, 1, 16, 48, random.below(600)]));
    case 2:
      return edge32(random);
    case 3:
      return Number(BigInt.asIntN(64, edge64(random)));
    case 4:
      return random.pick([null, true, 0.5, NaN, -0, "x".repeat(300)]);
    case 5:
      return { uart0: edge32(random), plic: random.below(9) };
    default:
      return random.below(256);
  }
}

function drawEntries(random: Prng): LogEntry[] {
  let icount = random.below(1000);
  return Array.from({ length: 1 + random.below(8) }, () => {
    icount += random.pick([0, 1, edge32(random)]);
    return {
      kind: random.pick(KINDS),
      stamp: { icount, ticks: edge32(random), hart: random.below(8) },
      fields: Array.from({ length: random.below(6) }, () => drawField(random)),
    };
  });
}

/** Goes through a log as a replay does; gives the records that were read before one was refused. */
function readAll(stream: LogStream, segments: readonly Uint8Array[]): RawRecord[] {
  const records: RawRecord[] = [];
  const log = orRefused(() => new LogReader(stream, segments, hostCompression.unpack), FormatError);
  const cursor = log?.cursor();
  for (;;) {
    const record = orRefused(() => cursor?.peek(), FormatError);
    if (record === undefined) break;
    cursor!.advance();
    records.push(record);
    const read = stream === "events" ? readEventRecord : readOutputRecord;
    const typed = orRefused(() => read(record), FormatError);
    if (typed?.type === "epoch") {
      orRefused(() => readEpoch(record.stamp.icount, typed.fields), FormatError);
    }
  }
  const source = log && new NondetSource(log);
  const buffer = new Uint8Array(NONDET_ENTRY_BYTES * 4);
  for (let filled: number | undefined = 1; filled !== undefined && filled > 0;) {
    filled = orRefused(() => source?.refill(buffer), FormatError);
    assert(Number.isInteger(filled ?? 0), "entries are whole");
  }
  const size = segments.reduce((sum, { length }) => sum + length, 0);
  if (log?.torn) assert(log.torn.offset + log.torn.bytes <= size, "a torn tail lies in its log");
  return records;
}

const same = (a: readonly RawRecord[], b: readonly LogEntry[]) =>
  a.length === b.length &&
  a.every(({ kind, stamp }, i) =>
    kind === b[i]!.kind && stamp.icount === b[i]!.stamp.icount && stamp.ticks === b[i]!.stamp.ticks
  );

/** A segment whose bytes were damaged anywhere: what is read is a part of what was written. */
const segments: FuzzTarget = {
  name: "log-segment",
  step(random) {
    const stream = random.pick(STREAMS);
    const lists = Array.from({ length: 1 + random.below(3) }, () => drawEntries(random));
    const frames = lists.map((list) => makeFrame(list, random.below(2) === 0));
    const good = makeSegment(stream, frames);
    const all = lists.flat();
    const bad = damaged(random, good);
    const count = readAll(stream, [good]).length;
    assert(count === all.length, "what was written is read");
    const records = readAll(stream, [bad]);
    assert(same(records, all.slice(0, records.length)), "damage adds and changes nothing");
    readAll(stream, [random.bytes(random.below(200))]);
  },
};

/** The same bytes with the checksums of segment and first frame made good: a forger knows CRC-32. */
function resealed(segment: Uint8Array): Uint8Array {
  const bytes = segment.slice();
  if (bytes.length < SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES) return bytes;
  const view = new DataView(bytes.buffer);
  view.setUint32(20, crc32(bytes.subarray(0, 20)), true);
  const stored = view.getUint32(SEGMENT_HEADER_BYTES, true);
  const end = Math.min(bytes.length, SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + stored);
  view.setUint32(
    SEGMENT_HEADER_BYTES + 4,
    crc32(bytes.subarray(SEGMENT_HEADER_BYTES + 8, end)),
    true,
  );
  return bytes;
}

/** Frames with good checksums around damaged contents. */
const frames: FuzzTarget = {
  name: "log-frame",
  step(random) {
    const stream = random.pick(STREAMS);
    const good = makeSegment(stream, [makeFrame(drawEntries(random), random.below(2) === 0)]);
    readAll(stream, [resealed(damaged(random, good))]);
  },
};

/** Heads of msgpack that claim more than there is. */
const HEADS: readonly (readonly number[])[] = [
  [0x9f],
  [0x8f],
  [0xdc, 0xff, 0xff],
  [0xdc, 0x0f, 0xff],
  [0xdd, 0xff, 0xff, 0xff, 0xff],
  [0xdf, 0xff, 0xff, 0xff, 0xff],
  [0xc6, 0xff, 0xff, 0xff, 0xff],
  [0xdb, 0x00, 0x00, 0xff, 0xff],
  [0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
];

function drawCluster(random: Prng): Uint8Array {
  const record = () => encode([random.pick(KINDS), 0, 0, 0, drawField(random)]);
  switch (random.below(4)) {
    case 0:
      return random.bytes(random.below(400));
    case 1: {
      const head = random.pick(HEADS);
      const length = random.pick([10, 1000, 50_000, 400_000]);
      return Uint8Array.from({ length }, (_, i) => head[i % head.length]!);
    }
    case 2:
      return concatBytes([record(), Uint8Array.from(random.pick(HEADS)), record()]);
    default:
      return damaged(random, concatBytes([record(), record(), record()]));
  }
}

/** Clusters that no encoder made, in whole frames, packed, with true or false lengths. */
const clusters: FuzzTarget = {
  name: "log-cluster",
  step(random) {
    const stream = random.pick(STREAMS);
    const bytes = drawCluster(random);
    const packed = random.below(2) === 0 ? hostCompression.pack(bytes) : bytes;
    const claim = random.below(4) === 0 ? edge32(random) : bytes.length;
    const place = { icount: random.below(1000), ticks: random.below(1000) };
    const whole = frame({ ...place, bytes: { length: claim } as Uint8Array }, packed);
    const records = readAll(stream, [makeSegment(stream, [whole])]);
    assert(records.length <= bytes.length / 5, "a record is five bytes at least");
    assert(records.length <= CLUSTER_ITEMS_MAXIMUM, "a cluster's records are bounded");
  },
};

const records: FuzzTarget = {
  name: "log-record",
  step(random) {
    const [raw] = drawEntries(random);
    const event = orRefused(() => readEventRecord(raw!), FormatError);
    const output = orRefused(() => readOutputRecord(raw!), FormatError);
    assert(event === undefined || output === undefined, "a record is of one log");
    if (event?.type === "event" && event.event.kind === "console") {
      assert(event.taken <= event.event.bytes.length, "no more is taken than there is");
    }
  },
};

/** A value in place of another one somewhere in a manifest. */
function mutated(random: Prng, value: unknown): unknown {
  const other = () =>
    random.pick<unknown>([null, -1, 0.5, 1e300, "", "x", [], {}, true, edge32(random), [[]]]);
  if (typeof value !== "object" || value === null || random.below(6) === 0) return other();
  if (Array.isArray(value)) {
    const at = random.below(value.length + 1);
    return value.toSpliced(at, random.below(2), mutated(random, value[at]));
  }
  const names = Object.keys(value);
  const name = random.pick([...names, "extra", "__proto__"]);
  const { [name]: old, ...rest } = value as Record<string, unknown>;
  return random.below(4) === 0 ? rest : { ...rest, [name]: mutated(random, old) };
}

const manifests: FuzzTarget = {
  name: "manifest",
  step(random) {
    const sha256 = "0123456789abcdef".repeat(4);
    const good = makeManifest({
      images: [{ role: "kernel", path: "Image", bytes: 1, sha256, kept: "images/0a" }],
    });
    let text = JSON.stringify(mutated(random, good));
    if (random.below(3) === 0) {
      text = new TextDecoder().decode(damaged(random, new TextEncoder().encode(text)));
    }
    const manifest = orRefused(() => parseRecordingManifest(text, "it"), FormatError);
    if (manifest === undefined) return;
    const again = parseRecordingManifest(formatRecordingManifest(manifest), "it");
    assert(JSON.stringify(again) === JSON.stringify(manifest), "a manifest returns");
    assert(BigInt(manifest.machine.wallStart) >= 0n, "a wall clock is a number");
    for (const { kept } of manifest.images) {
      assert(kept === undefined || !kept.includes(".."), "a copy lies in its recording");
    }
  },
};

/** A machine that is put into states, and what they are made of. Made when the first step wants it. */
const startMachine = lazily(() => {
  const machine = testMachine({
    kernel: { kind: "raw", bytes: new Uint8Array(64) },
    memoryBytes: 1 << 20,
    disks: [{ sectors: 64, readOnly: false }],
  });
  machine.core.bytes.fill(5, machine.core.plan.ram, machine.core.plan.ram + 5000);
  return { machine, clusters: [...stateClusters(machine)] };
});

function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** The state that a recording of a running VM begins from, damaged under good checksums. */
const starts: FuzzTarget = {
  name: "start-state",
  step(random) {
    const { machine, clusters } = startMachine();
    const which = random.below(clusters.length);
    const changed = clusters.map((cluster, i) => {
      if (i !== which) return cluster;
      const bytes = i === 0 && random.below(2) === 0
        ? encode(mutated(random, decode(cluster.bytes)))
        : damaged(random, cluster.bytes);
      return { ...cluster, bytes };
    });
    const segment = makeSegment("state", changed.map((cluster) => frame(cluster, cluster.bytes)));
    const log = new LogReader("state", [segment], hostCompression.unpack);
    orRefused(() => restoreState(machine, log), FormatError);
    const good = makeSegment("state", clusters.map((cluster) => frame(cluster, cluster.bytes)));
    restoreState(machine, new LogReader("state", [good], hostCompression.unpack));
  },
};

const beforeImages: FuzzTarget = {
  name: "before-image",
  async step(random) {
    const sectors = 1 + random.below(20);
    const disk = new TornDisk(undefined, random.bytes(sectors * SECTOR_BYTES));
    const file = new TornFile(undefined);
    const keeping = new KeepingDisk(disk, file, raise);
    const original = disk.bytes.slice();
    for (let i = random.below(4); i > 0; i--) {
      const first = random.below(sectors);
      const bytes = random.bytes((1 + random.below(sectors - first)) * SECTOR_BYTES);
      await keeping.write(first, bytes);
    }
    const read = async (bytes: Uint8Array) => {
      const found = new EarlierDisk(disk, new TornFile(undefined, bytes));
      const all = new Uint8Array(sectors * SECTOR_BYTES);
      await found.read(0, all);
      return all;
    };
    const first = await read(file.bytes);
    assert(equalBytes(first, original), "the earlier disk returns");
    for (const bytes of [damaged(random, file.bytes), random.bytes(random.below(5000))]) {
      const found = await read(bytes).catch((error) => {
        if (!(error instanceof FormatError)) throw error;
      });
      if (found === undefined) continue;
      // What was kept may be lost with a damaged entry, never be something else.
      for (let at = 0; at < found.length; at += SECTOR_BYTES) {
        const sector = (from: Uint8Array) => from.subarray(at, at + SECTOR_BYTES);
        const is = (from: Uint8Array) => equalBytes(sector(found), sector(from));
        assert(is(original) || is(disk.bytes), "a sector is what it was, or is");
      }
    }
  },
};

/** The targets of this file. */
export const RECORDING_TARGETS: readonly FuzzTarget[] = [
  segments,
  frames,
  clusters,
  records,
  manifests,
  starts,
  beforeImages,
];
