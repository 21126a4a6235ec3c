/** Claims about qcow2 images that QEMU's qemu-img made or reads: both find the same in them. */
import { assert, assertEquals } from "@std/assert";
import { equalBytes } from "../../../../kernel/base/bytes.ts";
import { Prng } from "../../../../kernel/base/prng.ts";
import { hostFiles } from "../../../../kernel/host/files.ts";
import { convertDisk } from "../../../../kernel/storage/convert.ts";
import { diskInfo } from "../../../../kernel/storage/disk_info.ts";
import { checkQcow2 } from "../../../../kernel/storage/qcow2/check.ts";
import { commitQcow2 } from "../../../../kernel/storage/qcow2/commit.ts";
import { createQcow2 } from "../../../../kernel/storage/qcow2/create.ts";
import { openQcow2 } from "../../../../kernel/storage/qcow2/open.ts";
import { peerTest } from "../../../_support/peers.ts";
import { assertClean, qemuCheck, qemuImg, withFolder } from "./support.ts";

const MiB = 1024 * 1024;
const CLEAN = { corruptions: 0, leaks: 0 };

/** Bytes of which some runs are zeros, some repeat and some are random. */
function mixed(bytes: number, seed: number): Uint8Array<ArrayBuffer> {
  const random = new Prng(seed);
  const all = new Uint8Array(bytes);
  for (let at = 0; at < bytes;) {
    const end = Math.min(bytes, at + 512 * (1 + random.below(300)));
    const kind = random.below(3);
    if (kind === 1) all.fill(random.below(256), at, end);
    if (kind === 2) all.set(random.bytes(end - at), at);
    at = end;
  }
  return all;
}

/** Writes to random places of an image and of the bytes that it should have; discards and zeroes, too. */
async function scribble(
  path: string,
  expected: Uint8Array,
  seed: number,
  times = 60,
): Promise<void> {
  const random = new Prng(seed);
  const disk = await openQcow2(hostFiles, path, { readOnly: false });
  for (let n = 0; n < times; n++) {
    const sector = random.below(disk.sectors);
    const count = Math.min(1 + random.below(200), disk.sectors - sector);
    const part = expected.subarray(sector * 512, (sector + count) * 512);
    if (n % 7 === 3) {
      part.fill(0);
      await disk.zero(sector, count, random.below(2) === 0);
    } else {
      part.set(random.bytes(part.length));
      await disk.write(sector, part);
    }
    if (n % 10 === 9) await disk.flush();
  }
  await disk.close();
}

async function assertHolds(path: string, expected: Uint8Array): Promise<void> {
  const disk = await openQcow2(hostFiles, path, { readOnly: true });
  const found = new Uint8Array(disk.sectors * 512).fill(0xee);
  await disk.read(0, found);
  await disk.close();
  if (equalBytes(found, expected)) return;
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  throw new Error(`${path}: byte ${at} is ${found[at]}`);
}

async function qemuHolds(path: string, expected: Uint8Array): Promise<void> {
  await Deno.writeFile(`${path}.expected`, expected);
  await qemuImg("compare", "-f", "qcow2", "-F", "raw", path, `${path}.expected`);
}

/** What both checks say of an image. */
async function bothClean(path: string): Promise<void> {
  assertEquals(await qemuCheck(path), CLEAN, path);
  await assertClean(hostFiles, path);
}

const CREATED = [
  "compat=1.1",
  "compat=0.10",
  "cluster_size=512",
  "cluster_size=2M",
  "cluster_size=4k,lazy_refcounts=on",
  "preallocation=metadata",
  "refcount_bits=1,cluster_size=1k",
  "refcount_bits=2,cluster_size=1k",
  "refcount_bits=8,cluster_size=1k",
  "refcount_bits=32,cluster_size=1k",
  "refcount_bits=64,cluster_size=512",
];

peerTest(
  "images of qemu-img are read and written, with every option it has",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      for (const [n, options] of CREATED.entries()) {
        const path = `${folder}/${n}.qcow2`;
        await qemuImg("create", "-f", "qcow2", "-o", options, path, "3M");
        const expected = new Uint8Array(3 * MiB);
        await assertHolds(path, expected);
        await scribble(path, expected, n);
        await bothClean(path);
        await qemuHolds(path, expected);
      }
    }),
);

