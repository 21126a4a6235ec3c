/**
 * A fuzz target for qcow2 images: damaged ones are read, checked, repaired and written to. An image may come
 * from anybody.
 */
import { assert } from "../../kernel/base/assert.ts";
import { FormatError, HostError } from "../../kernel/base/errors.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import type { BlockDevice } from "../../kernel/storage/block_device.ts";
import { diskInfo } from "../../kernel/storage/disk_info.ts";
import { checkQcow2 } from "../../kernel/storage/qcow2/check.ts";
import { createQcow2 } from "../../kernel/storage/qcow2/create.ts";
import { openQcow2 } from "../../kernel/storage/qcow2/open.ts";
import { CrashFiles } from "../_support/crash_files.ts";
import type { FuzzTarget } from "./engine.ts";
import { damaged, edge32, edge64, isOneOf } from "./support.ts";

const PATH = "/image";
const REFUSALS = [FormatError, HostError];
/** Sectors that are read or written at once. */
const STEP = 64;

let images: Promise<readonly Uint8Array[]> | undefined;

/** Good images: of every kind of entry but compressed ones, which damage makes. */
async function makeImages(): Promise<readonly Uint8Array[]> {
  const made: Uint8Array[] = [];
  for (const clusterBytes of [512, 1024, 4096]) {
    for (const hasBacking of [false, true]) {
      const files = new CrashFiles();
      write(files, "/base", new Uint8Array(96 * 1024).fill(5));
      const backing = { path: "base", format: "raw" as const };
      const bytes = 128 * 1024;
      await createQcow2(files, PATH, { bytes, clusterBytes, ...hasBacking && { backing } });
      const disk = await openQcow2(files, PATH, { readOnly: false });
      for (let n = 0; n < 12; n++) await disk.write(n * 19, new Uint8Array(512 * 5).fill(n + 1));
      await disk.zero(40, 60, true);
      await disk.zero(150, 20, false);
      await disk.flush();
      await disk.close();
      made.push(await files.readAll(PATH));
    }
  }
  return made;
}

function write(files: CrashFiles, path: string, bytes: Uint8Array): void {
  const file = files.create(path);
  file.write(0, bytes);
  file.close();
}

/** A good image that is damaged somewhere, most often where its header or its tables are. */
function damagedImage(random: Prng, good: Uint8Array): Uint8Array {
  if (random.below(8) === 0) return damaged(random, good);
  const bytes = good.slice();
  const view = new DataView(bytes.buffer);
  for (let times = 1 + random.below(4); times > 0; times--) {
    if (random.below(3) === 0) {
      const at = random.below(28) * 4;
      if (random.below(2) === 0) view.setUint32(at, edge32(random));
      else view.setBigUint64(at, edge64(random));
      continue;
    }
    const clusters = bytes.length / 512;
    const at = random.below(bytes.length / 8) * 8;
    const flags = random.pick([0n, 1n << 63n, 1n << 62n, 1n, 1n << 63n | 1n]);
    const to = BigInt(random.below(clusters + 2) * 512);
    view.setBigUint64(at, random.below(4) === 0 ? edge64(random) : flags | to);
  }
  return bytes;
}

async function readAll(disk: BlockDevice): Promise<void> {
  const part = new Uint8Array(STEP * 512);
  const end = Math.min(disk.sectors, 1024);
  for (let sector = 0; sector < end; sector += STEP) {
    const count = Math.min(STEP, end - sector);
    await tolerate(disk.read(sector, part.subarray(0, count * 512)));
  }
}

/** Waits for what may be refused. */
async function tolerate<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isOneOf(error, REFUSALS)) return undefined;
    throw error;
  }
}

async function change(disk: BlockDevice, random: Prng): Promise<void> {
  for (let n = 0; n < 12; n++) {
    const sector = random.below(Math.min(disk.sectors, 4096));
    const count = Math.min(1 + random.below(30), disk.sectors - sector);
    const kind = random.below(4);
    if (kind === 0) await tolerate(disk.zero(sector, count, random.below(2) === 0));
    else if (kind === 1) await tolerate(disk.discard(sector, count));
    else await tolerate(disk.write(sector, new Uint8Array(count * 512).fill(n)));
    if (random.below(4) === 0) await tolerate(disk.flush());
  }
}

const qcow2: FuzzTarget = {
  name: "qcow2",
  async step(random) {
    images ??= makeImages();
    const files = new CrashFiles();
    write(files, "/base", new Uint8Array(96 * 1024).fill(5));
    write(files, PATH, damagedImage(random, random.pick(await images)));
    await tolerate(new Promise((resolve) => resolve(diskInfo(files, PATH, "qcow2"))));
    const read = await tolerate(openQcow2(files, PATH, { readOnly: true }));
    if (read !== undefined) {
      await readAll(read);
      await read.close();
    }
    if (random.below(2) === 0) {
      const disk = await tolerate(openQcow2(files, PATH, { readOnly: false }));
      if (disk !== undefined && disk.sectors > 0) await change(disk, random);
      await tolerate(disk?.close() ?? Promise.resolve());
    }
    if (await tolerate(checkQcow2(files, PATH)) === undefined) return;
    const repaired = await tolerate(checkQcow2(files, PATH, { repair: "all" }));
    if (repaired === undefined) return;
    const { corruptions, leaks, problems } = repaired;
    // Snapshots are left as they are, and refcounts may have too few bits for what is used often.
    const hasSnapshots = diskInfo(files, PATH, "qcow2").qcow2!.snapshots > 0;
    assert(hasSnapshots || corruptions + leaks === 0, `still damaged: ${problems.join("; ")}`);
    const disk = await tolerate(openQcow2(files, PATH, { readOnly: false }));
    if (disk === undefined) return;
    if (disk.sectors > 0) await change(disk, random);
    await disk.close();
  },
};

export default qcow2;
