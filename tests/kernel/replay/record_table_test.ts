/** Claims about the table of records: events and outputs return; what is no record is a FormatError. */
import { assertEquals, assertThrows } from "@std/assert";
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { crc32 } from "../../../kernel/base/checksum.ts";
import { FormatError } from "../../../kernel/base/errors.ts";
import type { VmEvent } from "../../../kernel/machine/event.ts";
import type { MachineOutput } from "../../../kernel/machine/outputs.ts";
import {
  EVENT_RECORD,
  eventFields,
  OUTPUT_RECORD,
  outputFields,
  readEventRecord,
  readOutputRecord,
} from "../../../kernel/replay/record_table.ts";

const stamp = { icount: 1, ticks: 2, hart: 0 };
const device = fc.string({ maxLength: 20 });
const bytes = fc.uint8Array({ maxLength: 100 });
const tag = fc.nat(0xffff);

const event: fc.Arbitrary<VmEvent> = fc.oneof(
  fc.record({ kind: fc.constant("console" as const), device, port: fc.nat(255), bytes }),
  fc.record({ kind: fc.constant("frame" as const), device, bytes }),
  fc.record({
    kind: fc.constant("resize" as const),
    device,
    port: fc.nat(255),
    columns: fc.nat(0xffff),
    rows: fc.nat(0xffff),
  }),
  fc.record({ kind: fc.constant("disk" as const), device, tag, status: fc.nat(255) }),
  fc.record({
    kind: fc.constant("time" as const),
    ticks: fc.maxSafeNat(),
    rate: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  }),
  fc.record({ kind: fc.constant("entropy" as const), bytes }),
  fc.record({
    kind: fc.constant("identity" as const),
    generation: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    mac: fc.uint8Array({ minLength: 6, maxLength: 6 }),
    entropy: bytes,
  }),
  fc.record({ kind: fc.constant("wall" as const), wallStart: fc.bigInt(0n, 2n ** 64n - 1n) }),
);

const output: fc.Arbitrary<MachineOutput> = fc.oneof(
  fc.record({
    kind: fc.constant("bytes" as const),
    stamp: fc.constant(stamp),
    device,
    port: fc.nat(255),
    bytes,
  }),
  fc.record({ kind: fc.constant("frame" as const), stamp: fc.constant(stamp), device, bytes }),
  fc.record({
    kind: fc.constant("disk" as const),
    stamp: fc.constant(stamp),
    disk: fc.nat(7),
    request: fc.record({
      tag,
      kind: fc.constantFrom("read" as const, "write" as const, "flush" as const),
      sector: fc.maxSafeNat(),
      length: fc.nat(),
      data: fc.uint8Array({ maxLength: 50 }),
    }),
  }),
);

/** Fields as they come out of a log. */
const stored = (fields: readonly unknown[]) => decode(encode(fields)) as unknown[];

Deno.test("events return as they were", () => {
  fc.assert(fc.property(event, (event) => {
    const taken = event.kind === "console" ? event.bytes.length : 1;
    const [kind, fields] = eventFields(event, taken);
    const record = readEventRecord({ kind, stamp, fields: stored(fields) });
    assertEquals(record, { type: "event", event, taken });
  }));
});

Deno.test("outputs return as they were; of what is written to disks, its checksum does", () => {
  fc.assert(fc.property(output, (output) => {
    const [kind, fields] = outputFields(output);
    const record = readOutputRecord({ kind, stamp, fields: stored(fields) });
    if (output.kind !== "disk") {
      const { kind, stamp: _, ...rest } = output;
      return assertEquals(record, { type: kind === "bytes" ? "console" : kind, ...rest } as never);
    }
    const { disk, request: { data, ...request } } = output;
    const expected = { type: "disk", device: `disk${disk}`, ...request, checksum: crc32(data!) };
    assertEquals(record, expected as never);
  }));
});

