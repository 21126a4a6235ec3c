/**
 * Random walks of a debugger through random recordings, forwards and backwards: wherever one ends, the
 * machine is what a plain replay is there, and what was hit last is what a run forward hits last
 * (issue 4, "gdb, both directions").
 */
import { assert, assertEquals } from "@std/assert";
import type { Prng } from "../../kernel/base/prng.ts";
import type { DebugPoint } from "../../kernel/debug/target.ts";
import type { ClockKind } from "../../kernel/machine/clock.ts";
import { readImage } from "../../kernel/machine/image.ts";
import { recordStorm, type TestRecording } from "../_support/recording.ts";
import { plainDigests, type PlainHit, plainHits, ReplayWalk } from "../_support/replay_walk.ts";
import { firstSeed, forSeeds, randomOptions } from "../_support/tiers.ts";

const STORM = new URL("../../guests/storm/storm.elf", import.meta.url);
const kernel = await readImage(await Deno.readFile(STORM));
const WALKS = 16;
const MOVES = 25;
/** Points that are hit more often are not used. */
const MOST_HITS = 5000;

function stormRecording(rng: Prng): TestRecording {
  const config = {
    kernel,
    bios: "builtin",
    memoryBytes: 16 << 20,
    harts: rng.pick([1, 4]),
    clock: rng.pick<ClockKind>(["virtual", "host", "exact"]),
    seed: rng.u64(),
  } as const;
  const slices = rng.pick([[1000], [100, 30_000], [500_000], [20_000]]);
  return recordStorm(config, rng.bytes(64 * 512), {
    rng,
    slices,
    most: rng.below(10) === 0 ? 2_000_000 : 100_000 + rng.below(600_000),
  });
}

/** Places that the guest executes and memory that it uses, as a plain replay shows them. */
function sample(rng: Prng, recording: TestRecording): DebugPoint[] {
  const walk = new ReplayWalk(recording, { tier: "interpreter" }, { limitBytes: 1 << 24 });
  const points: DebugPoint[] = [];
  for (let i = 0; i < 12; i++) {
    walk.go({ seek: rng.below(recording.icount) });
    const hart = rng.below(walk.inspector.machine.config.harts);
    const [pc, sp] = walk.inspector.registers(hart, [{ file: "pc" }, { file: "x", number: 2 }]);
    points.push({ kind: "execute", address: pc!, size: 2 });
    const size = rng.pick([1, 8, 64]);
    const kind = rng.pick(["write", "write", "read", "access"] as const);
    points.push({ kind, address: sp! - BigInt(rng.below(256)), size });
    const [anywhere] = walk.inspector.registers(hart, [{ file: "x", number: 10 + rng.below(8) }]);
    if (anywhere! >> 24n === 0x80n) points.push({ kind, address: anywhere!, size });
  }
  return points;
}

/** Where a way back from an icount ends; undefined: at the beginning. */
function lastBefore(hits: readonly PlainHit[], icount: number): PlainHit | undefined {
  return hits.findLast((hit) => positionOf(hit) < icount);
}

function positionOf({ why, icount }: PlainHit): number {
  return why === "watchpoint" ? icount - 1 : icount;
}

interface Counts {
  back: number;
  stepped: number;
  restarts: number;
}

class Walker {
  /** Digests of where budgets and steps ended. */
  readonly #seen: [icount: number, digest: string, what: string][] = [];
  readonly #walk: ReplayWalk;
  readonly #points: readonly DebugPoint[];
  readonly #hits = new Map<string, PlainHit[] | undefined>();
  #active: DebugPoint[] = [];

