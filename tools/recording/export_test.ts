/** Claims about exports of recordings, over logs made in memory. */
import { assertEquals } from "@std/assert";
import { concatBytes } from "../../kernel/base/bytes.ts";
import type { EpochDigest } from "../../kernel/machine/epoch.ts";
import { HART } from "../../kernel/memory/hart_layout.ts";
import { epochFields } from "../../kernel/replay/epochs.ts";
import type { RecordingManifest } from "../../kernel/replay/manifest.ts";
import { EVENT_RECORD, eventFields, OUTPUT_RECORD } from "../../kernel/replay/record_table.ts";
import { encodeExecFrame, type ExecFrameKind } from "../../kernel/world/exec_protocol.ts";
import { RecordedHistory } from "../../kernel/world/recorded_history.ts";
import { type LogEntry, makeFrame, makeManifest, makeSegment } from "../../tests/_support/logs.ts";
import { type ExporterName, EXPORTERS } from "./export.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const utf8 = (line: string) => new TextEncoder().encode(line);

const EPOCH: EpochDigest = {
  icount: 7,
  harts: new Uint8Array(HART.byteLength),
  devices: { uart0: 5 },
  machine: 6,
  pages: Uint32Array.of(3, 700_000),
  pageHashes: Uint32Array.of(1, 0xffff_ffff),
};
const EPOCH_LINE = {
  devices: { uart0: 5 },
  machine: 6,
  pages: [3, 700_000],
  pageHashes: [1, 0xffff_ffff],
  harts: EPOCH.harts.toBase64(),
};

function entry(icount: number, ticks: number, kind: number, ...fields: unknown[]): LogEntry {
  return { kind, stamp: { icount, ticks, hart: 0 }, fields };
}

function history(
  events: readonly LogEntry[],
  outputs: readonly LogEntry[],
  manifest?: Partial<RecordingManifest>,
): RecordedHistory {
  return new RecordedHistory(
    makeManifest(manifest),
    [makeSegment("events", events.length > 0 ? [makeFrame(events)] : [])],
    [makeSegment("outputs", outputs.length > 0 ? [makeFrame(outputs)] : [])],
  );
}

async function exported(name: ExporterName, history: RecordedHistory): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await EXPORTERS[name].run({ folder: "none", history }, (bytes) => void parts.push(bytes.slice()));
  return concatBytes(parts);
}

