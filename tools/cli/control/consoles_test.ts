/** Claims about consoles with any number of readers. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { HostError } from "../../../mod.ts";
import {
  BACKLOG_BYTES,
  type ConsoleOwner,
  Consoles,
  RING_BYTES,
  SharedConsole,
} from "./consoles.ts";

/** A VM whose input goes nowhere until it is let go on. */
function owner(readable = new ReadableStream<Uint8Array>()) {
  const written: number[] = [];
  const sizes: string[] = [];
  const gates: (() => void)[] = [];
  const waits = () => new Promise<void>((resolve) => gates.push(resolve));
  const console = {
    device: "uart0",
    readable,
    writable: new WritableStream<Uint8Array>(),
    write: (bytes: string | Uint8Array) => {
      written.push(bytes.length);
      return waits();
    },
    resize: (columns: number, rows: number) => {
      sizes.push(`${columns}x${rows}`);
      return waits();
    },
  };
  const vm: ConsoleOwner = { name: "web", console };
  return { vm, written, sizes, open: () => gates.splice(0).forEach((gate) => gate()) };
}

/** The byte at a place of an endless output. */
const byteAt = (at: number) => (at * 7 + (at >> 8)) & 0xff;

function printed(from: number, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => byteAt(from + i));
}

Deno.test("readers see what was printed, in order; what one lost is counted", async () => {
  const steps = fc.array(
    fc.record({
      print: fc.oneof(fc.nat(300), fc.constantFrom(RING_BYTES - 1, RING_BYTES, RING_BYTES + 5)),
      read: fc.boolean(),
      most: fc.integer({ min: 1, max: 100_000 }),
    }),
    { maxLength: 12 },
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(RING_BYTES), steps, async (before, steps) => {
      const shared = new SharedConsole(owner().vm);
      shared.push(printed(0, before));
      using view = shared.watch();
      let at = Math.max(0, before - BACKLOG_BYTES);
      const read = async (most: number) => {
        const piece = await view.next(most);
        if (piece === undefined) return false;
        assert(piece.bytes.length > 0 && piece.bytes.length <= most);
        at += piece.dropped;
        assert(piece.bytes.every((byte, i) => byte === byteAt(at + i)), `bytes at ${at}`);
        at += piece.bytes.length;
        return true;
      };
      for (const { print, read: reads, most } of steps) {
        shared.push(printed(shared.written, print));
        if (reads && at < shared.written) await read(most);
        assert(shared.written - at <= RING_BYTES || at + RING_BYTES < shared.written);
      }
      shared.end();
      while (await read(100_000)) { /* to the end */ }
      assertEquals(at, shared.written);
    }),
    { numRuns: 30 },
  );
});

Deno.test("a reader waits for what comes, and is let go when it is closed", async () => {
  const shared = new SharedConsole(owner().vm);
  const [a, b] = [shared.watch(), shared.watch()];
  const waiting = [a.next(10), b.next(10)];
  shared.push(new TextEncoder().encode("hello"));
  for (const piece of await Promise.all(waiting)) {
    assertEquals(piece, { dropped: 0, bytes: new TextEncoder().encode("hello") });
  }
  const left = a.next(10);
  a.close();
  assertEquals(await left, undefined);
  const last = b.next(10);
  shared.end();
  assertEquals(await last, undefined);
});

Deno.test("input that the guest does not read is bounded", async () => {
  const { vm, written, open } = owner();
  const shared = new SharedConsole(vm);
  const typing: Promise<void>[] = [];
  const piece = new Uint8Array(64 * 1024);
  for (let i = 0; i < 32; i++) typing.push(shared.type(piece));
  await assertRejects(() => shared.type(piece), HostError, "bytes of input yet to read");
  assertEquals(written.length, 32);
  open();
  await Promise.all(typing);
  const next = shared.type(piece);
  open();
  await next;
});

Deno.test("of sizes that wait for the guest only the last is told", async () => {
  const { vm, sizes, open } = owner();
  const shared = new SharedConsole(vm);
  for (let columns = 1; columns <= 1000; columns++) shared.resize(columns, 24);
  assertEquals(sizes, ["1x24"]);
  while (sizes.length < 2) {
    open();
    await new Promise((resolve) => setTimeout(resolve));
  }
  open();
  assertEquals(sizes, ["1x24", "1000x24"]);
});

Deno.test("a console that somebody else reads cannot be shared", () => {
  const readable = new ReadableStream<Uint8Array>();
  readable.getReader();
  const { vm } = owner(readable);
  const consoles = new Consoles();
  try {
    consoles.of(vm);
    assert(false, "it was shared");
  } catch (error) {
    assert(error instanceof HostError && error.message.includes("its own process"));
  }
  assertEquals(consoles.fedBy(vm), consoles.of(vm));
});
