/** Claims about comparing outputs with the ledger: nothing that is the same differs, all else does. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { concatBytes } from "../../../kernel/base/bytes.ts";
import { hostCompression } from "../../../kernel/host/compression.ts";
import type { MachineOutput } from "../../../kernel/machine/outputs.ts";
import { Ledger } from "../../../kernel/replay/ledger.ts";
import { LogReader } from "../../../kernel/replay/log_reader.ts";
import { outputFields } from "../../../kernel/replay/record_table.ts";
import { makeFrame, makeSegment } from "../../_support/logs.ts";

const at = (icount: number) => ({ icount, ticks: icount, hart: 0 });
const said = (icount: number, text: string, device = "uart0"): MachineOutput => ({
  kind: "bytes",
  stamp: at(icount),
  device,
  port: 0,
  bytes: new TextEncoder().encode(text),
});
const sent = (icount: number, ...bytes: number[]): MachineOutput => ({
  kind: "frame",
  stamp: at(icount),
  device: "net0",
  bytes: Uint8Array.from(bytes),
});
const written = (icount: number, sector: number, data: Uint8Array): MachineOutput => ({
  kind: "disk",
  stamp: at(icount),
  disk: 0,
  request: { tag: 1, kind: "write", sector, length: data.length, data },
});

function ledgerOf(outputs: readonly MachineOutput[]): Ledger {
  const frames = outputs.length === 0 ? [] : [makeFrame(outputs.map((output) => {
    const [kind, fields] = outputFields(output);
    return { kind, stamp: output.stamp, fields };
  }))];
  const segment = makeSegment("outputs", frames);
  return new Ledger(new LogReader("outputs", [segment], hostCompression.unpack).cursor());
}

/** The first difference of some outputs, or what is missing at their end. */
function firstDifference(ledger: Ledger, outputs: readonly MachineOutput[]): string | undefined {
  for (const output of outputs) {
    const different = ledger.difference(output, output.stamp.icount);
    if (different !== undefined) return different;
  }
  return ledger.missing();
}

/** Outputs at growing icounts; what a port sends may be cut anywhere. */
const outputs = fc.array(
  fc.oneof(
    fc.string({ minLength: 1, maxLength: 12, unit: "grapheme-ascii" }).map(
      (text) => (icount: number) => said(icount, text),
    ),
    fc.uint8Array({ minLength: 1, maxLength: 8 }).map((bytes) => (icount: number) =>
      sent(icount, ...bytes)
    ),
    fc.nat(9).map((sector) => (icount: number) =>
      written(icount, sector, new Uint8Array(512).fill(sector))
    ),
  ),
  { maxLength: 12 },
).map((makers) => makers.map((make, i) => make(i)));

/** Joins neighbours of one port and cuts them elsewhere. */
function recut(list: readonly MachineOutput[], size: number): MachineOutput[] {
  const joined: MachineOutput[] = [];
  for (const output of list) {
    const last = joined.at(-1);
    if (output.kind === "bytes" && last?.kind === "bytes") {
      joined[joined.length - 1] = { ...last, bytes: concatBytes([last.bytes, output.bytes]) };
    } else joined.push(output);
  }
  return joined.flatMap((output) => {
    if (output.kind !== "bytes") return [output];
    const parts: MachineOutput[] = [];
    for (let from = 0; from < output.bytes.length; from += size) {
      parts.push({ ...output, bytes: output.bytes.slice(from, from + size) });
    }
    return parts;
  });
}

Deno.test("the same outputs never differ, wherever bytes of a port were cut", () => {
  fc.assert(fc.property(outputs, fc.integer({ min: 1, max: 9 }), (list, size) => {
    assertEquals(firstDifference(ledgerOf(list), recut(list, size)), undefined);
  }));
});

Deno.test("a change of any output is a difference", () => {
  const changed = (output: MachineOutput): MachineOutput => {
    switch (output.kind) {
      case "disk": {
        const data = output.request.data!.slice();
        data[0]! ^= 1;
        return { ...output, request: { ...output.request, data } };
      }
      default: {
        const bytes = output.bytes.slice();
        bytes[bytes.length - 1]! ^= 1;
        return { ...output, bytes };
      }
    }
  };
  fc.assert(fc.property(outputs, fc.nat(), fc.nat(), (list, pick, what) => {
    fc.pre(list.length > 0);
    const i = pick % list.length;
    const others = what % 2 === 0 ? list.toSpliced(i, 1, changed(list[i]!)) : list.toSpliced(i, 1);
    assert(firstDifference(ledgerOf(list), others) !== undefined);
  }));
});

Deno.test("the sentence names what was sent, what was recorded, and where", () => {
  const difference = (recorded: MachineOutput[], replayed: MachineOutput[]) =>
    firstDifference(ledgerOf(recorded), replayed);
  const data = new Uint8Array(512);
  const cases: [MachineOutput[], MachineOutput[], string][] = [
    [
      [said(1, "abc")],
      [said(1, "abd")],
      "port 0 of uart0 sends the byte 100; the recording sends 99",
    ],
    [[said(1, "abc")], [said(1, "ab")], "the recording sends more bytes of port 0 of uart0"],
    [
      [said(1, "abc")],
      [said(1, "a"), said(2, "b", "console0")],
      "port 0 of console0 sends bytes; the recording sends more bytes of port 0 of uart0",
    ],
    [[said(1, "a")], [], "the recording sends bytes of port 0 of uart0"],
    [
      [said(1, "ab")],
      [said(1, "a"), sent(2, 1)],
      "a frame leaves; the recording sends more bytes of port 0 of uart0",
    ],
    [
      [sent(5, 1, 2)],
      [said(5, "a")],
      "port 0 of uart0 sends bytes; the recording sends a frame of 2 bytes of net0",
    ],
    [
      [sent(5, 1, 2)],
      [sent(6, 1, 2)],
      "a frame of 2 bytes of net0 leaves at icount 6; the recording sends a frame of 2 bytes of " +
      "net0 at icount 5",
    ],
    [
      [written(1, 8, data)],
      [written(1, 9, data)],
      "a write of 512 bytes at sector 9 of disk0 leaves; the recording sends a write of 512 bytes " +
      "at sector 8 of disk0 with another value in field 3",
    ],
  ];
  for (const [recorded, replayed, sentence] of cases) {
    assertEquals(difference(recorded, replayed), sentence);
  }
});

Deno.test("beyond the end of a ledger nothing is compared: it may have been cut", () => {
  assertEquals(firstDifference(ledgerOf([]), [said(1, "a"), sent(2, 1)]), undefined);
});

Deno.test("going back to a place compares again from there, also within the bytes of a port", () => {
  const ledger = ledgerOf([said(1, "abcdef"), sent(2, 7)]);
  assertEquals(ledger.difference(said(1, "abc"), 1), undefined);
  const { place } = ledger;
  assertEquals(firstDifference(ledger, [said(1, "def"), sent(2, 7)]), undefined);
  ledger.goTo(place);
  assertEquals(firstDifference(ledger, [said(1, "def"), sent(2, 7)]), undefined);
  ledger.goTo(place);
  assert(firstDifference(ledger, [said(1, "dex")]) !== undefined);
});
