/**
 * Claims about qcow2 images after kill -9 and loss of power at any operation (issue 5): nothing is lost
 * that a flush acknowledged, and the tables are never damaged.
 */
import { assert, assertEquals } from "@std/assert";
import { FormatError, HostError } from "../../../../kernel/base/errors.ts";
import { Prng } from "../../../../kernel/base/prng.ts";
import { checkQcow2 } from "../../../../kernel/storage/qcow2/check.ts";
import { commitQcow2 } from "../../../../kernel/storage/qcow2/commit.ts";
import { createQcow2 } from "../../../../kernel/storage/qcow2/create.ts";
import { readHeader } from "../../../../kernel/storage/qcow2/header.ts";
import { openQcow2 } from "../../../../kernel/storage/qcow2/open.ts";
import { openRawDisk } from "../../../../kernel/storage/raw.ts";
import { CrashFiles, PowerCut } from "../../../_support/crash_files.ts";
import { DiskHistory } from "../../../_support/disk_history.ts";
import { hasPeer } from "../../../_support/peers.ts";
import { assertClean, isDirty, makeVersion2, qemuCheck, withFolder } from "./support.ts";

const PATH = "/disk.qcow2";
const BASE = "/base.raw";

/** Kinds of images, with clusters so small that a few requests need many tables. */
const KINDS = {
  plain: { clusterBytes: 512 },
  "lazy refcounts": { clusterBytes: 512, lazyRefcounts: true },
  overlay: { clusterBytes: 1024, backing: true },
  "version 2": { clusterBytes: 512, isVersion2: true },
  preallocated: { clusterBytes: 1024, preallocation: "metadata" as const },
};
type KindName = keyof typeof KINDS;
interface Kind {
  readonly clusterBytes: number;
  readonly lazyRefcounts?: boolean;
  readonly backing?: boolean;
  readonly isVersion2?: boolean;
  readonly preallocation?: "metadata";
}

/** With clusters of 512 bytes three L2 tables, which do not end with the disk. */
const SECTORS = 150;

interface Machine {
  readonly files: CrashFiles;
  readonly history: DiskHistory;
}

async function makeMachine({ backing, isVersion2, ...options }: Kind): Promise<Machine> {
  const files = new CrashFiles();
  const history = new DiskHistory(SECTORS);
  if (backing) {
    const file = files.create(BASE);
    file.truncate(SECTORS * 512);
    file.close();
    const base = openRawDisk(files, BASE, { readOnly: false });
    const random = new Prng(99);
    for (let n = 0; n < 12; n++) await history.step(base, random, 20);
    await history.flush(base);
    await base.close();
  }
  await createQcow2(files, PATH, {
    bytes: SECTORS * 512,
    ...options,
    ...backing && { backing: { path: "base.raw", format: "raw" } },
  });
  if (isVersion2) makeVersion2(files, PATH);
  files.syncFolder("/");
  return { files, history };
}

/** Random requests and flushes, with requests beside them, and now and then the image closed and opened. */
async function work({ files, history }: Machine, seed: number): Promise<void> {
  const random = new Prng(seed);
  for (let session = 0; session < 2; session++) {
    const disk = await openQcow2(files, PATH, { readOnly: false });
    for (let round = 0; round < 3; round++) {
      for (let n = random.below(4); n >= 0; n--) await history.step(disk, random, 24);
      const flushing = history.flush(disk);
      const beside = (async () => {
        for (let n = random.below(3); n > 0; n--) await history.step(disk, random, 8);
      })();
      const [flushed, besides] = await Promise.allSettled([flushing, beside]);
      for (const ended of [flushed, besides]) if (ended.status === "rejected") throw ended.reason;
    }
    await disk.close();
    history.markDurable();
  }
}

interface Crash extends Machine {
  readonly label: string;
}

/** Works until an operation; gives what kill -9 and losses of power leave. */
async function crashAt(machine: Machine, operation: number, seed: number): Promise<Crash[]> {
  const { files, history } = machine;
  files.crashAt(files.operations + operation, seed);
  await work(machine, seed).catch(PowerCut.expected);
  const label = `seed ${seed}, operation ${operation}`;
  return [
    { files: files.afterPowerCut(seed), history: history.copy(), label: `power, ${label}` },
    { files: files.afterPowerCut(seed + 1000), history: history.copy(), label: `power, ${label}` },
    { files: files.afterKill(), history, label: `kill, ${label}` },
  ];
}

