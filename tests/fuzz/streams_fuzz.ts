/**
 * Fuzz targets for bytes that come out of a VM world or a guest: messages between worlds, rings in
 * shared memory, and the frames of the agent that runs commands.
 */
import { assert, Broken } from "../../kernel/base/assert.ts";
import { ByteRing } from "../../kernel/base/byte_ring.ts";
import { concatBytes } from "../../kernel/base/bytes.ts";
import { MessageRing } from "../../kernel/base/message_ring.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { decodeMessage, encodeMessage } from "../../kernel/world/protocol.ts";
import {
  encodeExecFrame,
  EXEC_FRAME,
  EXEC_PAYLOAD_BYTES,
  type ExecFrame,
  ExecFrameReader,
} from "../../kernel/world/exec_protocol.ts";
import type { FuzzTarget } from "./engine.ts";
import { damaged, edge32, orRefused } from "./support.ts";

const equal = (a: Uint8Array, b: Uint8Array) =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

const message: FuzzTarget = {
  name: "message",
  step(random) {
    const content = {
      device: random.pick(["", "uart0", "disk0"]),
      numbers: Array.from({ length: random.below(6) }, () => edge32(random)),
      bytes: random.bytes(random.below(64)),
    };
    const bytes = encodeMessage(content);
    const back = decodeMessage(bytes);
    assert(back.device === content.device && equal(back.bytes, content.bytes), "a message returns");
    assert(back.numbers.join() === content.numbers.join(), "a message's numbers return");
    orRefused(() => decodeMessage(damaged(random, bytes)), Broken);
    orRefused(() => decodeMessage(random.bytes(random.below(40))), Broken);
  },
};

const messageRing: FuzzTarget = {
  name: "message-ring",
  step(random) {
    const capacity = random.pick([16, 64, 256]);
    const shared = new SharedArrayBuffer(ByteRing.bytes(capacity));
    const ring = () => new MessageRing(new ByteRing(shared, 0, capacity));
    const [writer, reader] = [ring(), ring()];
    for (let i = 0; i < 8; i++) {
      writer.tryWrite(random.below(65536), random.bytes(random.below(writer.longest + 1)));
    }
    // The other side is confined, not trusted: it may have written anything at all.
    const all = new Uint8Array(shared);
    if (random.below(2) === 0) all.set(damaged(random, all.slice()).subarray(0, all.length));
    for (let i = 0; i < 32; i++) {
      const got = orRefused(() => reader.tryRead(), Broken);
      if (got === undefined) return;
      assert(got.bytes.length <= capacity, "a message is no longer than its ring");
    }
  },
};

function drawFrame(random: Prng): ExecFrame {
  const payload = random.bytes(random.pick([0, 1, random.below(100)]));
  return { kind: random.pick(Object.values(EXEC_FRAME)), id: random.below(1000), payload };
}

/** The header of a frame that is too long to be one. */
function forgedHeader(random: Prng): Uint8Array {
  const length = EXEC_PAYLOAD_BYTES + 1 + random.below(900_000);
  return new TextEncoder().encode(`${random.pick(Object.values(EXEC_FRAME))} 1 ${length}\n`);
}

/** Feeds bytes in pieces of random lengths. */
function feed(random: Prng, bytes: Uint8Array): ExecFrame[] {
  const reader = new ExecFrameReader();
  const frames: ExecFrame[] = [];
  for (let at = 0; at < bytes.length;) {
    const next = at + 1 + random.below(40);
    frames.push(...reader.push(bytes.subarray(at, next)));
    at = next;
  }
  return frames;
}

const execFrames: FuzzTarget = {
  name: "exec-frames",
  step(random) {
    const sent = Array.from({ length: random.below(6) }, () => drawFrame(random));
    const good = concatBytes(sent.map(encodeExecFrame));
    // What is no frame is skipped up to its line's end: the frames behind it still arrive.
    const bytes = random.below(4) === 0 ? concatBytes([forgedHeader(random), good]) : good;
    const got = feed(random, bytes);
    assert(got.length === sent.length, "every frame arrives, however the bytes are cut");
    got.forEach((frame, i) => {
      assert(frame.id === sent[i]!.id && equal(frame.payload, sent[i]!.payload), "frames return");
    });
    for (const frame of feed(random, damaged(random, bytes))) {
      assert(frame.payload.length <= EXEC_PAYLOAD_BYTES, "a payload is within its limit");
    }
  },
};

/** The targets of this file. */
export const STREAM_TARGETS: readonly FuzzTarget[] = [message, messageRing, execFrames];
