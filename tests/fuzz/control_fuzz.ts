/**
 * Fuzz target for a kernel's control socket: any bytes, in any pieces, to a connection that serves them.
 */
import { assert } from "../../kernel/base/assert.ts";
import { concatBytes } from "../../kernel/base/bytes.ts";
import { FormatError } from "../../kernel/base/errors.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { ControlConnection, type ControlTransport } from "../../tools/cli/control/connection.ts";
import { Consoles } from "../../tools/cli/control/consoles.ts";
import { LineReader } from "../../tools/cli/control/line_reader.ts";
import { parseClientLine, parseKernelLine } from "../../tools/cli/control/protocol.ts";
import type { ControlledVm, ControlSurroundings } from "../../tools/cli/control/verb.ts";
import { VERBS } from "../../tools/cli/control/verbs.ts";
import type { FuzzTarget } from "./engine.ts";
import { pretendedKernel } from "../_support/pretended_kernel.ts";
import { damaged, edge32, orRefused } from "./support.ts";

const LINE_BYTES = 500;
const COMMANDS = [...Object.keys(VERBS), "toString", "dance"];
const KINDS = ["input", "size", "detach", "end", "signal", "dance"];

function drawValue(random: Prng): unknown {
  return random.pick<unknown>([
    ...[1, 2, 0.5, -1, 80, 15, null, true, "", "web", "/r", "info status", "QUJD", "Q"],
    ...[{}, [], ["true"], ["cat", "x"], edge32(random)],
  ]);
}

/** An object that has the fields that are needed, and some of others, right or wrong. */
function drawFields(random: Prng, needed: Record<string, unknown>, others: string[]): unknown {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(needed)) {
    if (random.below(12) > 0) fields[name] = value;
  }
  for (const name of others) if (random.below(8) === 0) fields[name] = drawValue(random);
  return random.below(20) === 0 ? drawValue(random) : fields;
}

function drawLine(random: Prng): unknown {
  const id = random.below(4);
  if (random.below(2) === 0) {
    const kind = random.pick(KINDS);
    const needed = { kind, data: "QUJD", columns: 80, rows: 24, number: 15 };
    const wanted: Record<string, string[]> = {
      input: ["data"],
      size: ["columns", "rows"],
      signal: ["number"],
    };
    const names = ["kind", ...wanted[kind] ?? []];
    const content = Object.fromEntries(Object.entries(needed).filter(([n]) => names.includes(n)));
    return { id, message: drawFields(random, content, ["data", "columns", "number", "extra"]) };
  }
  const command = random.pick(COMMANDS);
  const wanted: Record<string, unknown> = {
    "record-start": { folder: "/r" },
    monitor: { line: random.pick(["info status", "info mtree", "stop", "quit", ""]) },
    exec: { words: ["cat"] },
    fork: { count: random.pick([1, 3, 10_000]) },
  };
  const vm = command === "list" ? {} : { vm: "web" };
  const needed = { version: 2, id, command, ...vm, ...wanted[command] as object };
  return drawFields(random, needed, [
    "vm",
    "folder",
    "sync",
    "images",
    "seconds",
    "id",
    "words",
    "label",
    "rate",
    "count",
    "name",
  ]);
}

