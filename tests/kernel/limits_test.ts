/** Claims that the machine keeps the bounds of limits.ts. */
import { assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { ConfigError } from "../../kernel/base/errors.ts";
import { parsePowerOn, type PowerOnOptions } from "../../kernel/config.ts";
import {
  DRIVES_MAXIMUM,
  GUEST_MEMORY_DEFAULT,
  GUEST_MEMORY_MAXIMUM,
  GUEST_MEMORY_MINIMUM,
  HARTS_MAXIMUM,
  VIRTIO_SLOTS_MAXIMUM,
  WASM_MEMORY_MAXIMUM,
  WASM_PAGE_BYTES,
} from "../../kernel/limits.ts";
import { MACHINE_STATE } from "../../kernel/machine/machine_state.ts";
import { BOARD, virtioSlot } from "../../kernel/machine/memory_map.ts";
import { planMemory } from "../../kernel/memory/memory_plan.ts";

const spec = (options: PowerOnOptions) => parsePowerOn({ kernel: "Image", ...options }, {}, "vm");

const plan = (ramBytes: number, harts: number) =>
  planMemory({
    ramBytes,
    harts,
    deviceStateBytes: 1024 * 1024,
    tlbEntries: 4096,
    cacheElements: 64,
    decodedPages: 2048,
    nondetEntries: 4096,
  });

Deno.test("a name and a command line that no checkpoint could keep are refused", () => {
  const longest = { name: "n".repeat(256), append: "a".repeat(65536) };
  assertEquals(spec(longest).name, longest.name);
  assertThrows(
    () => spec({ name: `${longest.name}n` }),
    ConfigError,
    "has 257 characters: expected at most 256",
  );
  assertThrows(() => spec({ append: `${longest.append}a` }), ConfigError, "at most 65536");
});

Deno.test("the state has room for every hart, and the slots' interrupts end before the serial port's", () => {
  assertEquals(MACHINE_STATE.fields.hartState.byteLength, 4 * HARTS_MAXIMUM);
  assertEquals(virtioSlot(VIRTIO_SLOTS_MAXIMUM - 1).irq < BOARD.uart16550!.irq, true);
});

Deno.test("a power-on takes the largest of everything and refuses one more", () => {
  const drives = (count: number) => Array.from({ length: count }, () => "disk.raw");
  const most = spec({
    memory: GUEST_MEMORY_MAXIMUM,
    harts: HARTS_MAXIMUM,
    drives: drives(DRIVES_MAXIMUM),
  });
  assertEquals(most.memoryBytes, GUEST_MEMORY_MAXIMUM);
  assertEquals(spec({}).memoryBytes, GUEST_MEMORY_DEFAULT);
  assertEquals(spec({ memory: GUEST_MEMORY_MINIMUM }).memoryBytes, GUEST_MEMORY_MINIMUM);
  for (
    const refused of [
      { memory: GUEST_MEMORY_MAXIMUM + WASM_PAGE_BYTES },
      { memory: GUEST_MEMORY_MINIMUM - WASM_PAGE_BYTES },
      { harts: HARTS_MAXIMUM + 1 },
      { drives: drives(DRIVES_MAXIMUM + 1) },
    ]
  ) assertThrows(() => spec(refused), ConfigError);
});

Deno.test("the largest machine fits into one WebAssembly memory, with one hart more it is refused", () => {
  const { wasmPages } = plan(GUEST_MEMORY_MAXIMUM, HARTS_MAXIMUM);
  assertEquals(wasmPages * WASM_PAGE_BYTES <= WASM_MEMORY_MAXIMUM, true);
  assertThrows(() => plan(GUEST_MEMORY_MINIMUM, HARTS_MAXIMUM + 1), Broken);
});
