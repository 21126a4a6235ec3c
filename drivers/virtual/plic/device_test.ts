/**
 * The interrupt controller against the PLIC Specification 1.0.
 */
import { assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { MAP, PRIORITY_MASK, SOURCE_WORDS, SOURCES } from "./registers.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

const SUPERVISOR = 1;

/** A controller after power-on, with the level of each hart's external interrupt lines. */
function controller() {
  const { device, around } = attachDevice(declaration as unknown as DeviceDeclaration);
  const write = (offset: number, value: number) => device.write(offset, 4, value);
  const context = (number: number) => MAP.context + number * MAP.contextStride;
  return {
    raise: (source: number) => device.source!(source, true),
    lower: (source: number) => device.source!(source, false),
    priority: (source: number, value: number) => write(4 * source, value),
    /** Enables these sources in a context, and no other. */
    enable: (number: number, sources: readonly number[]) => {
      const words = new Uint32Array(SOURCE_WORDS);
      for (const source of sources) words[source >> 5]! |= 1 << (source & 31);
      const at = MAP.enable + number * MAP.enableStride;
      words.forEach((bits, i) => write(at + 4 * i, bits));
    },
    read: (offset: number) => device.read(offset, 4),
    write,
    threshold: (number: number, value: number) => write(context(number), value),
    claim: (number: number) => device.read(context(number) + 4, 4),
    complete: (number: number, source: number) => write(context(number) + 4, source),
    pending: () => device.read(MAP.pending, 4),
    line: (hart: number, line: 9 | 11) => around.lines.get(`hart ${hart} line ${line}`) ?? false,
    /** Which contexts are notified, in order: machine and supervisor of each hart. */
    notified: () =>
      [0, 1].flatMap((hart) =>
        [11, 9].map((line) => around.lines.get(`hart ${hart} line ${line}`))
      ),
  };
}

Deno.test("a source with priority 0 never interrupts", () => {
  const plic = controller();
  plic.enable(SUPERVISOR, [3]);
  plic.raise(3);
  assertEquals([plic.line(0, 9), plic.claim(SUPERVISOR)], [false, 0]);
  plic.priority(3, 1);
  assertEquals([plic.line(0, 9), plic.claim(SUPERVISOR)], [true, 3]);
});

Deno.test("a context hears what it has enabled, above its threshold, on its own line", () => {
  const plic = controller();
  plic.priority(5, 3);
  plic.enable(0, [5]);
  plic.enable(3, [5]);
  plic.threshold(3, 3);
  plic.raise(5);
  assertEquals([plic.line(0, 11), plic.line(0, 9), plic.line(1, 9)], [true, false, false]);
  plic.threshold(3, 2);
  assertEquals(plic.line(1, 9), true);
});

Deno.test("a claim gives the highest priority, of equals the lowest number", () => {
  const plic = controller();
  for (const [source, priority] of [[2, 1], [7, 4], [4, 4], [9, 2]] as const) {
    plic.priority(source, priority);
    plic.raise(source);
  }
  plic.enable(SUPERVISOR, [2, 4, 7, 9]);
  const order = [1, 2, 3, 4, 5].map(() => plic.claim(SUPERVISOR));
  assertEquals(order, [4, 7, 9, 2, 0]);
  assertEquals(plic.line(0, 9), false);
});

Deno.test("a claimed source is pending again only when it is completed and still high", () => {
  const plic = controller();
  plic.priority(6, 1);
  plic.enable(SUPERVISOR, [6]);
  plic.raise(6);
  assertEquals(plic.claim(SUPERVISOR), 6);
  plic.raise(6);
  assertEquals([plic.pending(), plic.claim(SUPERVISOR)], [0, 0]);
  plic.complete(SUPERVISOR, 6);
  assertEquals([plic.pending(), plic.line(0, 9)], [1 << 6, true]);
  plic.claim(SUPERVISOR);
  plic.lower(6);
  plic.complete(SUPERVISOR, 6);
  assertEquals([plic.pending(), plic.line(0, 9)], [0, false]);
});

Deno.test("a completion by a context that has not enabled the source is ignored", () => {
  const plic = controller();
  plic.priority(6, 1);
  plic.enable(SUPERVISOR, [6]);
  plic.raise(6);
  plic.claim(SUPERVISOR);
  plic.complete(0, 6);
  assertEquals(plic.pending(), 0);
});

Deno.test("source 0 and sources beyond the last do not exist", () => {
  const plic = controller();
  plic.enable(SUPERVISOR, [0, 1]);
  plic.raise(0);
  plic.raise(SOURCES);
  plic.raise(1000);
  assertEquals([plic.pending(), plic.line(0, 9)], [0, false]);
  plic.priority(0, 5);
  plic.priority(SOURCES, 5);
  assertEquals([plic.read(0), plic.read(4 * SOURCES)], [0, 0]);
  assertEquals(plic.read(MAP.enable + MAP.enableStride), 1 << 1);
});

// "The claim operation is not affected by the setting of the priority threshold register."
Deno.test("a claim does not heed the threshold, so that a hart can poll", () => {
  const plic = controller();
  plic.priority(5, 2);
  plic.enable(SUPERVISOR, [5]);
  plic.threshold(SUPERVISOR, PRIORITY_MASK);
  plic.raise(5);
  assertEquals(plic.line(0, 9), false);
  assertEquals([plic.claim(SUPERVISOR), plic.claim(SUPERVISOR)], [5, 0]);
});

// "The gateway does not have the facility to retract an interrupt request once forwarded."
Deno.test("a request stays pending when its source falls silent before the claim", () => {
  const plic = controller();
  plic.priority(5, 2);
  plic.enable(SUPERVISOR, [5]);
  plic.raise(5);
  plic.lower(5);
  assertEquals([plic.pending(), plic.line(0, 9)], [1 << 5, true]);
  assertEquals(plic.claim(SUPERVISOR), 5);
  plic.complete(SUPERVISOR, 5);
  assertEquals([plic.pending(), plic.line(0, 9)], [0, false]);
});

Deno.test("a pulse between claim and completion makes no second request", () => {
  const plic = controller();
  plic.priority(5, 2);
  plic.enable(SUPERVISOR, [5]);
  plic.raise(5);
  plic.claim(SUPERVISOR);
  plic.lower(5);
  plic.raise(5);
  plic.lower(5);
  plic.complete(SUPERVISOR, 5);
  assertEquals(plic.claim(SUPERVISOR), 0);
});

Deno.test("every context that enabled a source is notified, and the first claim takes it", () => {
  const plic = controller();
  plic.priority(40, 1);
  for (const context of [0, 1, 2, 3]) plic.enable(context, [40]);
  assertEquals(plic.notified(), [false, false, false, false]);
  plic.raise(40);
  assertEquals(plic.notified(), [true, true, true, true]);
  assertEquals([plic.claim(3), plic.claim(0)], [40, 0]);
  assertEquals(plic.notified(), [false, false, false, false]);
  // "The PLIC does not check whether the completion ID is the same as the last claim ID."
  plic.complete(0, 40);
  assertEquals(plic.notified(), [true, true, true, true]);
});

Deno.test("after a claim the less urgent sources keep the line high", () => {
  const plic = controller();
  for (const source of [3, 64]) {
    plic.priority(source, source === 3 ? 1 : 2);
    plic.raise(source);
  }
  plic.enable(SUPERVISOR, [3, 64]);
  assertEquals([plic.claim(SUPERVISOR), plic.line(0, 9)], [64, true]);
  assertEquals([plic.claim(SUPERVISOR), plic.line(0, 9)], [3, false]);
});

Deno.test("ties between sources in different words go to the lowest number", () => {
  const plic = controller();
  for (const source of [95, 33, 32, 31]) {
    plic.priority(source, 6);
    plic.raise(source);
  }
  plic.enable(SUPERVISOR, [31, 32, 33, 95]);
  assertEquals([1, 2, 3, 4, 5].map(() => plic.claim(SUPERVISOR)), [31, 32, 33, 95, 0]);
});

Deno.test("disabling a source takes its notification back, and enabling it gives it again", () => {
  const plic = controller();
  plic.priority(5, 2);
  plic.raise(5);
  plic.enable(SUPERVISOR, [5]);
  assertEquals(plic.line(0, 9), true);
  plic.enable(SUPERVISOR, []);
  assertEquals([plic.line(0, 9), plic.claim(SUPERVISOR)], [false, 0]);
  plic.enable(SUPERVISOR, [5]);
  assertEquals([plic.line(0, 9), plic.claim(SUPERVISOR)], [true, 5]);
});

Deno.test("priorities and thresholds keep three bits, pending bits cannot be written", () => {
  const plic = controller();
  plic.priority(SOURCES - 1, 0xffff_ffff);
  plic.threshold(2, 0xffff_fffe);
  assertEquals(plic.read(4 * (SOURCES - 1)), PRIORITY_MASK);
  assertEquals(plic.read(MAP.context + 2 * MAP.contextStride), PRIORITY_MASK - 1);
  plic.write(MAP.pending, 0xffff_ffff);
  assertEquals(plic.pending(), 0);
});

Deno.test("contexts of harts that do not exist hold nothing", () => {
  const plic = controller();
  plic.priority(5, 2);
  plic.enable(4, [5]);
  plic.threshold(4, 3);
  plic.raise(5);
  assertEquals(plic.read(MAP.enable + 4 * MAP.enableStride), 0);
  assertEquals([plic.read(MAP.context + 4 * MAP.contextStride), plic.claim(4)], [0, 0]);
  assertEquals(plic.pending(), 1 << 5);
});
