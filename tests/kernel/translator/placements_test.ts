/** Claims about where translations lie: the same code may lie at several places at once. */
import { assert, assertEquals } from "@std/assert";
import { Placements } from "../../../kernel/translator/placements.ts";
import type { Translation } from "../../../kernel/translator/translation.ts";
import { testMachine } from "../../_support/machine.ts";

Deno.test("a translation that lies at two places is left at one when the other is written", () => {
  const { core, memory } = testMachine({
    memoryBytes: 8 << 20,
    kernel: { kind: "raw", bytes: new Uint8Array(4) },
  });
  const { ramStart } = core.plan;
  const code = Uint16Array.of(0x0585, 0x8082);
  const translation: Translation = {
    parts: [{ page: 0, first: 4, code }],
    entries: [4],
    instructions: 2,
    slot: 1,
  };
  const left: number[] = [];
  const placements = new Placements(core, (_region, count) => left.push(count));
  for (const page of [100, 200]) {
    memory.write(ramStart + page * 4096 + 8, new Uint8Array(code.buffer));
    assert(placements.place(translation, () => page) !== undefined);
  }
  // Placing it where it lies already makes no other region.
  placements.forget(100 * 2048 + 4);
  placements.place(translation, () => 100);
  placements.written(100, 0, 8);
  assertEquals(left, []);
  placements.written(100, 10, 2);
  assertEquals(left, [1]);
  assertEquals(placements.at(200 * 2048 + 4)?.region.translation, translation);
  placements.written(200, 8, 1);
  assertEquals(left, [1, 0]);
});
