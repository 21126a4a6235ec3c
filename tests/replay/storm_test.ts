/**
 * Random recordings, replayed: every one must be the same machine again, whatever the tiers, the sizes of
 * the caches and the slices are (issue 4, bars).
 */
import { assert, assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { readImage } from "../../kernel/machine/image.ts";
import { recordStorm, replayRecording } from "../_support/recording.ts";
import { firstSeed, forSeeds, randomOptions } from "../_support/tiers.ts";

const STORM = new URL("../../guests/storm/storm.elf", import.meta.url);
const kernel = await readImage(await Deno.readFile(STORM));

/** A recording by chance. */
export function stormRecording(rng: Prng) {
  const config = {
    kernel,
    bios: "builtin",
    memoryBytes: 16 << 20,
    harts: rng.pick([1, 4]),
    clock: rng.pick<"virtual" | "host">(["virtual", "host"]),
    seed: rng.u64(),
  } as const;
  const storm = {
    rng,
    slices: rng.pick([[1000], [100, 30_000], [500_000], [20_000]]),
    // Most are cut short; some come to their own end.
    most: rng.below(20) === 0 ? 30_000_000 : 100_000 + rng.below(1_500_000),
  };
  return recordStorm(config, rng.bytes(64 * 512), storm);
}

Deno.test("200 random recordings replay without a divergence", () => {
  const ended = new Map<string, number>();
  forSeeds(200, (seed, rng) => {
    const recording = stormRecording(rng);
    const { clock, harts } = recording.config;
    const largest = rng.pick([300, 70_000, 50_000_000]);
    const slice = () => 1 + rng.below(largest);
    const options = {
      ...rng.below(3) === 0 ? { tier: "interpreter" as const } : randomOptions(rng),
    };
    const { machine, stop, console } = replayRecording(recording, options, { slice });
    const what = `seed ${seed}: clock ${clock}, ${harts} harts`;
    assert(stop.kind === "end", `${what}: ${JSON.stringify(stop)}`);
    assertEquals(machine.icount, recording.icount, what);
    assertEquals(console, recording.console, what);
    assertEquals(machine.digest(), recording.digest, what);
    const kind = `${clock} ${harts} ${stop.why}`;
    ended.set(kind, (ended.get(kind) ?? 0) + 1);
  });
  console.log(`from seed ${firstSeed()}: ${[...ended].map((pair) => pair.join(": ")).join(", ")}`);
});