peerTest(
  "our images are what qemu-img expects, and it writes to them",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      const n = { at: 0 };
      for (const clusterBytes of [512, 4096, 65536, 2 * MiB]) {
        for (const preallocation of ["none", "metadata"] as const) {
          const path = `${folder}/${n.at++}.qcow2`;
          const expected = new Uint8Array(2.5 * MiB);
          const lazyRefcounts = n.at % 3 === 0;
          await createQcow2(hostFiles, path, {
            bytes: expected.length,
            clusterBytes,
            preallocation,
            lazyRefcounts,
          });
          await bothClean(path);
          await scribble(path, expected, n.at);
          await bothClean(path);
          await qemuHolds(path, expected);
          // As a target qemu-img overwrites it as a whole.
          const source = mixed(expected.length, n.at);
          await Deno.writeFile(`${folder}/source`, source);
          await qemuImg("convert", "-n", "-f", "raw", "-O", "qcow2", `${folder}/source`, path);
          await assertHolds(path, source);
          await bothClean(path);
        }
      }
    }),
);

peerTest(
  "compressed images are read, and what is written over them is not",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      const expected = mixed(2.5 * MiB, 1);
      await Deno.writeFile(`${folder}/raw`, expected);
      for (const type of ["zlib", "zstd"]) {
        for (const cluster of ["512", "4k", "64k", "2M"]) {
          const path = `${folder}/${type}${cluster}`;
          const options = `compression_type=${type},cluster_size=${cluster}`;
          await qemuImg("convert", "-c", "-O", "qcow2", "-o", options, `${folder}/raw`, path);
          await assertHolds(path, expected);
          const { compressedClusters } = await checkQcow2(hostFiles, path);
          assert(compressedClusters > 0);
          const now = expected.slice();
          await scribble(path, now, 3);
          await bothClean(path);
          await assertHolds(path, now);
          await qemuHolds(path, now);
        }
      }
    }),
);

peerTest(
  "snapshots inside an image stay as they were, whatever is written to it",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      const path = `${folder}/image`;
      for (
        const options of ["cluster_size=1k", "cluster_size=64k", "compat=0.10,cluster_size=4k"]
      ) {
        const first = mixed(3 * MiB, 2);
        await Deno.writeFile(`${folder}/raw`, first);
        await qemuImg("convert", "-O", "qcow2", "-o", options, `${folder}/raw`, path);
        await qemuImg("snapshot", "-c", "first", path);
        const second = first.slice();
        await scribble(path, second, 4);
        await bothClean(path);
        await qemuImg("snapshot", "-c", "second", path);
        const third = second.slice();
        await scribble(path, third, 5);
        await bothClean(path);
        await assertHolds(path, third);
        assertEquals(diskInfo(hostFiles, path).qcow2?.snapshots, 2);
        for (const [name, expected] of [["first", first], ["second", second]] as const) {
          const raw = `${folder}/${name}.raw`;
          await qemuImg("convert", "-l", name, "-O", "raw", path, raw);
          assertEquals(await Deno.readFile(raw), expected, name);
        }
        await qemuImg("snapshot", "-d", "first", path);
        await qemuImg("snapshot", "-a", "second", path);
        await assertHolds(path, second);
        await scribble(path, second, 6);
        await bothClean(path);
        await qemuHolds(path, second);
        await Deno.remove(path);
      }
    }),
);

peerTest(
  "chains of qemu-img and ours read the same, and are committed alike",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      await Deno.mkdir(`${folder}/below`);
      const lowest = mixed(2 * MiB, 7);
      await Deno.writeFile(`${folder}/below/base.raw`, lowest);
      await qemuImg(
        ...["create", "-f", "qcow2", "-F", "raw", "-b", "base.raw"],
        ...[`${folder}/below/middle.qcow2`, "3M"],
      );
      const middle = new Uint8Array(3 * MiB);
      middle.set(lowest);
      await scribble(`${folder}/below/middle.qcow2`, middle, 8, 20);
      const path = `${folder}/top.qcow2`;
      await createQcow2(hostFiles, path, {
        bytes: 4 * MiB,
        clusterBytes: 4096,
        backing: { path: "below/middle.qcow2", format: "qcow2" },
      });
      const top = new Uint8Array(4 * MiB);
      top.set(middle);
      await assertHolds(path, top);
      await qemuHolds(path, top);
      await scribble(path, top, 9, 20);
      const disk = await openQcow2(hostFiles, path, { readOnly: false });
      await disk.discard(0, 1024);
      const discarded = new Uint8Array(1024 * 512);
      await disk.read(0, discarded);
      top.set(discarded);
      await disk.close();
      await bothClean(path);
      await qemuHolds(path, top);
      const chain = JSON.parse(await qemuImg("info", "--backing-chain", "--output=json", path));
      assertEquals(chain.length, 3);
      const info = diskInfo(hostFiles, path);
      assert(info.backing !== undefined && "backing" in info.backing);
      assertEquals([info.backing.path, info.backing.bytes], [chain[1].filename, 3 * MiB]);
      // Both ways of committing leave the same.
      await qemuImg("create", "-f", "qcow2", "-F", "qcow2", "-b", path, `${folder}/ours`);
      await Deno.copyFile(path, `${folder}/theirs.below`);
      await Deno.rename(`${folder}/theirs.below`, `${folder}/theirs-below`);
      await qemuImg(
        "create",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        "theirs-below",
        `${folder}/theirs`,
      );
      await scribble(`${folder}/ours`, top.slice(), 10, 20);
      await scribble(`${folder}/theirs`, top, 10, 20);
      await commitQcow2(hostFiles, `${folder}/ours`);
      await qemuImg("commit", "-f", "qcow2", `${folder}/theirs`);
      await bothClean(`${folder}/ours`);
      await bothClean(path);
      await qemuHolds(path, top);
      await qemuHolds(`${folder}/theirs-below`, top);
      await assertHolds(`${folder}/ours`, top);
    }),
);