/** A VM that does all that is asked of it, and prints as it is typed. */
function pretendedVm(random: Prng): ControlledVm {
  const ended = Promise.resolve({ code: 0, why: "power-off" } as const);
  const output = () => ReadableStream.from([new Uint8Array(random.below(100))]);
  return {
    name: "web",
    guest: undefined,
    state: "running",
    icount: 1,
    harts: 1,
    memoryBytes: 1 << 20,
    uptimeMilliseconds: 1,
    recordingFolder: undefined,
    hasAgent: random.below(2) === 0,
    console: {
      device: "uart0",
      readable: output(),
      writable: new WritableStream(),
      write: (bytes) => {
        assert(bytes.length <= 32 * 1024, "input is bounded");
        return random.below(2) === 0 ? Promise.resolve() : new Promise(() => {});
      },
      resize: (columns, rows) => {
        assert(columns > 0 && rows > 0 && columns < 65536 && rows < 65536, "a size is one");
        return Promise.resolve();
      },
    },
    pause: () => Promise.resolve(),
    resume: () => Promise.resolve(),
    powerOff: () => Promise.resolve(),
    waitForExit: () => ended,
    stats: () => Promise.reject(new Error("none")),
    registers: () => Promise.reject(new Error("none")),
    memoryTree: () => Promise.resolve("ram"),
    spawn: () =>
      Promise.resolve({
        stdin: new WritableStream<Uint8Array>(),
        stdout: output(),
        stderr: output(),
        status: random.below(2) === 0 ? Promise.resolve(3) : new Promise<number>(() => {}),
        kill: () => Promise.resolve(),
      }),
    startRecording: ({ folder }) => {
      assert(folder.startsWith("/"), "a folder is absolute");
      return Promise.resolve();
    },
    stopRecording: () => Promise.resolve(),
  };
}

/** Bytes in random pieces, then the end; what is written is kept. */
class Pieces implements ControlTransport {
  readonly written: Uint8Array[] = [];
  closed = false;
  #at = 0;

  constructor(readonly random: Prng, readonly bytes: Uint8Array) {}

  read(into: Uint8Array): Promise<number | null> {
    if (this.closed) return Promise.reject(new Error("closed"));
    const count = Math.min(1 + this.random.below(200), into.length, this.bytes.length - this.#at);
    into.set(this.bytes.subarray(this.#at, this.#at + count));
    this.#at += count;
    return Promise.resolve(count === 0 ? null : count);
  }

  write(bytes: Uint8Array): Promise<number> {
    if (this.closed) return Promise.reject(new Error("closed"));
    const count = Math.min(bytes.length, 1 + this.random.below(1000));
    this.written.push(bytes.slice(0, count));
    return Promise.resolve(count);
  }

  close(): void {
    assert(!this.closed, "it is closed once");
    this.closed = true;
  }
}

/** Lines in pieces of random lengths, up to one that is refused. */
function cutIntoLines(random: Prng, bytes: Uint8Array): string[] {
  const reader = new LineReader(LINE_BYTES);
  const lines: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const next = at + 1 + random.below(60);
    const piece = bytes.subarray(at, next);
    const done = orRefused(() => {
      for (const line of reader.push(piece)) lines.push(line);
      return true;
    }, FormatError);
    assert(reader.waiting <= LINE_BYTES, "what waits is bounded");
    if (done === undefined) break;
    at = next;
  }
  return lines;
}

const target: FuzzTarget = {
  name: "control",
  async step(random) {
    const drawn = Array.from({ length: 1 + random.below(12) }, () => drawLine(random));
    const encoder = new TextEncoder();
    const good = concatBytes(drawn.map((line) => encoder.encode(JSON.stringify(line) + "\n")));
    assert(cutIntoLines(random, good).length === drawn.length, "lines arrive whole");
    const bytes = random.below(2) === 0 ? good : damaged(random, good);
    for (const line of cutIntoLines(random, bytes)) {
      orRefused(() => parseClientLine(line), FormatError);
      orRefused(() => parseKernelLine(line), FormatError);
    }
    const transport = new Pieces(random, bytes);
    const kernel = pretendedKernel([pretendedVm(random)]);
    const surroundings: ControlSurroundings = {
      kernel,
      consoles: new Consoles(),
      claims: new Set(),
      claimNames: () => Promise.reject(new Error("none")),
      log: undefined,
    };
    await new ControlConnection(surroundings, transport).serve();
    assert(transport.closed, "it is closed");
    const said = new TextDecoder().decode(concatBytes(transport.written)).split("\n");
    assert(said.pop() === "", "lines are written whole");
    const [hello, ...lines] = said.map(parseKernelLine);
    assert(hello !== undefined && "hello" in hello, "hello comes first");
    const replies = lines.filter((line) => !("hello" in line) && !("event" in line));
    for (const reply of replies) {
      assert("error" in reply !== "result" in reply, "a reply is one of both");
    }
  },
};

export default target;
