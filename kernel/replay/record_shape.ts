/**
 * Looks over a cluster's msgpack before it is decoded, because a decoder makes arrays as long as their
 * heads claim: a few bytes of nested heads would fill the host's memory (docs: msgpack specification,
 * "Formats"). Records are lists of values, with at most a list or a map of values among them; the image in
 * a recording's start is a map that holds lists of maps.
 *
 * Invariant: what passes here is whole, nests no deeper than asked for, and decodes into at most
 * CLUSTER_ITEMS_MAXIMUM values.
 */
import { FormatError } from "../base/errors.ts";

/** Most values of a cluster, records and what they are made of counted alike. */
export const CLUSTER_ITEMS_MAXIMUM = 2 ** 21;
/** Most lists and maps around a value: a record, and two within it. */
const DEPTH_MAXIMUM = 3;

/** TABLE of formats from 0xc0 on: bytes behind the head; -1 for those that records never have. */
const FIXED_BYTES: readonly number[] = [
  ...[0, -1, 0, 0], // nil, never used, false, true
  ...[0, 0, 0], // bin 8, 16, 32: see LENGTH_BYTES
  ...[-1, -1, -1], // ext 8, 16, 32
  ...[4, 8], // float 32, 64
  ...[1, 2, 4, 8], // uint
  ...[1, 2, 4, 8], // int
  ...[-1, -1, -1, -1, -1], // fixext
  ...[0, 0, 0, 0, 0, 0, 0], // str 8, 16, 32, array 16, 32, map 16, 32: see LENGTH_BYTES
];
/** TABLE of formats that tell their length: in how many bytes, and of what. */
const LENGTH_BYTES: ReadonlyMap<number, readonly [bytes: 1 | 2 | 4, of: "bytes" | 1 | 2]> = new Map(
  [
    [0xc4, [1, "bytes"]],
    [0xc5, [2, "bytes"]],
    [0xc6, [4, "bytes"]],
    [0xd9, [1, "bytes"]],
    [0xda, [2, "bytes"]],
    [0xdb, [4, "bytes"]],
    [0xdc, [2, 1]],
    [0xdd, [4, 1]],
    [0xde, [2, 2]],
    [0xdf, [4, 2]],
  ],
);

/** Looks over a cluster, or other msgpack that may nest this deeply. Throws FormatError. */
export function checkRecordShape(cluster: Uint8Array, depth = DEPTH_MAXIMUM): void {
  const view = new DataView(cluster.buffer, cluster.byteOffset, cluster.length);
  /** Values that are still to come in each list and map around the present place. */
  const left: number[] = [];
  let at = 0;
  const need = (bytes: number) => {
    if (bytes > cluster.length - at) throw new FormatError("a record is cut");
  };
  const lengthIn = (bytes: 1 | 2 | 4) => {
    need(bytes);
    const length = bytes === 1
      ? view.getUint8(at)
      : bytes === 2
      ? view.getUint16(at)
      : view.getUint32(at);
    at += bytes;
    return length;
  };
  for (let items = 1; at < cluster.length || left.length > 0; items++) {
    if (items > CLUSTER_ITEMS_MAXIMUM) throw new FormatError("a cluster has too many values");
    need(1);
    const head = cluster[at++]!;
    let [bytes, values] = [0, 0];
    const told = LENGTH_BYTES.get(head);
    if (told !== undefined) {
      const length = lengthIn(told[0]);
      if (told[1] === "bytes") bytes = length;
      else values = length * told[1];
    } else if (head >= 0xe0 || head < 0x80) bytes = 0; // fixint
    else if (head < 0x90) values = 2 * (head & 15); // fixmap
    else if (head < 0xa0) values = head & 15; // fixarray
    else if (head < 0xc0) bytes = head & 31; // fixstr
    else bytes = FIXED_BYTES[head - 0xc0]!;
    if (bytes < 0) throw new FormatError("a record has a value of a kind that records never have");
    // Each value is a byte at least.
    need(bytes + values);
    at += bytes;
    if (values > 0) {
      if (left.length === depth) throw new FormatError("a record is nested too deeply");
      left.push(values);
      continue;
    }
    while (left.length > 0 && --left[left.length - 1]! === 0) left.pop();
  }
}