peerTest(
  "conversions are compared by qemu-img, and leave out zeros",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      const [raw, image, back] = [`${folder}/raw`, `${folder}/image`, `${folder}/back`];
      const expected = new Uint8Array(40 * MiB);
      expected.set(mixed(3 * MiB, 11), 20 * MiB);
      await Deno.writeFile(raw, expected);
      await convertDisk(hostFiles, { path: raw, format: "raw" }, { path: image, format: "qcow2" });
      await bothClean(image);
      await qemuImg("compare", "-f", "raw", "-F", "qcow2", raw, image);
      assert((await Deno.stat(image)).size < 4 * MiB);
      await convertDisk(hostFiles, { path: image }, { path: back, format: "raw" });
      await qemuImg("compare", "-f", "raw", "-F", "raw", raw, back);
      const map = JSON.parse(await qemuImg("map", "--output=json", "-f", "qcow2", image));
      const data = map.filter((part: { data: boolean }) => part.data);
      const disk = await openQcow2(hostFiles, image, { readOnly: true });
      for (const { start, length } of data as { start: number; length: number }[]) {
        assertEquals(disk.extent(start / 512).kind, "data");
        assert(disk.extent(start / 512).sectors * 512 >= Math.min(length, 65536));
      }
      await disk.close();
    }),
);

peerTest("damage is counted as qemu-img counts it, and repaired so that it finds none", [
  "qemu-img",
], () =>
  withFolder(async (folder) => {
    const random = new Prng(12);
    for (let n = 0; n < 24; n++) {
      const path = `${folder}/${n}`;
      await createQcow2(hostFiles, path, { bytes: MiB, clusterBytes: 512 });
      await scribble(path, new Uint8Array(MiB), n, 8);
      const file = await Deno.open(path, { read: true, write: true });
      const info = await file.stat();
      const word = async (at: number) => {
        const bytes = new Uint8Array(8);
        await file.seek(at, Deno.SeekMode.Start);
        await file.read(bytes);
        return Number(new DataView(bytes.buffer).getBigUint64(0) & 0xff_ffff_ffff_fe00n);
      };
      // A refcount, an entry of an L2 table, or one of the L1 table, becomes another.
      const places = [await word(await word(48)), await word(await word(40)), await word(40)];
      const at = places[n % 3]! + 8 * random.below(n % 3 === 2 ? 8 : 60);
      await file.seek(at, Deno.SeekMode.Start);
      const cluster = random.below(info.size / 512);
      const entry = [
        0n,
        0x8000_0000_0000_0000n | BigInt(cluster * 512),
        BigInt(cluster * 512 + 512),
      ];
      const value = n % 3 === 0 ? BigInt(random.below(3)) : entry[random.below(3)]!;
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value);
      await file.write(bytes);
      file.close();
      const { corruptions, leaks } = await qemuCheck(path);
      const ours = await checkQcow2(hostFiles, path);
      assertEquals([ours.corruptions > 0, ours.leaks > 0], [corruptions > 0, leaks > 0], `${n}`);
      await checkQcow2(hostFiles, path, { repair: "all" });
      await bothClean(path);
    }
  }));

peerTest(
  "what qemu-img was told of an image, our image says, too",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      const path = `${folder}/image`;
      await createQcow2(hostFiles, path, {
        bytes: 5 * 1024 * MiB,
        clusterBytes: 128 * 1024,
        lazyRefcounts: true,
      });
      const theirs = JSON.parse(await qemuImg("info", "--output=json", path));
      assertEquals(theirs["virtual-size"], 5 * 1024 * MiB);
      assertEquals(theirs["cluster-size"], 128 * 1024);
      const { data } = theirs["format-specific"];
      assertEquals([data["lazy-refcounts"], data["refcount-bits"], data.compat], [true, 16, "1.1"]);
      const ours = diskInfo(hostFiles, path);
      assertEquals(ours.qcow2?.features, ["lazy-refcounts"]);
      assertEquals(ours.qcow2?.allocatedBytes, 0);
      assert(ours.fileBytes < MiB, "creation does not depend on the size");
    }),
);
