/**
 * The interrupt controller against the PLIC Specification 1.0.
 */
import { assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { MAP } from "./registers.ts";
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
    enable: (number: number, sources: readonly number[]) => {
      const bits = sources.reduce((sum, source) => sum | 1 << source, 0);
      write(MAP.enable + number * MAP.enableStride, bits >>> 0);
    },
    threshold: (number: number, value: number) => write(context(number), value),
    claim: (number: number) => device.read(context(number) + 4, 4),
    complete: (number: number, source: number) => write(context(number) + 4, source),
    pending: () => device.read(MAP.pending, 4),
    line: (hart: number, line: 9 | 11) => {
      const start = `hart ${hart} line ${line} `;
      return around.log.filter((entry) => entry.startsWith(start)).at(-1) === `${start}true`;
    },
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
  plic.enable(SUPERVISOR, [0]);
  plic.raise(0);
  plic.raise(1000);
  assertEquals([plic.pending(), plic.line(0, 9)], [0, false]);
});
