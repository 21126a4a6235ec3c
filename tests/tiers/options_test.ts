/**
 * Whole guests under random options of the translator tier, of the caches and of slices: the kernels of the
 * benchmark guest under the firmware with paging on, four harts that share a counter, and the guest that
 * makes every firmware call.
 *
 * Invariant checked: one digest for all options, in the middle and at the end.
 */
import { Prng } from "../../kernel/base/prng.ts";
import { readImage } from "../../kernel/machine/image.ts";
import type { MachineConfig } from "../../kernel/machine/machine.ts";
import { assertSameOnTiers, firstSeed } from "../_support/tiers.ts";

const KERNELS =
  "alu crc copy matrix sieve chase recursion bytecode sort nbody dmatrix fft montecarlo".split(" ");
/** More instructions than any guest here executes. */
const END = 10_000_000;
const SLICES = [3000, 50_000, END];
const MiB = 1 << 20;

async function compare(
  file: string,
  label: number,
  config: Partial<MachineConfig>,
  middle: number,
): Promise<void> {
  const url = new URL(`../../guests/${file}`, import.meta.url);
  const kernel = await readImage(await Deno.readFile(url));
  const seed = firstSeed() + label;
  const rng = new Prng(seed);
  const moments = [rng.below(middle), END];
  assertSameOnTiers(seed, rng, { config: { kernel, ...config }, moments, slices: SLICES });
}

Deno.test("the benchmark guest is one machine under all options", async () => {
  for (const [i, name] of KERNELS.entries()) {
    const append = `bench=${name} scale=1`;
    const config = { bios: "builtin", append, memoryBytes: 48 * MiB } as const;
    await compare("bench/bench.elf", i, config, 3_000_000);
  }
});

Deno.test("harts that share a counter are one machine under all options", async () => {
  for (const harts of [4, 4, 5]) await compare("bare/smp.elf", harts, { harts }, 60_000);
});

Deno.test("a guest that calls the firmware is one machine under all options", async () => {
  const config = { bios: "builtin", harts: 2, memoryBytes: 16 * MiB } as const;
  await compare("isa/sbi/sbi.elf", 0, config, 20_000);
});