Deno.test("marks of a recording return", () => {
  const read = (kind: number, ...fields: unknown[]) => readEventRecord({ kind, stamp, fields });
  const entries = new Uint8Array(32);
  assertEquals(read(EVENT_RECORD.nondeterminism, entries), { type: "nondeterminism", entries });
  assertEquals(read(EVENT_RECORD.epoch, 1, "x"), { type: "epoch", fields: [1, "x"] });
  assertEquals(read(EVENT_RECORD.reset, "12"), { type: "reset", wallStart: 12n });
  assertEquals(read(EVENT_RECORD.end, "failed", 3), { type: "end", why: "failed", code: 3 });
});

Deno.test("a field that is missing, too many, of another type or out of range is refused", () => {
  const some = new Uint8Array(3);
  const events: [number, unknown[], string][] = [
    [EVENT_RECORD.console, ["uart0", 0, some], "field 4 is not a whole number from 0 to 3"],
    [EVENT_RECORD.console, ["uart0", 0, some, 4], "field 4 is not a whole number from 0 to 3"],
    [EVENT_RECORD.console, ["uart0", 256, some, 3], "field 2 is not a whole number"],
    [EVENT_RECORD.console, [5, 0, some, 3], "field 1 is not a text"],
    [EVENT_RECORD.frame, ["x".repeat(257), some], "field 1 is not a text"],
    [EVENT_RECORD.frame, ["net0", "text"], "field 2 is not bytes"],
    [EVENT_RECORD.frame, ["net0", some, 1], "field 2 is not no further field"],
    [EVENT_RECORD.resize, ["uart0", 0, 80, -1], "field 4 is not a whole number"],
    [EVENT_RECORD.disk, ["disk0", 0x10000, 0], "field 2 is not a whole number"],
    [EVENT_RECORD.time, [1.5, 1], "field 1 is not a whole number"],
    [EVENT_RECORD.time, [1, 0], "field 2 is not a whole number from 1"],
    [EVENT_RECORD.nondeterminism, [new Uint8Array(17)], "17 bytes are no whole entries"],
    [EVENT_RECORD.identity, [some, new Uint8Array(6), some], "field 1 is not 16 bytes"],
    [EVENT_RECORD.identity, [new Uint8Array(16), some, some], "field 2 is not 6 bytes"],
    [EVENT_RECORD.wall, [5], "field 1 is not a text"],
    [EVENT_RECORD.wall, [`${2n ** 64n}`], "field 1 is not a wall clock"],
    [EVENT_RECORD.reset, ["-1"], "field 1 is not a wall clock"],
    [EVENT_RECORD.reset, ["1".repeat(21)], "wall clock"],
    [EVENT_RECORD.end, ["bored", 0], 'has the cause "bored"'],
    [OUTPUT_RECORD.console, ["uart0", 0, some], "no such kind of event record"],
    [0, [], "no such kind of event record"],
  ];
  for (const [kind, fields, why] of events) {
    assertThrows(() => readEventRecord({ kind, stamp, fields }), FormatError, why);
  }
  const outputs: [number, unknown[], string][] = [
    [OUTPUT_RECORD.disk, ["disk0", 1, "read", 0, 512, 2 ** 32], "field 6"],
    [OUTPUT_RECORD.disk, ["disk0", 1, "read", 0, 512], "field 6"],
    [OUTPUT_RECORD.frame, ["net0"], "field 2 is not bytes"],
    [EVENT_RECORD.console, ["uart0", 0, some, 0], "no such kind of output record"],
  ];
  for (const [kind, fields, why] of outputs) {
    assertThrows(() => readOutputRecord({ kind, stamp, fields }), FormatError, why);
  }
});

Deno.test("kinds of records have numbers of their own", () => {
  const numbers = [...Object.values(EVENT_RECORD), ...Object.values(OUTPUT_RECORD)];
  assertEquals(new Set(numbers).size, numbers.length);
});
