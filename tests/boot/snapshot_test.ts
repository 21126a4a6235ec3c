/**
 * Debian's boot from snapshots: what ran on after going back is the same machine as the first time, and what
 * was translated stays. And its epochs: the same pages are written under any options.
 */
import { assert, assertEquals } from "@std/assert";
import { diffEpochs, formatDifference, takeEpoch } from "../../kernel/machine/epoch.ts";
import type { MachineConfig } from "../../kernel/machine/machine.ts";
import { Snapshots } from "../../kernel/machine/snapshot.ts";
import { DirtyPages } from "../../kernel/memory/dirty_pages.ts";
import { debianMachine, debianTest } from "../_support/debian.ts";
import { runToEnd } from "../_support/machine.ts";

const LIMIT = 256 << 20;

/** Boots to a moment; then goes ahead by spans, back, and ahead again, with snapshots on the way. */
async function backAndForth(config: Partial<MachineConfig>, start: number, spans: number[]) {
  const machine = await debianMachine(config);
  runToEnd(machine, { most: start });
  const dirty = new DirtyPages(machine.core.flags);
  dirty.start();
  const snapshots = new Snapshots(machine, { limitBytes: LIMIT, dirty });
  const first = snapshots.take();
  const look = () => `${machine.digest()} ${dirty.list().join()}`;
  const digest = machine.digest();
  for (const span of spans) {
    const middle: [number, string][] = [];
    for (let part = 1; part <= 3; part++) {
      runToEnd(machine, { most: start + part / 4 * span });
      middle.push([snapshots.take(), look()]);
    }
    runToEnd(machine, { most: start + span });
    const end = look();
    const placed = machine.translator?.statistics.placed ?? 0;
    const dropped = machine.translator?.statistics.dropped ?? 0;
    for (const [snapshot, was] of middle.reverse()) {
      snapshots.restore(snapshot);
      assertEquals(look(), was);
      runToEnd(machine, { most: start + span });
      assertEquals(look(), end, `from snapshot ${snapshot}, span ${span}`);
    }
    snapshots.restore(first);
    assertEquals(machine.digest(), digest);
    const after = machine.translator?.statistics.dropped ?? 0;
    assert(after - dropped <= placed / 10, `${after - dropped} of ${placed} regions were dropped`);
    runToEnd(machine, { most: start + span, slice: 123_457 });
    assertEquals(look(), end, `from the first snapshot, span ${span}`);
    snapshots.restore(first);
  }
}

debianTest("Debian goes on from snapshots as it did the first time", async () => {
  await backAndForth({}, 400_000_000, [5_000_000, 100_000_000]);
});

debianTest("Debian on four harts goes on from snapshots as it did the first time", async () => {
  const odd = { tlbEntries: 64, cacheElements: 3, decodedPages: 300 };
  await backAndForth({ harts: 4, ...odd }, 500_000_000, [30_000_000]);
});

debianTest(
  "Debian in the interpreter goes on from snapshots as it did the first time",
  async () => {
    await backAndForth({ tier: "interpreter" }, 120_000_000, [20_000_000]);
  },
);

debianTest("Debian's epochs are the same on both tiers, with other caches and slices", async () => {
  const ends = [20_000_000, 100_000_000, 180_000_000, 260_000_000];
  const epochs = async (config: Partial<MachineConfig>, slice: number) => {
    const machine = await debianMachine(config);
    const dirty = new DirtyPages(machine.core.flags);
    dirty.start();
    return ends.map((most) => {
      runToEnd(machine, { most, slice });
      return takeEpoch(machine, dirty);
    });
  };
  const recorded = await epochs({}, 1_000_000);
  assert(recorded.every(({ pages }) => pages.length > 0));
  const small = { tlbEntries: 16, cacheElements: 2, decodedPages: 300 };
  const others = [await epochs(small, 77_777), await epochs({ tier: "interpreter" }, 300_000)];
  for (const replayed of others) {
    replayed.forEach((epoch, i) => {
      const difference = diffEpochs(recorded[i]!, epoch);
      assertEquals(difference && formatDifference(difference), undefined);
    });
  }
});
