/** Claims of the boot plan: where images go, what does not fit, which privilege a machine starts in. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type SmallElf, smallElf } from "../../_support/small_elf.ts";
import { ConfigError } from "../../../kernel/base/errors.ts";
import { MiB } from "../../../kernel/base/units.ts";
import { type BootOptions, DEVICE_TREE_BYTES, planBoot } from "../../../kernel/machine/boot.ts";
import { readElf } from "../../../kernel/machine/elf.ts";
import type { BootImage } from "../../../kernel/machine/image.ts";

const RAM = 0x8000_0000;
const raw = (length: number): BootImage => ({ kind: "raw", bytes: new Uint8Array(length) });
const linux = (imageBytes: number): BootImage => ({
  kind: "linux",
  bytes: new Uint8Array(4096),
  textOffset: 2 * MiB,
  imageBytes,
});
const elf = (options: SmallElf = {}): BootImage => {
  const bytes = smallElf(new Uint8Array(16), options);
  return { kind: "elf", elf: readElf(bytes), bytes };
};
const plan = (options: Partial<BootOptions>) =>
  planBoot({ bios: "builtin", ramBytes: 64 * MiB, ...options });

Deno.test("kernels start in supervisor mode 2 MiB into memory, or in machine mode at its start", () => {
  const builtin = plan({ kernel: raw(100) });
  assertEquals([builtin.entry, builtin.privilege], [RAM + 2 * MiB, "supervisor"]);
  const none = plan({ kernel: raw(100), bios: "none" });
  assertEquals([none.entry, none.privilege], [RAM, "machine"]);
  assertEquals(plan({ kernel: linux(8 * MiB) }).entry, RAM + 2 * MiB);
  const high = elf({
    entry: 0xffff_ffff_8000_0004n,
    virtualAddress: 0xffff_ffff_8000_0000n,
    physicalAddress: 0x8040_0000n,
    tohost: 0xffff_ffff_8000_0800n,
  });
  const { entry, tohost } = plan({ kernel: high });
  assertEquals([entry, tohost], [0x8040_0004, 0x8040_0800]);
});

Deno.test("firmware starts first and is told where the kernel is", () => {
  const { entry, privilege, argument2, placements } = plan({ kernel: linux(MiB), bios: raw(64) });
  assertEquals([entry, privilege], [RAM, "machine"]);
  const information = placements.find(({ gpa }) => gpa === argument2)!.bytes;
  const words = new BigUint64Array(information.slice().buffer);
  assertEquals(words[0], 0x4942534fn, "OpenSBI's magic");
  assertEquals([words[2], words[3]], [BigInt(RAM + 2 * MiB), 1n]);
});

Deno.test("nothing that is placed overlaps anything else", () => {
  const { placements, deviceTree, initrd } = plan({
    kernel: linux(20 * MiB),
    bios: raw(100_000),
    initrd: new Uint8Array(5 * MiB),
  });
  assertEquals(initrd!.end - initrd!.start, 5 * MiB);
  const areas = placements.map(({ gpa, bytes }) => [gpa, gpa + bytes.length] as const);
  areas.push([deviceTree, deviceTree + DEVICE_TREE_BYTES]);
  areas.push([RAM + 2 * MiB, RAM + 22 * MiB]);
  const others = areas.filter(([start]) => start !== RAM + 2 * MiB);
  others.sort(([a], [b]) => a - b);
  for (let i = 1; i < others.length; i++) assert(others[i]![0] >= others[i - 1]![1]);
  assert(others.every(([start, end]) => end <= RAM + 2 * MiB || start >= RAM + 22 * MiB));
  assert(others.every(([, end]) => end <= RAM + 64 * MiB));
});

Deno.test("a kernel that wants the firmware's memory is refused", () => {
  const overlap = { kernel: elf(), bios: raw(64) };
  assertThrows(() => plan(overlap), ConfigError, "two images want the memory at 0x80000000");
});

Deno.test("what does not fit is refused with both figures", () => {
  const refused = (options: Partial<BootOptions>) =>
    assertThrows(() => plan(options), ConfigError).message;
  const small = refused({ kernel: linux(62 * MiB) });
  assert(/64M of memory, its kernel and initrd need 6[45]M/.test(small), small);
  const initrd = refused({ kernel: linux(MiB), initrd: new Uint8Array(80 * MiB) });
  assert(/64M of memory, its kernel and initrd need 8\dM/.test(initrd), initrd);
  const outside = refused({ kernel: elf({ physicalAddress: 0x1000n }) });
  assert(/0x1000, outside the guest's 64M of memory at 0x80000000/.test(outside), outside);
  assert(/nothing to boot/.test(refused({})));
});
