/**
 * Holds the translator tier to the interpreter: one program on machines with different options must be the
 * same machine at every moment that is looked at (docs/decisions/0005).
 *
 * Invariant: what a machine is given between runs depends on its icount alone, so machines are comparable.
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { takeEpoch } from "../../kernel/machine/epoch.ts";
import type { Machine, MachineConfig, RestoredMemory } from "../../kernel/machine/machine.ts";
import { type SnapshotInfo, Snapshots } from "../../kernel/machine/snapshot.ts";
import { DirtyPages } from "../../kernel/memory/dirty_pages.ts";
import { lateCompiler } from "./compilers.ts";
import { testMachine } from "./machine.ts";
import { MemoryServices, moveMachine } from "./memory_services.ts";

/** Most instructions between two things that happen to memory from outside. */
const SERVED_SPAN = 12_000;
const SLICES: readonly number[] = [10, 300, 5000, 100_000, 10_000_000];

/** A program to compare. */
export interface TierCase {
  readonly config: Partial<MachineConfig>;
  /** Icounts to look at, in ascending order. */
  readonly moments: readonly number[];
  /** What comes from outside when a moment is reached, after the look. */
  readonly disturb?: (machine: Machine, moment: number) => void;
  /** Largest slices that machines run in, from which chance takes one each time. */
  readonly slices?: readonly number[];
}

/** Where seeds start: CHRONOVISOR_SEED, or 1. */
export function firstSeed(): number {
  return Number(Deno.env.get("CHRONOVISOR_SEED") ?? 1);
}

/**
 * Runs `body` for seeds from the first on: so many as told, and for CHRONOVISOR_LONG seconds.
 */
export function forSeeds(count: number, body: (seed: number, rng: Prng) => void): void {
  const first = firstSeed();
  const end = performance.now() + Number(Deno.env.get("CHRONOVISOR_LONG") ?? 0) * 1000;
  for (let seed = first; seed < first + count || performance.now() < end; seed++) {
    body(seed, new Prng(seed));
  }
}

/** Options that make regions soon, or late, and caches small, and check regions, by chance. */
export function randomOptions(rng: Prng): Partial<MachineConfig> {
  return {
    tier: rng.pick(["translator", "translator", "check"]),
    translator: { heat: rng.pick([1, 1, 2, 5, 30]), batch: rng.pick([1, 1, 3, 24]) },
    tlbEntries: rng.pick([16, 64, 1024, 4096]),
    cacheElements: rng.pick([1, 2, 32, 64]),
    decodedPages: rng.pick([2, 3, 5, 2048]),
    ...(rng.pick([true, false]) ? { compiler: lateCompiler(rng, [0, 1, 5, 50]) } : {}),
  };
}

/**
 * Runs to an icount in slices of random sizes; idle time is skipped. False when the machine ended.
 * @param between happens now and then between two slices
 */
function runTo(
  machine: Machine,
  icount: number,
  rng: Prng,
  slices = SLICES,
  between?: () => void,
): boolean {
  const largest = rng.pick(slices);
  let next = machine.icount;
  while (machine.icount < icount) {
    if (between !== undefined && machine.icount >= next) {
      between();
      next = machine.icount + rng.below(SERVED_SPAN);
    }
    const stop = machine.run(Math.min(1 + rng.below(largest), icount - machine.icount));
    machine.takeOutputs();
    if (stop.kind === "off" || stop.kind === "reset") return false;
    if (stop.kind !== "idle") continue;
    if (stop.wakeTicks === Infinity) return false;
    machine.skipTo(stop.wakeTicks);
  }
  return true;
}

/** Runs to an icount and tells what the machine is; of what it did there, only who tracks pages hears. */
class Subject {
  #machine: Machine;
  #dirty: DirtyPages | undefined;
  readonly #snapshots: Snapshots | undefined;
  #services: MemoryServices | undefined;
  /** What machines did that it was made of before. */
  readonly #left = { instructions: 0, dropped: 0 };

  /**
   * @param make makes the machine, or one in its place that is restored from an image
   * @param tracks whether what is told names the pages that were written since the last time
   * @param fate whether it goes ahead and comes back now and then, or memory is saved and restored
   */
  constructor(
    private readonly make: (restored?: RestoredMemory) => Machine,
    tracks: boolean,
    fate: "plain" | "returns" | "served",
    rng: Prng,
  ) {
    const machine = this.#machine = make();
    if (tracks) this.#dirty = new DirtyPages(machine.core.flags);
    this.#dirty?.start();
    if (fate === "served") this.#services = new MemoryServices(machine, rng);
    if (fate !== "returns") return;
    const dirty = this.#dirty;
    this.#snapshots = new Snapshots(machine, { limitBytes: 64 << 20, ...(dirty ? { dirty } : {}) });
  }

  /** The snapshots that were taken; one for each moment. */
  get snapshots(): readonly SnapshotInfo[] {
    return this.#snapshots?.list ?? [];
  }

  get machine(): Machine {
    return this.#machine;
  }

  /** Instructions that ran in regions, and regions that were dropped. */
  get work(): TierWork {
    const { core, translator } = this.machine;
    return {
      instructions: this.#left.instructions + Number(core.control("statRegionInstructions")),
      dropped: this.#left.dropped + (translator?.statistics.dropped ?? 0),
    };
  }