  constructor(
    private readonly recording: TestRecording,
    private readonly rng: Prng,
    private readonly what: string,
    private readonly counts: Counts,
  ) {
    const options = {
      ...rng.below(3) === 0 ? { tier: "interpreter" as const } : randomOptions(rng),
      ...rng.below(3) > 0 && { marksExecution: true },
    };
    this.#walk = new ReplayWalk(recording, options, {
      limitBytes: rng.pick([0, 300 << 10, 3 << 20, 1 << 28]),
      spacing: rng.pick([3000, 20_000, 100_000]),
    }, rng.below(2) === 0);
    this.#points = sample(rng, recording);
    this.#changePoints();
  }

  move(): void {
    const { rng, recording } = this;
    switch (rng.below(8)) {
      case 0:
      case 1:
        return this.#seek(rng.below(recording.icount + 1000));
      case 2:
        return this.#stepBack();
      case 3:
        return this.#step();
      case 4:
        return this.#forward();
      case 5:
        return this.#changePoints();
      default:
        return this.#backward();
    }
  }

  /** All that was seen is what a plain replay shows, and all outputs left once. */
  end(): void {
    const walk = this.#walk;
    this.#seek(this.recording.icount + 1);
    assertEquals(walk.console, this.recording.console, this.what);
    const plain = plainDigests(this.recording, this.#seen.map(([icount]) => icount));
    for (const [icount, digest, what] of this.#seen) {
      assertEquals(digest, plain.get(icount), `${this.what}: ${what} to ${icount}`);
    }
    this.counts.restarts += walk.restarts;
  }

  #note(what: string): void {
    this.#seen.push([this.#walk.icount, this.#walk.digest(), what]);
  }

  #seek(icount: number): void {
    const walk = this.#walk;
    const from = walk.icount;
    walk.go({ seek: icount });
    assertEquals(walk.icount, Math.min(icount, this.recording.icount), this.what);
    this.#note(`seek from ${from}`);
  }

  #executed(hart: number): bigint {
    return this.#walk.timeline.machine.core.register(hart, "executed");
  }

  #stepBack(): void {
    const walk = this.#walk;
    const from = walk.icount;
    const hart = this.rng.below(walk.timeline.machine.config.harts);
    const before = this.#executed(hart);
    const stop = walk.go({ direction: "backward", stepHart: hart });
    const what = `${this.what}: step of hart ${hart} back from ${from}`;
    if (stop.why !== "step") return assertEquals([stop.why, before], ["start", 0n], what);
    this.counts.stepped++;
    assertEquals([stop.hart, this.#executed(hart)], [hart, before - 1n], what);
    this.#note(what);
    const at = walk.icount;
    walk.go({ direction: "forward", stepHart: hart });
    assertEquals([walk.icount, this.#executed(hart)], [at + 1, before], what);
    this.#note(what);
  }

  #step(): void {
    const walk = this.#walk;
    const hart = walk.timeline.machine.hart;
    const stop = walk.go({ direction: "forward", stepHart: hart });
    if (stop.why === "step") this.#note("step");
  }

  #changePoints(): void {
    const { inspector } = this.#walk;
    for (const point of this.#active) inspector.removePoint(point);
    this.#active = Array.from(
      { length: this.rng.pick([1, 1, 2, 4]) },
      () => this.rng.pick(this.#points),
    );
    for (const point of this.#active) inspector.addPoint(point);
  }

  /** Hits of a run that only goes forward, of points that are not hit too often. */
  #expected(): PlainHit[] {
    for (;;) {
      const hits = this.#hitsOfActive();
      if (hits !== undefined && (hits.length > 0 || this.rng.below(3) === 0)) return hits;
      this.#changePoints();
    }
  }

  #hitsOfActive(): PlainHit[] | undefined {
    const key = JSON.stringify(
      this.#active.map(({ kind, address, size }) => `${kind} ${address} ${size}`),
    );
    if (!this.#hits.has(key)) {
      this.#hits.set(key, plainHits(this.recording, this.#active, MOST_HITS));
    }
    return this.#hits.get(key);
  }

  #forward(): void {
    const walk = this.#walk;
    const from = walk.icount;
    const expected = this.#expected().find(({ icount }) => icount > from);
    const stop = walk.go({ direction: "forward" });
    const what = `${this.what}: forward from ${from}`;
    if (stop.icount === from) return;
    assertEquals(stop.icount, expected?.icount ?? this.recording.icount, what);
    assertEquals(stop.why, expected?.why ?? "end", what);
    if (expected !== undefined) assertEquals(walk.registers(), expected.registers, what);
  }

  #backward(): void {
    const walk = this.#walk;
    const from = walk.icount;
    const expected = lastBefore(this.#expected(), from);
    const stop = walk.go({ direction: "backward" });
    const points = this.#active.map(({ kind, address }) => `${kind} 0x${address.toString(16)}`);
    const what = `${this.what}: backward from ${from} to ${points}`;
    if (expected === undefined) {
      assertEquals([stop.why, stop.icount], ["start", 0], what);
      return this.#note(what);
    }
    this.counts.back++;
    assertEquals([stop.why, stop.icount], [expected.why, positionOf(expected)], what);
    if (stop.why === "breakpoint") assertEquals(walk.registers(), expected.registers, what);
    else this.#note(what);
  }
}

Deno.test("walks through recordings end where plain replays are, and send everything once", () => {
  const counts: Counts = { back: 0, stepped: 0, restarts: 0 };
  forSeeds(WALKS, (seed, rng) => {
    const recording = stormRecording(rng);
    const { clock, harts } = recording.config;
    const walker = new Walker(recording, rng, `seed ${seed}, ${clock}, ${harts} harts`, counts);
    for (let i = 0; i < MOVES; i++) walker.move();
    walker.end();
  });
  const { back, stepped, restarts } = counts;
  assert(back > 0 && stepped > 0 && restarts > 0, JSON.stringify(counts));
  console.log(
    `from seed ${firstSeed()}: ${back} hits, ${stepped} steps back, ${restarts} restarts`,
  );
});
