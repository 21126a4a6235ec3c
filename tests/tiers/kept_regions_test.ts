/**
 * Regions that are kept for later runs: read as they were written, refused when damaged, placed where
 * memory holds their code and nowhere else; and what tells that their version must be raised.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../../kernel/base/errors.ts";
import { Digest } from "../../kernel/base/checksum.ts";
import { readImage } from "../../kernel/machine/image.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import {
  decodeRegions,
  encodeRegions,
  layoutOf,
  TRANSLATION_VERSION,
} from "../../kernel/translator/kept_regions.ts";
import { KeepingCompiler } from "../_support/compilers.ts";
import { golden } from "../_support/golden.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";

const EAGER = { heat: 20, batch: 3 };
const BENCH = new URL("../../guests/bench/bench.elf", import.meta.url);

async function bench(kernel: string, config: Partial<MachineConfig>): Promise<Machine> {
  const machine = testMachine({
    kernel: await readImage(await Deno.readFile(BENCH)),
    bios: "builtin",
    append: `bench=${kernel} scale=1`,
    translator: EAGER,
    ...config,
  });
  runToEnd(machine);
  return machine;
}

Deno.test("a second run places what the first one kept, and is the same machine", async () => {
  const first = new KeepingCompiler();
  const before = await bench("sort", { compiler: first });
  const kept = decodeRegions(encodeRegions(first.plan!, first.regions));
  assertEquals(kept.layout, layoutOf(first.plan!));
  const second = new KeepingCompiler(kept);
  const after = await bench("sort", { compiler: second });
  assertEquals(after.digest(), before.digest());
  assertEquals(after.icount, before.icount);
  const { kept: known, placed } = after.translator!.statistics;
  assertEquals(known, first.regions.length);
  assert(placed > 0, "something kept is placed");
  assert(second.regions.length < first.regions.length / 2, `${second.regions.length} made anew`);
});

Deno.test("regions of other code are placed nowhere", async () => {
  const first = new KeepingCompiler();
  const before = await bench("sort", { compiler: first });
  const kept = decodeRegions(encodeRegions(first.plan!, first.regions));
  for (const { parts } of kept.regions) for (const { code } of parts) code[0]! ^= 0x80;
  const after = await bench("sort", { compiler: new KeepingCompiler(kept) });
  assertEquals(after.digest(), before.digest());
  const { regions, placed } = after.translator!.statistics;
  assertEquals(placed, regions);
});

Deno.test("kept regions that are cut, damaged or of another version are refused", async () => {
  const compiler = new KeepingCompiler();
  await bench("alu", { compiler });
  const bytes = encodeRegions(compiler.plan!, compiler.regions);
  for (let length = 0; length < bytes.length; length += 1 + (length >> 1)) {
    assertThrows(() => decodeRegions(bytes.slice(0, length)), FormatError);
  }
  for (let at = 0; at < bytes.length; at += 1 + (at >> 2)) {
    // Bytes 12 to 15 of the head mean nothing.
    if (at >= 12 && at < 16) continue;
    const damaged = bytes.slice();
    damaged[at]! ^= 1;
    assertThrows(() => decodeRegions(damaged), FormatError, undefined, `byte ${at}`);
  }
});

Deno.test("what regions are made of changes only with its version", async () => {
  const lines: string[] = [];
  for (const kernel of ["alu", "crc", "copy", "matrix", "recursion", "bytecode", "sort", "nbody"]) {
    const compiler = new KeepingCompiler();
    await bench(kernel, { compiler, tlbEntries: 1024 });
    const digest = new Digest();
    for (const { finished: { body } } of compiler.regions) {
      digest.words(Uint32Array.from(body));
    }
    lines.push(`${kernel} ${compiler.regions.length} ${digest.hex()}`);
  }
  await golden(`translator/version_${TRANSLATION_VERSION}`, lines.join("\n"));
});