  tellAt(icount: number, rng: Prng, slices: TierCase["slices"]): string {
    const services = this.#services;
    const between = services === undefined ? undefined : () => services.between();
    runTo(this.machine, icount, rng, slices, between);
    return described(this.machine, this.#dirty);
  }

  /** Goes on as another machine, made from this one's image. */
  #move(rng: Prng): void {
    Object.assign(this.#left, this.work);
    this.#services!.stop();
    const dirty = this.#dirty?.list();
    const { machine, loader } = moveMachine(this.#machine, rng, this.make);
    this.#machine = machine;
    if (dirty !== undefined) {
      this.#dirty = new DirtyPages(machine.core.flags);
      this.#dirty.start();
      this.#dirty.restore(dirty);
    }
    this.#services = new MemoryServices(machine, rng, loader);
  }

  /** Keeps the moment, and sometimes goes ahead and comes back to it. */
  keep(rng: Prng): void {
    if (this.#services !== undefined && rng.below(2) === 0) this.#move(rng);
    if (this.#snapshots === undefined) return;
    this.machine.takeOutputs();
    const snapshot = this.#snapshots.take();
    for (let i = rng.below(3); i > 0; i--) {
      runTo(this.machine, this.machine.icount + 1 + rng.below(20_000), rng);
      if (rng.below(2) === 0) this.#snapshots.take();
      this.#snapshots.restore(snapshot);
    }
  }

  restore({ snapshot }: SnapshotInfo): void {
    this.#snapshots!.restore(snapshot);
  }
}

/**
 * What a machine is: one line for its registers, so that a difference can be read, its digest, and the pages
 * that were written in the epoch that ends now.
 */
function described(machine: Machine, dirty: DirtyPages | undefined): string {
  const { core } = machine;
  const harts = Array.from({ length: machine.config.harts }, (_, hart) => {
    const x = Array.from({ length: 32 }, (_, i) => core.register(hart, "x", i).toString(16));
    const others = (["pc", "mstatus", "mcause", "mepc", "scause", "sepc", "executed"] as const)
      .map((name) => `${name} ${core.register(hart, name).toString(16)}`);
    return `hart ${hart}: ${others.join(" ")} x ${x.join(" ")}`;
  });
  const lines = [`icount ${machine.icount} digest ${machine.digest()}`, ...harts];
  if (dirty !== undefined) {
    const { pages, pageHashes, devices, machine: state } = takeEpoch(machine, dirty);
    const written = [...pages].map((page, i) => `${page}:${pageHashes[i]!.toString(16)}`);
    lines.push(`epoch ${state} ${JSON.stringify(devices)}`, `written ${written.join(" ")}`);
  }
  return lines.join("\n");
}

/** What the translator tier did in a comparison. */
export interface TierWork {
  /** Instructions that ran in regions. */
  readonly instructions: number;
  /** Regions that were dropped. */
  readonly dropped: number;
}

/**
 * Asserts that both tiers leave the same machine at all moments, under two sets of random options, and that
 * they do again after going back to a moment.
 */
export function assertSameOnTiers(seed: number, rng: Prng, test: TierCase): TierWork {
  const variants = [{ tier: "interpreter" } as const, randomOptions(rng), randomOptions(rng)];
  const tracks = rng.below(4) > 0;
  const subjects = variants.map((options) => {
    const config = { bios: "none", memoryBytes: 8 << 20, ...test.config, ...options } as const;
    const make = (restored?: RestoredMemory) =>
      testMachine({ ...config, ...restored && { restored } });
    const fate = rng.pick(["plain", "returns", "returns", "served"] as const);
    return new Subject(make, tracks, fate, rng);
  });
  const said = test.moments.map((moment) => {
    const [expected, ...others] = subjects.map((s) => s.tellAt(moment, rng, test.slices));
    others.forEach((other, i) => {
      const options = JSON.stringify(variants[i + 1]);
      assertEquals(other, expected, `seed ${seed} at ${moment}, translator ${options} left`);
    });
    for (const subject of subjects) {
      test.disturb?.(subject.machine, moment);
      subject.keep(rng);
    }
    return expected!;
  });
  subjects.forEach((subject, i) => {
    const { snapshots } = subject;
    // Nothing comes from outside between a moment and the next one.
    const from = rng.below(Math.max(1, test.moments.length - 1));
    if (from + 1 >= snapshots.length) return;
    subject.restore(snapshots[from]!);
    const again = subject.tellAt(test.moments[from + 1]!, rng, test.slices);
    const options = JSON.stringify(variants[i]);
    assertEquals(again, said[from + 1], `seed ${seed} back from moment ${from}, ${options} right`);
  });
  const translated = subjects.slice(1).map(({ work }) => work);
  const sum = (of: (work: TierWork) => number) => translated.map(of).reduce((a, b) => a + b);
  return { instructions: sum((work) => work.instructions), dropped: sum((work) => work.dropped) };
}

/** So many random icounts below a limit, and the limit, in ascending order. */
export function randomMoments(rng: Prng, count: number, limit: number): number[] {
  const moments = Array.from({ length: count }, () => rng.below(rng.pick([limit, limit >> 4])));
  return [...moments, limit].sort((a, b) => a - b);
}
