/**
 * Random recordings, replayed: every one must be the same machine again, whatever the tiers, the sizes of
 * the caches and the slices are (issue 4, bars).
 */
import { assert, assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import type { ClockKind } from "../../kernel/machine/clock.ts";
import { readImage } from "../../kernel/machine/image.ts";
import { hostCompression } from "../../kernel/host/compression.ts";
import { LogReader } from "../../kernel/replay/log_reader.ts";
import { EVENT_RECORD } from "../../kernel/replay/record_table.ts";
import { recordStorm, replayRecording, type TestRecording } from "../_support/recording.ts";
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
    clock: rng.pick<ClockKind>(["virtual", "host", "exact"]),
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
  let compared = 0;
  forSeeds(200, (seed, rng) => {
    const recording = stormRecording(rng);
    const { clock, harts } = recording.config;
    const largest = rng.pick([300, 70_000, 50_000_000]);
    const slice = () => 1 + rng.below(largest);
    const options = {
      ...rng.below(3) === 0 ? { tier: "interpreter" as const } : randomOptions(rng),
    };
    const { machine, stop, console, epochs } = replayRecording(recording, options, { slice });
    const what = `seed ${seed}: clock ${clock}, ${harts} harts`;
    assert(stop.kind === "end", `${what}: ${JSON.stringify(stop)}`);
    assertEquals(machine.icount, recording.icount, what);
    assertEquals(console, recording.console, what);
    assertEquals(machine.digest(), recording.digest, what);
    assert(epochs > 0, what);
    compared += epochs;
    const kind = `${clock} ${harts} ${stop.why}`;
    ended.set(kind, (ended.get(kind) ?? 0) + 1);
  });
  const kinds = [...ended].map((pair) => pair.join(": ")).join(", ");
  console.log(`from seed ${firstSeed()}: ${kinds}; ${compared} epochs compared`);
});

/** Epochs of a recording, in order. */
function epochsOf(recording: TestRecording): number[] {
  const log = new LogReader("events", recording.segments.events, hostCompression.unpack);
  const records = log.frames.flatMap((_, frame) => log.records(frame));
  return records.filter(({ kind }) => kind === EVENT_RECORD.epoch).map(({ stamp }) => stamp.icount);
}

Deno.test("a divergence of one bit is found at its own epoch, and named", () => {
  forSeeds(10, (seed, rng) => {
    const recording = stormRecording(rng);
    const epochs = epochsOf(recording);
    const moment = 20_000 + rng.below(recording.icount - 30_000);
    const flips = rng.pick(["page", "register"]);
    let done = false;
    const { stop, epochs: equal } = replayRecording(recording, {}, {
      drive: (machine, budget) => {
        const left = done ? budget : Math.min(budget, moment - machine.icount);
        const ended = machine.run(Math.max(1, left));
        if (done || machine.icount < moment) return ended;
        done = true;
        // Nothing but this bit differs: the guest uses neither the page nor the register.
        const unused = machine.core.plan.ramStart + (15 << 20);
        if (flips === "register") machine.core.setRegister(0, "sscratch", 1n << 40n);
        else machine.memory.setInteger(unused + 5, 1, 4);
        return ended;
      },
    });
    assert(done && stop.kind === "diverged", `seed ${seed}: ${JSON.stringify(stop)}`);
    const named = flips === "register"
      ? "hart 0 sscratch: recorded 0x0, replayed 0x10000000000"
      : `page ${(15 << 20) >> 12}: recorded not written`;
    assert(stop.what.includes(named), stop.what);
    const own = epochs.findIndex((icount) => icount >= moment);
    assert(stop.what.includes(`at icount ${epochs[own]}`), `${moment}, ${epochs}: ${stop.what}`);
    assertEquals(equal, own);
  });
});