async function lines(history: RecordedHistory): Promise<Record<string, unknown>[]> {
  const all = text(await exported("events", history));
  return all.trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("items come by icount, then by guest time, an event before what it causes", () => {
  const told = (icount: number, ticks: number) =>
    entry(icount, ticks, OUTPUT_RECORD.console, "uart0", 0, utf8(`${icount}:${ticks}`));
  const mixed = (icount: number, ticks: number) =>
    entry(icount, ticks, EVENT_RECORD.entropy, utf8(`${icount}:${ticks}`));
  const made = history(
    [mixed(5, 5), mixed(7, 7), mixed(7, 9)],
    [told(4, 4), told(7, 7), told(7, 8), told(8, 10)],
  );
  const order = [...made.items()].map(({ log, stamp }) => `${log} ${stamp.icount}:${stamp.ticks}`);
  assertEquals(order, [
    "outputs 4:4",
    "events 5:5",
    "events 7:7",
    "outputs 7:7",
    "outputs 7:8",
    "events 7:9",
    "outputs 8:10",
  ]);
});

Deno.test("after a reset the wall clock goes on though guest time begins anew", () => {
  const made = history([
    entry(10, 1000, EVENT_RECORD.entropy, new Uint8Array(1)),
    entry(20, 2000, EVENT_RECORD.reset, "5000000"),
    entry(30, 10, EVENT_RECORD.entropy, new Uint8Array(1)),
  ], []);
  const walls = [...made.items()].map(({ wallNanoseconds }) => wallNanoseconds);
  const start = 1767225600000000000n;
  assertEquals(walls, [start + 100_000n, start + 200_000n, 5_001_000n]);
});

Deno.test("a wall clock that was moved tells the time from then on", () => {
  const entropy = new Uint8Array(1);
  const made = history([
    entry(10, 1000, EVENT_RECORD.entropy, entropy),
    entry(10, 1000, EVENT_RECORD.wall, "7000000"),
    entry(20, 2000, EVENT_RECORD.entropy, entropy),
  ], []);
  const walls = [...made.items()].map(({ wallNanoseconds }) => wallNanoseconds);
  const start = 1767225600000000000n;
  assertEquals(walls, [start + 100_000n, start + 100_000n, 7_200_000n]);
});

Deno.test("--events has a line for each record of both logs", async () => {
  const events = [
    eventFields({ kind: "console", device: "uart0", port: 0, bytes: utf8("ls\r") }, 2),
    eventFields({ kind: "frame", device: "net0", bytes: Uint8Array.of(0xff, 0) }, 1),
    eventFields({ kind: "resize", device: "console0", port: 1, columns: 80, rows: 25 }, 1),
    eventFields({ kind: "disk", device: "disk0", tag: 3, status: 1 }, 1),
    eventFields({ kind: "time", ticks: 77, rate: 9 }, 1),
    eventFields({ kind: "entropy", bytes: new Uint8Array(0) }, 1),
    eventFields({
      kind: "identity",
      generation: new Uint8Array(16).fill(0xab),
      mac: Uint8Array.of(2, 0, 0, 0, 0, 9),
      entropy: Uint8Array.of(1),
    }, 1),
    eventFields({ kind: "wall", wallStart: 78n }, 1),
    [EVENT_RECORD.nondeterminism, [new Uint8Array(16)]],
    [EVENT_RECORD.epoch, epochFields(EPOCH)],
    [EVENT_RECORD.reset, ["12"]],
    [EVENT_RECORD.end, ["power-off", 4]],
  ] as const;
  const made = history(
    events.map(([kind, fields], i) => entry(i, i, kind, ...fields)),
    [
      entry(100, 50, OUTPUT_RECORD.console, "uart0", 0, utf8("é\x1b[0m\n")),
      entry(101, 50, OUTPUT_RECORD.console, "uart0", 0, utf8("\x00")),
      entry(102, 50, OUTPUT_RECORD.frame, "net0", Uint8Array.of(1, 2)),
      entry(103, 50, OUTPUT_RECORD.disk, "disk0", 1, "write", 8, 512, 99),
    ],
  );
  const at = (n: number) => ({ icount: n, ticks: n, hart: 0 });
  const out = (n: number) => ({ icount: n, ticks: 50, hart: 0, direction: "out" });
  const [come, mark] = [{ direction: "in" }, { direction: "mark" }];
  const uart = { device: "uart0", port: 0 };
  assertEquals(await lines(made), [
    { ...at(0), ...come, kind: "console", ...uart, bytes: "bHMN", text: "ls\r", taken: 2 },
    { ...at(1), ...come, kind: "frame", device: "net0", bytes: "/wA=" },
    { ...at(2), ...come, kind: "resize", device: "console0", port: 1, columns: 80, rows: 25 },
    { ...at(3), ...come, kind: "disk", device: "disk0", tag: 3, status: 1 },
    { ...at(4), ...come, kind: "time", anchorTicks: 77, rate: 9 },
    { ...at(5), ...come, kind: "entropy", bytes: "" },
    {
      ...at(6),
      ...come,
      kind: "identity",
      generation: "ab".repeat(16),
      mac: "020000000009",
      entropy: "AQ==",
    },
    { ...at(7), ...come, kind: "wall", wallStart: "78" },
    { ...at(8), ...come, kind: "nondeterminism", bytes: `${"A".repeat(22)}==` },
    { ...at(9), ...mark, kind: "epoch", ...EPOCH_LINE },
    { ...at(10), ...mark, kind: "reset", wallNanoseconds: "12" },
    { ...at(11), ...mark, kind: "end", why: "power-off", code: 4 },
    { ...out(100), kind: "console", ...uart, bytes: "w6kbWzBtCg==", text: "é\x1b[0m\n" },
    { ...out(101), kind: "console", ...uart, bytes: "AA==" },
    { ...out(102), kind: "frame", device: "net0", bytes: "AQI=" },
    {
      ...out(103),
      kind: "disk",
      device: "disk0",
      tag: 1,
      request: "write",
      sector: 8,
      length: 512,
      checksum: 99,
    },
  ]);
});

Deno.test("--console is what the terminal showed, and nothing of other ports", async () => {
  const made = history([], [
    entry(1, 1, OUTPUT_RECORD.console, "uart0", 0, Uint8Array.of(0xff, 0x41)),
    entry(2, 1, OUTPUT_RECORD.console, "console0", 0, utf8("other device")),
    entry(3, 1, OUTPUT_RECORD.console, "uart0", 1, utf8("other port")),
    entry(4, 1, OUTPUT_RECORD.console, "uart0", 0, utf8("B")),
  ]);
  assertEquals([...await exported("console", made)], [0xff, 0x41, 0x42]);
});

Deno.test("--console of a recorded command is what the command printed", async () => {
  const said = (kind: ExecFrameKind, payload: string) =>
    encodeExecFrame({ kind, id: 1, payload: utf8(payload) });
  const all = concatBytes([said("H", "1"), said("O", "out\n"), said("R", "err\n"), said("Q", "0")]);
  const made = history([], [
    entry(1, 1, OUTPUT_RECORD.console, "uart0", 0, utf8("boot messages")),
    // Where bytes of a port are cut depends on when somebody looked.
    entry(2, 1, OUTPUT_RECORD.console, "console0", 1, all.slice(0, 13)),
    entry(3, 1, OUTPUT_RECORD.console, "console0", 1, all.slice(13)),
  ], { shows: "command" });
  assertEquals(text(await exported("console", made)), "out\nerr\n");
});

Deno.test("--pcap describes each card before its first frame, and no card without frames", async () => {
  const frame = Uint8Array.of(1, 2, 3, 4);
  const made = history(
    [entry(5, 5, EVENT_RECORD.frame, "net1", frame)],
    [
      entry(4, 4, OUTPUT_RECORD.frame, "net0", frame),
      entry(6, 6, OUTPUT_RECORD.frame, "net1", frame),
    ],
  );
  assertEquals(blocks(await exported("pcap", made)), [
    "section",
    "interface",
    "packet of 0, direction 2",
    "interface",
    "packet of 1, direction 1",
    "packet of 1, direction 2",
  ]);
  assertEquals(blocks(await exported("pcap", history([], []))), ["section"]);
});

/** What the blocks of a capture are. */
function blocks(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += view.getUint32(at + 4, true)) {
    const type = view.getUint32(at, true);
    if (type === 0x0a0d0d0a) found.push("section");
    else if (type === 1) found.push("interface");
    else {
      // The flags are the last option, before the options' end and the block's length.
      const flags = view.getUint32(at + view.getUint32(at + 4, true) - 12, true);
      found.push(`packet of ${view.getUint32(at + 8, true)}, direction ${flags}`);
    }
  }
  return found;
}
