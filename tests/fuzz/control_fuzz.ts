/** Fuzz target for lines on a kernel's control socket: any bytes, in any pieces. */
import { assert } from "../../kernel/base/assert.ts";
import { concatBytes } from "../../kernel/base/bytes.ts";
import { FormatError } from "../../kernel/base/errors.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { LineReader, parseReply, parseRequest } from "../../tools/cli/control/protocol.ts";
import { answer, type ControlledVm } from "../../tools/cli/control/server.ts";
import type { FuzzTarget } from "./engine.ts";
import { damaged, edge32, orRefused } from "./support.ts";

const LINE_BYTES = 300;
const COMMANDS = "version list record-start record-stop pause resume stats attach".split(" ");

function drawValue(random: Prng): unknown {
  return random.pick<unknown>([1, 2, 0.5, -1, null, true, "", "web", "/r", {}, [], edge32(random)]);
}

function drawRequest(random: Prng): unknown {
  const request: Record<string, unknown> = {
    version: 1,
    id: random.below(100),
    command: random.pick(COMMANDS),
  };
  for (const name of ["vm", "folder", "sync", "images", "version", "id", "extra"]) {
    if (random.below(3) === 0) request[name] = drawValue(random);
  }
  return random.below(10) === 0 ? drawValue(random) : request;
}

/** A VM that does all that is asked of it. */
const vm: ControlledVm = {
  name: "web",
  state: "running",
  icount: 1,
  recordingFolder: undefined,
  pause: () => Promise.resolve(),
  resume: () => Promise.resolve(),
  stats: () => Promise.reject(new Error("none")),
  startRecording: ({ folder }) => {
    assert(folder.startsWith("/"), "a folder is absolute");
    return Promise.resolve();
  },
  stopRecording: () => Promise.resolve(),
};

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
    const requests = Array.from({ length: 1 + random.below(4) }, () => drawRequest(random));
    const encoder = new TextEncoder();
    const lines = requests.map((request) => encoder.encode(JSON.stringify(request) + "\n"));
    const good = concatBytes(lines);
    const whole = cutIntoLines(random, good);
    assert(whole.length === requests.length, "lines arrive whole");
    for (const line of [...whole, ...cutIntoLines(random, damaged(random, good))]) {
      orRefused(() => parseRequest(line), FormatError);
      const reply = await answer({ vms: [vm] }, line);
      assert(
        (reply.error === undefined) !== (reply.result === undefined),
        "a reply is one of both",
      );
      parseReply(JSON.stringify(reply));
      orRefused(() => parseReply(line), FormatError);
    }
  },
};

export default target;
