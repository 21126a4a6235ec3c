/** Claims about reading records: what an encoder made returns, and hostile clusters cost little. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { FormatError } from "../../../kernel/base/errors.ts";
import { hostCompression } from "../../../kernel/host/compression.ts";
import { LogEncoder } from "../../../kernel/replay/log_encoder.ts";
import { CLUSTER_BYTES_MAXIMUM, frame } from "../../../kernel/replay/log_format.ts";
import { LogReader } from "../../../kernel/replay/log_reader.ts";
import { CLUSTER_ITEMS_MAXIMUM } from "../../../kernel/replay/record_shape.ts";
import type { RawRecord } from "../../../kernel/replay/record_table.ts";
import { type LogEntry, makeFrame, makeSegment } from "../../_support/logs.ts";

const field = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 300 }),
  fc.uint8Array({ maxLength: 300 }),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), fc.nat(), { maxKeys: 20 }),
);
/** Records whose icounts never go back; their guest time may, when a guest resets itself. */
const entries: fc.Arbitrary<LogEntry[]> = fc.array(
  fc.record({
    kind: fc.nat(200),
    step: fc.oneof(fc.nat(3), fc.nat(2 ** 40)),
    ticks: fc.nat(2 ** 50),
    hart: fc.nat(7),
    fields: fc.array(field, { maxLength: 5 }),
  }),
  { minLength: 1, maxLength: 30 },
).map((list) => {
  let icount = 0;
  return list.map(({ kind, step, ticks, hart, fields }) => {
    icount += step;
    return { kind, stamp: { icount, ticks, hart }, fields };
  });
});

function read(segments: readonly Uint8Array[]): RawRecord[] {
  const cursor = new LogReader("events", segments, hostCompression.unpack).cursor();
  const records: RawRecord[] = [];
  for (let record = cursor.peek(); record !== undefined; record = cursor.peek()) {
    records.push(record);
    cursor.advance();
  }
  return records;
}

/** A frame whose cluster is these bytes, packed or as they are. */
function forged(bytes: Uint8Array, { packed = false, claim = bytes.length } = {}): Uint8Array {
  const stored = packed ? hostCompression.pack(bytes) : bytes;
  // Only the length of the cluster is told in the frame.
  return frame({ icount: 0, ticks: 0, bytes: { length: claim } as Uint8Array }, stored);
}

const refusal = (bytes: Uint8Array, how = {}) =>
  assertThrows(() => read([makeSegment("events", [forged(bytes, how)])]), FormatError).message;

Deno.test("records return, in whatever clusters and segments they were written", () => {
  fc.assert(fc.property(entries, fc.nat(4), fc.nat(2), fc.boolean(), (list, a, b, packed) => {
    const frames: Uint8Array[] = [];
    for (let at = 0; at < list.length; at += a + 1) {
      frames.push(makeFrame(list.slice(at, at + a + 1), packed));
    }
    const segments: Uint8Array[] = [];
    for (let at = 0; at < frames.length; at += b + 1) {
      segments.push(makeSegment("events", frames.slice(at, at + b + 1), segments.length));
    }
    assertEquals(read(segments), list);
  }));
});

Deno.test("an encoder counts from the first record of each cluster, and is empty when taken", () => {
  const encoder = new LogEncoder();
  assertEquals([encoder.take(), encoder.length], [undefined, 0]);
  for (const icount of [5, 9]) {
    encoder.add(1, { icount, ticks: 2 * icount, hart: 3 }, ["x".repeat(20_000)]);
    const cluster = encoder.take()!;
    assertEquals([cluster.icount, cluster.ticks], [icount, 2 * icount]);
    assertEquals([...cluster.bytes.subarray(0, 5)], [0x95, 1, 0, 0, 3]);
    assertEquals(encoder.length, 0);
  }
});