/** Checks what a crash left, repairs it as opening does, and checks that. */
async function checkCrash({ files, history, label }: Crash, kind: Kind): Promise<void> {
  const left = await checkQcow2(files, PATH);
  const wasDirty = isDirty(files, PATH);
  assertEquals(left.corruptions, 0, `${label}: ${left.problems.join("; ")}`);
  assertEquals(left.isUnclosed, wasDirty, label);
  if (!(kind.lazyRefcounts && wasDirty)) assertEquals(left.stale, 0, label);
  if (!wasDirty && !kind.isVersion2) {
    assertEquals(left.leaks, 0, `${label}: ${left.problems.join("; ")}`);
  }
  const before = await openQcow2(files, PATH, { readOnly: true });
  await history.crashed(before, false, label);
  await before.close();
  if (kind.isVersion2) await checkQcow2(files, PATH, { repair: "leaks" });
  const after = await openQcow2(files, PATH, { readOnly: false });
  await after.close();
  await assertClean(files, PATH, label);
}

for (const name of Object.keys(KINDS) as KindName[]) {
  Deno.test(`a crash at any operation leaves a ${name} image whole`, async () => {
    const kind: Kind = KINDS[name];
    let crashes = 0;
    for (let seed = 1; seed <= 3; seed++) {
      const whole = await makeMachine(kind);
      const before = whole.files.operations;
      await work(whole, seed);
      const operations = whole.files.operations - before;
      const random = new Prng(seed);
      for (let operation = 0; operation < operations; operation++) {
        const left = await crashAt(await makeMachine(kind), operation, seed);
        for (const crash of left) await checkCrash(crash, kind);
        crashes += left.length;
        // What a crash leaves can be worked on, and crash again.
        const again = random.pick(left);
        const second = await crashAt(again, random.below(operations), seed + 100);
        const crash = random.pick(second);
        await checkCrash({ ...crash, label: `${again.label}, then ${crash.label}` }, kind);
      }
    }
    assert(crashes > 300, `${crashes} crashes`);
  });
}

/** Files whose image has few refcounts to a block, and nearly so many clusters as its refcount table holds. */
async function nearlyFull(clusters: number): Promise<CrashFiles> {
  const files = new CrashFiles();
  await createQcow2(files, PATH, { bytes: 3 * 1024 * 1024, clusterBytes: 512 });
  // Refcounts of 64 bits: 64 to a block, 4096 to a cluster of the table.
  const file = files.open(PATH, { write: true });
  file.write(96, new Uint8Array([0, 0, 0, 6]));
  await checkQcow2(files, PATH, { repair: "all" });
  const disk = await openQcow2(files, PATH, { readOnly: false });
  await disk.write(0, new Uint8Array(clusters * 512).fill(0xab));
  await disk.close();
  return files.afterPowerCut(1);
}

for (const clusters of [30, 3900]) {
  Deno.test(`a crash while the refcounts of ${clusters} clusters grow leaves the image whole`, async () => {
    const start = await nearlyFull(clusters);
    const grow = async (files: CrashFiles) => {
      const disk = await openQcow2(files, PATH, { readOnly: false });
      for (let n = 0; n < 4; n++) {
        await disk.write(clusters + 60 * n, new Uint8Array(60 * 512).fill(n + 1));
        if (n % 2 === 1) await disk.flush();
      }
      await disk.close();
    };
    const whole = start.afterPowerCut(1);
    await grow(whole);
    await assertClean(whole, PATH);
    assert(clusters < 3000 || readHeader(whole.open(PATH)).refcountTableClusters > 1, "it grew");
    const { operations } = whole;
    for (let operation = 0; operation < operations; operation++) {
      const files = start.afterPowerCut(1);
      files.crashAt(operation, operation);
      await grow(files).catch(PowerCut.expected);
      for (const left of [files.afterKill(), ...[1, 2, 3].map((n) => files.afterPowerCut(n))]) {
        const label = `operation ${operation}`;
        const { corruptions, problems } = await checkQcow2(left, PATH);
        assertEquals(corruptions, 0, `${label}: ${problems.join("; ")}`);
        const disk = await openQcow2(left, PATH, { readOnly: false });
        const sector = new Uint8Array(512);
        for (let at = 0; at < clusters; at += 17) {
          await disk.read(at, sector);
          assertEquals([sector[0], sector[511]], [0xab, 0xab], label);
        }
        await disk.close();
        await assertClean(left, PATH, label);
      }
    }
  });
}

