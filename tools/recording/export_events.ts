/**
 * All that came into a recorded VM and left it, as JSON lines: one object for each record of the event
 * log and the output ledger, in order of icount (docs/export.md has the names; they are stable).
 *
 * Invariant: every record of both logs has its line; bytes are never lost, whatever they are.
 */
import { readEpoch } from "../../kernel/replay/epochs.ts";
import type { EventRecord, HistoryItem, OutputRecord, VmEvent } from "../../mod.ts";
import type { ExportSource } from "./export.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Writes the lines. */
export function exportEvents(
  { history }: ExportSource,
  write: (bytes: Uint8Array) => void,
): void {
  const encoder = new TextEncoder();
  for (const item of history.items()) {
    write(encoder.encode(JSON.stringify(eventLine(item)) + "\n"));
  }
}

/** The object of a line. */
export function eventLine(item: HistoryItem): Fields {
  const { stamp: { icount, ticks, hart } } = item;
  const where = { icount, ticks, hart };
  return item.log === "events"
    ? { ...where, direction: directionOf(item.record), ...eventFields(item.record, icount) }
    : { ...where, direction: "out", ...outputFields(item.record) };
}

/** "in" for what changed the VM; "mark" for what the recording notes about it. */
function directionOf({ type }: EventRecord): "in" | "mark" {
  return type === "event" || type === "nondeterminism" ? "in" : "mark";
}

function eventFields(record: EventRecord, icount: number): Fields {
  switch (record.type) {
    case "event":
      return { kind: record.event.kind, ...vmEventFields(record.event, record.taken) };
    case "nondeterminism":
      return { kind: record.type, ...bytesFields(record.entries) };
    case "epoch": {
      const { harts, devices, machine, pages, pageHashes } = readEpoch(icount, record.fields);
      const hashes = { pages: [...pages], pageHashes: [...pageHashes] };
      return { kind: record.type, devices, machine, ...hashes, harts: harts.toBase64() };
    }
    case "reached":
      return { kind: record.type };
    case "reset":
      return { kind: record.type, wallNanoseconds: `${record.wallStart}` };
    case "end":
      return { kind: record.type, why: record.why, code: record.code };
  }
}

function vmEventFields(event: VmEvent, taken: number): Fields {
  switch (event.kind) {
    case "console":
      return { device: event.device, port: event.port, ...bytesFields(event.bytes), taken };
    case "frame":
      return { device: event.device, ...bytesFields(event.bytes) };
    case "resize": {
      const { device, port, columns, rows } = event;
      return { device, port, columns, rows };
    }
    case "disk":
      return { device: event.device, tag: event.tag, status: event.status };
    case "time":
      return { anchorTicks: event.ticks, rate: event.rate };
    case "entropy":
      return bytesFields(event.bytes);
    case "identity": {
      const { generation, mac, entropy } = event;
      return { generation: generation.toHex(), mac: mac.toHex(), entropy: entropy.toBase64() };
    }
    case "wall":
      return { wallStart: `${event.wallStart}` };
  }
}

function outputFields(record: OutputRecord): Fields {
  switch (record.type) {
    case "console": {
      const { type: kind, device, port, bytes } = record;
      return { kind, device, port, ...bytesFields(bytes) };
    }
    case "frame":
      return { kind: record.type, device: record.device, ...bytesFields(record.bytes) };
    case "disk": {
      const { type: kind, device, tag, kind: request, sector, length, checksum } = record;
      return { kind, device, tag, request, sector, length, checksum };
    }
  }
}

function bytesFields(bytes: Uint8Array): Fields {
  const text = printable(bytes);
  return { bytes: bytes.toBase64(), ...text !== undefined && { text } };
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** Control characters that are not part of text on a terminal: all but tab, line ends and escape. */
// deno-lint-ignore no-control-regex
const UNPRINTABLE = /[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]/;

/** Bytes as text, if they are some. */
function printable(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return undefined;
  try {
    const text = UTF8.decode(bytes);
    return UNPRINTABLE.test(text) ? undefined : text;
  } catch {
    return undefined;
  }
}
