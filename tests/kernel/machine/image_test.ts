/** Claims of the loader: which files it takes, what it makes of them, how it refuses others. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type SmallElf, smallElf } from "../../_support/small_elf.ts";
import { FormatError } from "../../../kernel/base/errors.ts";
import { physicalAddress, readElf } from "../../../kernel/machine/elf.ts";
import { gunzip, readImage } from "../../../kernel/machine/image.ts";

const CONTENT = Uint8Array.from({ length: 16 }, (_, i) => i);

function linuxImage(textOffset: bigint, imageBytes: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(8, textOffset, true);
  view.setBigUint64(16, imageBytes, true);
  view.setUint32(56, 0x05435352, true);
  return bytes;
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

Deno.test("readElf() gives entry, segments with their zeroed tail, and symbols", () => {
  const elf = readElf(smallElf(CONTENT, { entry: 0x8000_0008n, tohost: 0x8000_0800n }));
  assertEquals(elf.entry, 0x8000_0008n);
  assertEquals(elf.segments, [{
    address: 0x8000_0000,
    virtualAddress: 0x8000_0000n,
    bytes: CONTENT,
    memoryBytes: 4096,
  }]);
  assertEquals(elf.symbols.map(({ name, value }) => [name, value]), [["tohost", 0x8000_0800n]]);
});

Deno.test("readElf() says what a file is that cannot run here", () => {
  const cases: [SmallElf, string][] = [
    [{ bits: 1 }, "a 32-bit ELF file; this machine is RV64"],
    [{ order: 2 }, "big-endian"],
    [{ machine: 62 }, "an ELF file for x86-64, not RISC-V"],
    [{ machine: 4711 }, "machine 4711"],
    [{ memoryBytes: 8n }, "segment 0 is larger in the file"],
    [{ physicalAddress: 1n << 60n }, "absurd"],
  ];
  for (const [options, message] of cases) {
    assertThrows(() => readElf(smallElf(CONTENT, options)), FormatError, message);
  }
  for (const length of [5, 63, 100, 460]) {
    assertThrows(() => readElf(smallElf(CONTENT).subarray(0, length)), FormatError, "cut off");
  }
});

Deno.test("physicalAddress() enters a kernel that is linked high where it is loaded", () => {
  const high = { virtualAddress: 0xffff_ffff_8000_0000n, physicalAddress: 0x8020_0000n };
  const elf = readElf(smallElf(CONTENT, high));
  assertEquals(physicalAddress(elf, 0xffff_ffff_8000_0010n), 0x8020_0010);
  assertEquals(physicalAddress(elf, 0x8020_0004n), 0x8020_0004);
});

Deno.test("readImage() tells ELF, Linux Image and raw binaries apart, also gzip'd", async () => {
  const linux = linuxImage(0x20_0000n, 0x40_0000n);
  assertEquals((await readImage(smallElf(CONTENT))).kind, "elf");
  for (const bytes of [linux, await gzip(linux)]) {
    assertEquals(await readImage(bytes), {
      kind: "linux",
      bytes: linux,
      textOffset: 0x20_0000,
      imageBytes: 0x40_0000,
    });
  }
  assertEquals(await readImage(CONTENT), { kind: "raw", bytes: CONTENT });
  await assertRejects(() => readImage(new Uint8Array(0)), FormatError, "empty");
});

Deno.test("gunzip() refuses data that is damaged or cut off", async () => {
  const packed = await gzip(new Uint8Array(100_000).map((_, i) => i * 7));
  assertEquals((await gunzip(packed)).length, 100_000);
  const cut = packed.subarray(0, packed.length - 20);
  await assertRejects(() => gunzip(cut), FormatError, "damaged or cut off");
  const damaged = Uint8Array.from(packed);
  damaged[packed.length - 6]! ^= 1;
  await assertRejects(() => gunzip(damaged), FormatError, "damaged or cut off");
});
