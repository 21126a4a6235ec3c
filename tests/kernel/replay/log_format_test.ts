/** Claims about the bytes of a log: what was appended is read, and nothing behind damage is. */
import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { crc32 } from "../../../kernel/base/checksum.ts";
import { FormatError } from "../../../kernel/base/errors.ts";
import {
  type Cluster,
  CLUSTER_BYTES_MAXIMUM,
  frame,
  FRAME_HEADER_BYTES,
  readSegment,
  SEGMENT_HEADER_BYTES,
  segmentHeader,
} from "../../../kernel/replay/log_format.ts";
import { makeSegment } from "../../_support/logs.ts";

const place = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const bytes = fc.uint8Array({ minLength: 1, maxLength: 60 });
const clusters: fc.Arbitrary<Cluster[]> = fc.array(
  fc.record({ icount: place, ticks: place, bytes }),
  { minLength: 1, maxLength: 5 },
);

const frameOf = (cluster: Cluster) => frame(cluster, cluster.bytes);
const THREE = [1, 2, 3].map((n) =>
  frameOf({ icount: n, ticks: 10 * n, bytes: new Uint8Array(4 + n).fill(n) })
);

/** A segment with its header's checksum made good again. */
function withHeader(change: (view: DataView) => void): Uint8Array {
  const segment = makeSegment("events", THREE);
  const view = new DataView(segment.buffer);
  change(view);
  view.setUint32(20, crc32(segment.subarray(0, 20)), true);
  return segment;
}

Deno.test("frames that were appended are read, with what they say", () => {
  fc.assert(fc.property(clusters, fc.nat(0xffff_ffff), (made, number) => {
    const segment = makeSegment("outputs", made.map(frameOf), number);
    const { frames, torn } = readSegment(segment, "outputs", number);
    assertEquals(torn, undefined);
    const read = frames.map(({ icount, ticks, offset, storedBytes }) => ({
      icount,
      ticks,
      bytes: segment.slice(offset, offset + storedBytes),
    }));
    assertEquals(read, made);
  }));
});

Deno.test("a log that was cut at any byte of its last frame has the frames before it", () => {
  const whole = makeSegment("events", THREE);
  const start = whole.length - THREE[2]!.length;
  for (let end = start; end < whole.length; end++) {
    const { frames, torn } = readSegment(whole.subarray(0, end), "events", 0);
    assertEquals(frames.map(({ icount }) => icount), [1, 2], `cut at ${end}`);
    const reason = end < start + FRAME_HEADER_BYTES ? "a frame's head is cut" : "a frame is cut";
    const expected = { segment: 0, offset: start, bytes: end - start, reason };
    assertEquals(torn, end === start ? undefined : expected);
  }
});

Deno.test("a segment that ends in its own head has no frames and says so", () => {
  const whole = makeSegment("events", THREE);
  for (let end = 0; end < SEGMENT_HEADER_BYTES; end++) {
    const { frames, torn } = readSegment(whole.subarray(0, end), "events", 4);
    assertEquals(frames, []);
    const reason = "the segment's head is cut";
    assertEquals(torn, { segment: 4, offset: 0, bytes: end, reason });
  }
});

Deno.test("any byte that changes in a middle frame cuts the log before that frame", () => {
  const start = SEGMENT_HEADER_BYTES + THREE[0]!.length;
  for (let at = start; at < start + THREE[1]!.length; at++) {
    for (const change of [0x01, 0x80, 0xff]) {
      const segment = makeSegment("events", THREE);
      segment[at]! ^= change;
      const { frames, torn } = readSegment(segment, "events", 0);
      assertEquals([at, frames.map(({ icount }) => icount)], [at, [1]]);
      assertEquals([torn?.offset, torn?.bytes], [start, segment.length - start]);
    }
  }
});

Deno.test("lengths and places that make no sense are damage, whatever their checksum says", () => {
  const forge = (change: (view: DataView) => void) => {
    const bytes = THREE[0]!.slice();
    const view = new DataView(bytes.buffer);
    change(view);
    view.setUint32(4, crc32(bytes.subarray(8)), true);
    return readSegment(makeSegment("events", [bytes]), "events", 0).torn?.reason;
  };
  const lengths = "a frame's lengths make no sense";
  const start = "a frame's start makes no sense";
  assertEquals(forge(() => {}), undefined);
  assertEquals(forge((view) => view.setUint32(8, 4, true)), lengths);
  assertEquals(forge((view) => view.setUint32(8, CLUSTER_BYTES_MAXIMUM + 1, true)), lengths);
  for (const number of [NaN, -1, 0.5, Infinity, 2 ** 53]) {
    assertEquals(forge((view) => view.setFloat64(12, number, true)), start);
    assertEquals(forge((view) => view.setFloat64(20, number, true)), start);
  }
});

Deno.test("a segment of another version, log or number is refused by name", () => {
  const refusal = (segment: Uint8Array, number = 0) =>
    assertThrows(() => readSegment(segment, "events", number), FormatError).message;
  const what = "segment 0 of the log of events";
  assertEquals(
    refusal(withHeader((view) => view.setUint32(8, 2, true))),
    `${what} has version 2; this program reads 1`,
  );
  const another = `${what} is another segment, under this name`;
  assertEquals(refusal(makeSegment("outputs", THREE)), another);
  assertEquals(refusal(makeSegment("events", THREE, 1)), another);
  assertEquals(refusal(withHeader((view) => view.setUint8(0, 0))), `${what} is no log`);
  const damaged = segmentHeader("events", 0);
  damaged[16]! ^= 1;
  assertEquals(refusal(damaged), `${what}: the checksum of its head does not hold`);
});