Deno.test("an image whose making crashes is whole or none, and one that was made survives", async () => {
  const make = (files: CrashFiles) =>
    createQcow2(files, PATH, {
      bytes: SECTORS * 512,
      clusterBytes: 512,
      preallocation: "metadata",
    });
  const whole = new CrashFiles();
  await make(whole);
  for (let operation = 0; operation <= whole.operations; operation++) {
    const files = new CrashFiles();
    files.crashAt(operation, operation);
    const isMade = await make(files).then(() => true, PowerCut.expected);
    for (const left of [files.afterKill(), ...[1, 2, 3].map((n) => files.afterPowerCut(n))]) {
      try {
        await assertClean(left, PATH);
      } catch (error) {
        if (isMade || !(error instanceof FormatError || error instanceof HostError)) throw error;
      }
    }
  }
});

Deno.test("a repair that crashes at any operation is done by the next opening", async () => {
  const random = new Prng(3);
  let repairs = 0;
  for (const name of ["plain", "lazy refcounts"] as const) {
    for (let n = 0; n < 12; n++) {
      const left = await crashAt(await makeMachine(KINDS[name]), 20 + random.below(40), 200 + n);
      const { files, history } = left[0]!;
      if (!isDirty(files, PATH)) continue;
      const repair = async (files: CrashFiles) => {
        const disk = await openQcow2(files, PATH, { readOnly: false });
        await history.copy().crashed(disk, true, `repair ${n}`);
        await disk.close();
        await assertClean(files, PATH);
      };
      const whole = files.afterPowerCut(1);
      await repair(whole);
      for (let operation = 0; operation < whole.operations; operation++) {
        const again = files.afterPowerCut(1);
        again.crashAt(operation, operation);
        await repair(again).catch(PowerCut.expected);
        for (const seed of [1, 2, 3]) await repair(again.afterPowerCut(seed));
        await repair(again.afterKill());
        repairs += 4;
      }
    }
  }
  assert(repairs > 200, `${repairs} repairs`);
});

Deno.test({
  name: "qemu-img finds no damage in what crashes leave, before and after the repair",
  ignore: !hasPeer("qemu-img"),
  fn: () =>
    withFolder(async (folder) => {
      const random = new Prng(5);
      for (const name of Object.keys(KINDS) as KindName[]) {
        const kind: Kind = KINDS[name];
        for (let n = 0; n < 6; n++) {
          const left = await crashAt(await makeMachine(kind), random.below(60), random.below(1000));
          const { files, label } = random.pick(left);
          const inside = `${folder}${PATH}`;
          files.exportTo(folder);
          const found = await qemuCheck(inside);
          if (!kind.lazyRefcounts) assertEquals(found.corruptions, 0, `${name}: ${label}`);
          // What an image that was not closed explains is damage for QEMU until it is opened.
          const { corruptions, stale, leaks } = await checkQcow2(files, PATH);
          assertEquals({ corruptions: corruptions + stale, leaks }, found, `${name}: ${label}`);
          assertEquals(corruptions, 0, `${name}: ${label}`);
          await checkQcow2(files, PATH, { repair: kind.lazyRefcounts ? "all" : "leaks" });
          files.exportTo(folder);
          assertEquals(await qemuCheck(inside), { corruptions: 0, leaks: 0 }, `${name}: ${label}`);
        }
      }
    }),
});

Deno.test("a commit that crashes at any operation loses nothing, and is finished by another", async () => {
  const prepare = async () => {
    const machine = await makeMachine(KINDS.overlay);
    const random = new Prng(7);
    const disk = await openQcow2(machine.files, PATH, { readOnly: false });
    for (let n = 0; n < 10; n++) await machine.history.step(disk, random, 30);
    await disk.close();
    machine.history.markDurable();
    return machine;
  };
  const whole = await prepare();
  const before = whole.files.operations;
  await commitQcow2(whole.files, PATH);
  const operations = whole.files.operations - before;
  assert(operations > 20, `${operations} operations`);
  for (let operation = 0; operation < operations; operation++) {
    const { files, history } = await prepare();
    files.crashAt(files.operations + operation, operation);
    await commitQcow2(files, PATH).catch(PowerCut.expected);
    for (const left of [files.afterKill(), ...[1, 2, 3].map((n) => files.afterPowerCut(n))]) {
      const label = `operation ${operation}`;
      const disk = await openQcow2(left, PATH, { readOnly: true });
      await history.copy().crashed(disk, true, label);
      await disk.close();
      await commitQcow2(left, PATH);
      const base = openRawDisk(left, BASE, { readOnly: true });
      await history.copy().crashed(base, true, label);
      await base.close();
      await assertClean(left, PATH, label);
    }
  }
});