Deno.test("a cursor returns to any place that it was at", () => {
  const list = Array.from({ length: 30 }, (_, i) => ({
    kind: i,
    stamp: { icount: i, ticks: 0, hart: 0 },
    fields: [],
  }));
  const frames = [0, 5, 10, 15, 20, 25].map((at) => makeFrame(list.slice(at, at + 5)));
  const log = new LogReader("events", [makeSegment("events", frames)], hostCompression.unpack);
  const cursor = log.cursor();
  const places = list.map(() => {
    const { place } = cursor;
    cursor.peek();
    cursor.advance();
    return place;
  });
  fc.assert(fc.property(fc.nat(29), (i) => {
    cursor.goTo(places[i]!);
    assertEquals(cursor.peek()?.kind, i);
    cursor.advance();
    assertEquals(cursor.peek()?.kind, i === 29 ? undefined : i + 1);
  }));
});

Deno.test("what follows a damaged segment is not read", () => {
  const at = (icount: number) =>
    makeFrame([{ kind: 1, stamp: { icount, ticks: 0, hart: 0 }, fields: [] }], false);
  const first = makeSegment("events", [at(1), at(2)]);
  const segments = [first.subarray(0, first.length - 1), makeSegment("events", [at(3)], 1)];
  assertEquals(read(segments).map(({ stamp }) => stamp.icount), [1]);
  const { torn } = new LogReader("events", segments, hostCompression.unpack);
  assertEquals([torn?.segment, torn?.reason], [0, "a frame is cut"]);
});

Deno.test("clusters that are no records are refused", () => {
  const cases: [unknown, string][] = [
    [7, "a record is no list"],
    [{ a: 1 }, "a record is no list"],
    [[1, 0, 0], "a record is no list"],
    [["1", 0, 0, 0], "a record has no place"],
    [[1, 0.5, 0, 0], "a record has no place"],
    [[1, -1, 0, 0], "a record's place makes no sense"],
    [[1, 0, -1, 0], "a record's place makes no sense"],
    [[1, 0, 0, -1], "a record's place makes no sense"],
    [[1, Number.MAX_SAFE_INTEGER, 1, 0], "a record's place makes no sense"],
    [[1, 0, 0, 0, [[[1]]]], "a record is nested too deeply"],
    [[1, 0, 0, 0, new Date(0)], "a record has a value of a kind that records never have"],
  ];
  for (const [content, why] of cases) {
    assertEquals(refusal(encode(content)), `segment 0, frame at icount 0: ${why}`);
  }
  assert(refusal(Uint8Array.of(0xc1)).endsWith("a kind that records never have"));
  const whole = encode([1, 0, 0, 0, "text", new Uint8Array(300), { key: 70_000 }, 1.5]);
  for (let end = 1; end < whole.length; end++) {
    assertEquals([end, refusal(whole.slice(0, end)).endsWith("a record is cut")], [end, true]);
  }
});

Deno.test("heads that claim much and hold nothing are refused before anything is made", () => {
  const heads = [[0xdc, 0x10, 0], [0xdd, 0x7f, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff]];
  for (const head of heads) {
    const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => head[i % head.length]!);
    // Something else may have the processor for any one of them.
    const took = Array.from({ length: 20 }, () => {
      const started = performance.now();
      refusal(bytes, { packed: true });
      return performance.now() - started;
    });
    assert(Math.min(...took) < 1000, `${head}`);
  }
  const many = new Uint8Array(CLUSTER_ITEMS_MAXIMUM + 1);
  assert(refusal(many, { packed: true }).endsWith("a cluster has too many values"));
});

Deno.test("a frame holds as much as it claims, and is not unpacked beyond that", () => {
  const small = encode([1, 0, 0, 0]);
  const claims = refusal(small, { packed: true, claim: CLUSTER_BYTES_MAXIMUM });
  assertEquals(claims, "segment 0, offset 52: a frame has another length");
  assert(refusal(small, { claim: 400 }).endsWith("a frame cannot be unpacked"));
  const bomb = new Uint8Array(64 * 1024 * 1024);
  assert(refusal(bomb, { packed: true, claim: 1_000_000 }).endsWith("a frame cannot be unpacked"));
  const limits: number[] = [];
  const unpack = (_stored: Uint8Array, bytes: number) => {
    limits.push(bytes);
    return new Uint8Array(0);
  };
  const log = new LogReader(
    "events",
    [makeSegment("events", [forged(small, { claim: 9 })])],
    unpack,
  );
  assertThrows(() => log.records(0), FormatError, "another length");
  assertEquals(limits, [9]);
});
