/**
 * The two tiers on hot code that is patched while it is hot (_support/patching_program.ts). Stores are
 * visible to fetches at once.
 *
 * Invariant checked: any options of either tier, any slices and any moment give the same machine.
 */
import { assert } from "@std/assert";
import { patchByDevice, patchingImage } from "../_support/patching_program.ts";
import { assertSameOnTiers, forSeeds, randomMoments } from "../_support/tiers.ts";

const PROGRAMS = 14;
const LIMIT = 25_000;

Deno.test("code that is patched while it is hot runs alike on both tiers", () => {
  const total = { instructions: 0, dropped: 0 };
  forSeeds(PROGRAMS, (seed, rng) => {
    const harts = rng.pick([1, 1, 2, 4]);
    const kernel = { kind: "raw", bytes: patchingImage(rng, harts) } as const;
    const moments = randomMoments(rng, 4, harts * LIMIT);
    const disturb = patchByDevice(seed);
    const did = assertSameOnTiers(seed, rng, { config: { kernel, harts }, moments, disturb });
    total.instructions += did.instructions;
    total.dropped += did.dropped;
  });
  const { instructions, dropped } = total;
  assert(instructions > 100_000, `only ${instructions} instructions ran in regions`);
  assert(dropped > 100, `only ${dropped} regions were dropped`);
});
