/** Claims about overlays that are written back while they are written to, and about disks that are switched. */
import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { HostError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import type { BlockDevice } from "../../../kernel/storage/block_device.ts";
import { openRawDisk } from "../../../kernel/storage/raw.ts";
import type { Qcow2Image } from "../../../kernel/storage/qcow2/image.ts";
import { LentDevice, SwitchedDisk } from "../../../kernel/storage/switched_disk.ts";
import {
  createOverlay,
  openOverlay,
  TrackedOverlay,
} from "../../../kernel/storage/tracked_overlay.ts";
import {
  DiskModel,
  makeImage,
  sectorsOf,
  valuesOf,
  Writer,
} from "../../_support/checkpointed_disk.ts";
import { CrashFiles } from "../../_support/crash_files.ts";

const SECTORS = 1024;

/** A device whose changes take a while, a part at a time. */
function slow<T extends BlockDevice>(device: T, random: Prng): T {
  const wait = async () => {
    for (let i = random.below(6); i > 0; i--) await Promise.resolve();
  };
  const slowed: Partial<Record<keyof Qcow2Image, unknown>> & BlockDevice = {
    sectors: device.sectors,
    readOnly: false,
    concurrent: true,
    read: async (sector, into) => {
      await wait();
      await device.read(sector, into);
    },
    write: async (sector, bytes) => {
      for (let at = 0; at < bytes.length; at += 512) {
        await wait();
        await device.write(sector + at / 512, bytes.subarray(at, at + 512));
      }
    },
    zero: async (sector, count, mayUnmap) => {
      await wait();
      await device.zero(sector, count, mayUnmap);
      await wait();
    },
    discard: (sector, count) => device.discard(sector, count),
    flush: async () => {
      await wait();
      await device.flush();
    },
    close: () => device.close(),
    extent: (sector: number) => (device as unknown as Qcow2Image).extent(sector),
  };
  return slowed as unknown as T;
}

async function contentsOf(disk: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.sectors * 512);
  await disk.read(0, bytes);
  return bytes;
}

/** Sectors in a row of one half of a disk. */
const STRIPE = 16;

/** Every other few sectors of a disk as a disk: two writers touch the same clusters, and never each other. */
function half(disk: BlockDevice, which: 0 | 1): BlockDevice {
  const parts = async (
    first: number,
    count: number,
    act: (sector: number, from: number, count: number) => Promise<void>,
  ) => {
    for (let at = 0; at < count;) {
      const inStripe = (first + at) % STRIPE;
      const some = Math.min(count - at, STRIPE - inStripe);
      const stripe = Math.floor((first + at) / STRIPE);
      await act((2 * stripe + which) * STRIPE + inStripe, at, some);
      at += some;
    }
  };
  return {
    sectors: disk.sectors / 2,
    readOnly: false,
    read: (sector, into) =>
      parts(sector, into.length / 512, (real, from, count) => {
        return disk.read(real, into.subarray(from * 512, (from + count) * 512));
      }),
    write: (sector, bytes) =>
      parts(sector, bytes.length / 512, (real, from, count) => {
        return disk.write(real, bytes.subarray(from * 512, (from + count) * 512));
      }),
    zero: (sector, count, mayUnmap) =>
      parts(sector, count, (real, _, some) => disk.zero(real, some, mayUnmap)),
    discard: () => Promise.resolve(),
    flush: () => disk.flush(),
    close: () => Promise.resolve(),
  };
}

Deno.test("an overlay is written back beside slow writes, however often, and nothing is lost", () =>
  fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
      const files = new CrashFiles();
      const random = new Prng(seed);
      await makeImage(files, "/disk", "raw", SECTORS);
      const base = openRawDisk(files, "/disk", { readOnly: false });
      const served = new SwitchedDisk(slow(base, random));
      const writers: Writer[] = [];
      for (const which of [0, 1] as const) {
        const model = new DiskModel(await valuesOf(half(base, which)));
        writers.push(new Writer(half(served, which), model, seed + which));
      }
      const going = writers.map((writer) =>
        writer.run(100_000, async () => {
          for (let i = random.below(50); i > 0; i--) await Promise.resolve();
        })
      );
      const yields = async () => {
        for (let i = random.below(200); i > 0; i--) await Promise.resolve();
      };
      for (let round = 0; round < 3; round++) {
        const path = `/overlay${round}`;
        await createOverlay(files, path, { path: "disk", format: "raw" }, SECTORS);
        const image = await openOverlay(files, path, new LentDevice(base));
        const tracked = new TrackedOverlay(slow(image, random));
        const drained = served.swap(tracked);
        await drained;
        const frozen = (await files.readAll("/disk")).slice();
        await yields();
        assertEquals(await files.readAll("/disk"), frozen, "nothing is written to what is frozen");
        for (let pass = random.below(4); pass > 0; pass--) await tracked.copyDown(base, yields);
        await served.replace(async () => {
          await tracked.copyDown(base, yields);
          assertEquals(tracked.markedSectors, 0);
          assertEquals(await files.readAll("/disk"), await contentsOf(tracked));
          await image.close();
          return slow(base, random);
        });
        await yields();
      }
      for (const writer of writers) writer.stopped = true;
      await Promise.all(going);
      for (const which of [0, 1] as const) {
        assertEquals(await valuesOf(half(served, which)), writers[which]!.model.now);
      }
    }),
    { numRuns: 30 },
  ));

Deno.test("what could not be written back is written back later", async () => {
  const files = new CrashFiles();
  const model = await makeImage(files, "/disk", "raw", SECTORS);
  const base = openRawDisk(files, "/disk", { readOnly: false });
  await createOverlay(files, "/overlay", { path: "disk", format: "raw" }, SECTORS);
  const tracked = new TrackedOverlay(await openOverlay(files, "/overlay", new LentDevice(base)));
  await new Writer(tracked, model, 1).run(30);
  let left = 3;
  const failing: BlockDevice = {
    ...new LentDevice(base),
    write: (sector: number, bytes: Uint8Array) =>
      left-- > 0 ? base.write(sector, bytes) : Promise.reject(new HostError("the disk is full")),
    zero: (sector: number, count: number) => base.zero(sector, count, true),
  } as unknown as BlockDevice;
  const yields = () => Promise.resolve();
  await assertRejects(() => tracked.copyDown(failing, yields), HostError, "full");
  await tracked.copyDown(base, yields);
  assertEquals(await valuesOf(base), model.now);
});

Deno.test("a flush that fails on a disk that was swapped away fails all later ones", async () => {
  const files = new CrashFiles();
  await makeImage(files, "/disk", "raw", SECTORS);
  await makeImage(files, "/other", "raw", SECTORS);
  const disk = openRawDisk(files, "/disk", { readOnly: false });
  disk.flush = () => Promise.reject(new HostError("it reports an error"));
  const served = new SwitchedDisk(disk);
  await served.write(0, sectorsOf(1, 5));
  const drained = served.swap(openRawDisk(files, "/other", { readOnly: false }));
  await assertRejects(() => drained, HostError);
  await assertRejects(() => served.flush(), HostError);
  await served.write(1, sectorsOf(1, 6));
  await assertRejects(() => served.flush(), HostError);
});
