/** Claims about the difference of two checkpoints: pages by content, registers by name, devices. */
import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { ConfigError, FormatError } from "../../../kernel/base/errors.ts";
import { pageRanges } from "../../../kernel/checkpoint/checkpoint_diff.ts";
import type { CheckpointStore } from "../../../kernel/checkpoint/checkpoint_store.ts";
import { RAM_START } from "../../../kernel/limits.ts";
import type { MachineImage } from "../../../kernel/machine/machine_image.ts";
import { HART, HART_LAYOUT_VERSION } from "../../../kernel/memory/hart_layout.ts";
import {
  aboutOf,
  encodePages,
  type Memory,
  stateOf,
  testStore,
} from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

/** An image of a machine with so many harts, one device and all zeros. */
function imageOf(harts: number, change: (image: Changed) => void = () => {}): MachineImage {
  const state = (name: string, bytes: number) => ({
    name,
    layout: name,
    version: 1,
    bytes: new Uint8Array(bytes),
  });
  const image: Changed = {
    version: 1,
    memoryBytes: 16 * 4096,
    harts: {
      version: HART_LAYOUT_VERSION,
      count: harts,
      bytes: new Uint8Array(harts * HART.byteLength),
    },
    current: 0,
    clock: [0, 0, 1, 0],
    machine: state("machine", 8),
    devices: [state("uart0", 16), state("plic0", 32)],
    diskResults: [],
  };
  change(image);
  return image as MachineImage;
}

// deno-lint-ignore no-explicit-any
type Changed = any;

async function save(store: CheckpointStore, memory: Memory, image: unknown): Promise<string> {
  const save = await store.beginSave({ memoryPages: memory.length });
  const pages = encodePages(save, memory, {});
  const state = { ...stateOf(memory), image: image as MachineImage };
  return (await save.commit(aboutOf(), state, pages)).id;
}

Deno.test("pages differ that plain memory says differ, however they are stored", async () => {
  const page = fc.constantFrom(0, 1, 2, 1001, 1002);
  const memory = fc.array(page, { minLength: 16, maxLength: 16 });
  await fc.assert(
    fc.asyncProperty(memory, memory, async (one, two) => {
      const store = testStore(new CrashFiles());
      const a = await save(store, one, imageOf(1));
      const b = await save(store, two, imageOf(1));
      const { pages, ranges, registers, machine, devices } = await store.diff(a, b);
      const expected = one.flatMap((each, i) => each === two[i] ? [] : [i]);
      assertEquals([...pages], expected);
      assertEquals([registers, machine, devices], [[], false, []]);
      const covered = ranges.flatMap(({ address, pages }) =>
        Array.from({ length: pages }, (_, i) => (address - RAM_START) / 4096 + i)
      );
      assertEquals(covered, expected);
    }),
    { numRuns: 25 },
  );
});

Deno.test("ranges are pages beside each other, by guest-physical address", () => {
  assertEquals(pageRanges(Uint32Array.of()), []);
  assertEquals(pageRanges(Uint32Array.of(0, 1, 2, 7, 9, 10)), [
    { address: RAM_START, pages: 3 },
    { address: RAM_START + 7 * 4096, pages: 1 },
    { address: RAM_START + 9 * 4096, pages: 2 },
  ]);
});

Deno.test("registers, devices and the machine are told by name", async () => {
  const store = testStore(new CrashFiles());
  const memory = Array.from({ length: 16 }, () => 1);
  const a = await save(store, memory, imageOf(2));
  const changed = imageOf(2, (image) => {
    const view = new DataView(image.harts.bytes.buffer);
    view.setBigUint64(HART.offset.x + 10 * 8, 0xabcn, true);
    view.setBigUint64(HART.byteLength + HART.offset.satp, 1n << 63n, true);
    view.setBigUint64(HART.byteLength + HART.offset.pmpaddr + 3 * 8, 7n, true);
    view.setUint32(HART.byteLength + HART.offset.privilege, 3, true);
    image.devices[0].bytes.set([1, 2], 3);
    image.clock[0] = 5;
  });
  const b = await save(store, memory, changed);
  const { registers, machine, devices, harts, pages } = await store.diff(a, b);
  assertEquals(registers, [
    { hart: 0, name: "x10", a: "0x0", b: "0xabc" },
    { hart: 1, name: "privilege", a: "0x0", b: "0x3" },
    { hart: 1, name: "satp", a: "0x0", b: "0x8000000000000000" },
    { hart: 1, name: "pmpaddr3", a: "0x0", b: "0x7" },
  ]);
  assertEquals([machine, harts, pages.length], [true, undefined, 0]);
  assertEquals(devices, [{ name: "uart0", bytes: 2, reason: undefined }]);

  const other = await save(
    store,
    memory,
    imageOf(1, (image) => {
      image.devices[0].version = 2;
      image.devices.pop();
    }),
  );
  const far = await store.diff(a, other);
  assertEquals([far.harts, far.registers], [{ a: "2", b: "1" }, []]);
  assertEquals(far.devices.map(({ name, bytes }) => [name, bytes]), [
    ["uart0", undefined],
    ["plic0", undefined],
  ]);
  assertEquals(far.devices[1]!.reason, "only the first checkpoint has it");
});

Deno.test("checkpoints that cannot be compared are refused by name", async () => {
  const store = testStore(new CrashFiles());
  const memory = Array.from({ length: 16 }, () => 1);
  const a = await save(store, memory, imageOf(1));
  const small = await save(store, [1, 2], imageOf(1));
  await assertRejects(() => store.diff(a, small), ConfigError, "64K of memory");
  await assertRejects(() => store.diff(a, "0".repeat(32)), ConfigError, "There is no checkpoint");
  const broken: [(image: Changed) => void, string][] = [
    [(image) => image.harts.version = 99, "harts of version 99"],
    [(image) => image.harts.count = 2, "bytes of harts"],
    [(image) => image.harts.bytes = "no", "harts.bytes"],
    [(image) => image.harts = null, "harts"],
    [(image) => image.devices = {}, "devices"],
    [(image) => image.devices[0].bytes = 7, "devices[0].bytes"],
    [(image) => image.machine = undefined, "machine"],
  ];
  for (const [change, names] of broken) {
    const bad = await save(store, memory, imageOf(1, change));
    const error = await assertRejects(() => store.diff(a, bad), FormatError);
    assertEquals(
      [error.message.includes(bad), error.message.includes(names)],
      [true, true],
      error.message,
    );
  }
});
