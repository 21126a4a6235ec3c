/** Claims about the order in which a disk's requests run, and about a disk that takes another's place. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { HostError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { SECTOR_BYTES } from "../../../kernel/limits.ts";
import type { BlockDevice } from "../../../kernel/storage/block_device.ts";
import { LentDevice, SwitchedDisk } from "../../../kernel/storage/switched_disk.ts";
import { DiskService } from "../../../kernel/world/disk_service.ts";
import { DISK_KINDS, type Message, message, TO_VM } from "../../../kernel/world/protocol.ts";

const SECTORS = 64;

type Kind = (typeof DISK_KINDS)[number];

interface Pending {
  readonly what: string;
  readonly go: () => void;
  readonly fail: (error: Error) => void;
}

/** A disk whose requests end when the test says so. */
class SlowDisk implements BlockDevice {
  readonly sectors = SECTORS;
  readonly readOnly = false;
  /** Requests under way. */
  readonly pending: Pending[] = [];
  /** The first byte of each sector. */
  readonly bytes = new Uint8Array(SECTORS);
  /** What it holds on stable storage. */
  stable = new Uint8Array(SECTORS);
  closed = false;

  constructor(readonly concurrent: boolean, readonly below?: SlowDisk) {}

  async read(sector: number, into: Uint8Array): Promise<void> {
    await this.#wait(`read ${sector}`);
    for (let at = 0; at < into.length; at += SECTOR_BYTES) {
      into.fill(this.value(sector + at / SECTOR_BYTES), at, at + SECTOR_BYTES);
    }
  }

  async write(sector: number, bytes: Uint8Array): Promise<void> {
    await this.#wait(`write ${sector}`);
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      this.bytes[sector + at / SECTOR_BYTES] = bytes[at]!;
    }
  }

  async zero(sector: number, count: number, mayUnmap: boolean): Promise<void> {
    await this.#wait(`${mayUnmap ? "unmap" : "zero"} ${sector}`);
    this.bytes.fill(0, sector, sector + count);
  }

  discard(sector: number): Promise<void> {
    return this.#wait(`discard ${sector}`);
  }

  async flush(): Promise<void> {
    const now = this.bytes.slice();
    await this.#wait("flush");
    this.stable = now;
  }

  close(): Promise<void> {
    assertEquals(this.under, []);
    this.closed = true;
    return Promise.resolve();
  }

  /** Names of the requests under way. */
  get under(): string[] {
    return this.pending.map(({ what }) => what);
  }

  /** What a sector holds; a layer's own contents are what is not 0. */
  value(sector: number): number {
    return this.bytes[sector] || (this.below?.value(sector) ?? 0);
  }

  #wait(what: string): Promise<void> {
    return new Promise((go, fail) => this.pending.push({ what, go, fail }));
  }
}

/** Lets all that can go on do so. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

/** A service, and what it answered. */
class Bench {
  /** Tags in the order in which they ended, with their status. */
  readonly ended: [tag: number, status: number][] = [];
  /** What was read, by tag. */
  readonly data = new Map<number, number[]>();
  readonly service: DiskService;
  #tag = 0;

  constructor(disk: BlockDevice) {
    this.service = new DiskService("disk0", disk, {
      send: (kind: number, { numbers: [tag, status], bytes }: Message) => {
        if (kind === TO_VM.diskDone) this.ended.push([tag!, status!]);
        else {
          const read = Array.from({ length: bytes.length / 512 }, (_, i) => bytes[512 * i]!);
          this.data.set(tag!, [...this.data.get(tag!) ?? [], ...read]);
        }
        return Promise.resolve();
      },
    }, () => {});
  }

  ask(kind: Kind, sector = 0, count = 0, fill = 0): number {
    const tag = this.#tag++;
    if (kind === "write") {
      this.service.addData(message("disk0", [tag], new Uint8Array(count * 512).fill(fill)));
    }
    const numbers = [tag, DISK_KINDS.indexOf(kind), sector, count * 512];
    this.service.addRequest(message("disk0", numbers));
    return tag;
  }
}

/** Lets a request that is under way end. */
async function end(disk: SlowDisk, what: string): Promise<void> {
  await settle();
  const at = disk.under.indexOf(what);
  assert(at >= 0, `${what} is not under way, but ${disk.under}`);
  disk.pending.splice(at, 1)[0]!.go();
  await settle();
}

const lent = (disk: SlowDisk) => disk.concurrent ? disk : new LentDevice(disk);

/** The same over a disk whose device is switched. */
class SwitchedBench extends Bench {
  constructor(disk: SlowDisk, readonly switched = new SwitchedDisk(lent(disk))) {
    super(switched);
  }

  swap(disk: SlowDisk): Promise<void> {
    return this.switched.swap(lent(disk));
  }
}

Deno.test("reads run beside each other and end in any order; a device that is not concurrent is asked one thing at a time", async () => {
  for (const concurrent of [true, false]) {
    const disk = new SlowDisk(concurrent);
    const bench = new Bench(disk);
    bench.ask("read", 0, 2);
    bench.ask("read", 1, 2);
    bench.ask("write", 8, 1, 5);
    await settle();
    if (!concurrent) {
      assertEquals(disk.under, ["read 0"]);
      await end(disk, "read 0");
      assertEquals(disk.under, ["read 1"]);
      continue;
    }
    assertEquals(disk.under, ["read 0", "read 1", "write 8"]);
    await end(disk, "write 8");
    await end(disk, "read 1");
    await end(disk, "read 0");
    assertEquals(bench.ended, [[2, 0], [1, 0], [0, 0]]);
  }
});

Deno.test("requests with common sectors run in their order if one of them changes these", async () => {
  const kinds = ["read", "write", "zero", "zeroUnmap", "discard"] as const;
  for (const first of kinds) {
    for (const second of kinds) {
      const disk = new SlowDisk(true);
      const bench = new Bench(disk);
      bench.ask(first, 4, 2, 1);
      bench.ask(second, 5, 2, 2);
      bench.ask(second, 6, 2, 3);
      await settle();
      // The third has sectors in common with the second only.
      const reads = first === "read" && second === "read";
      const free = second === "read" ? 2 : 1;
      assertEquals(disk.under.length, reads ? 3 : free, `${first} ${second}`);
    }
  }
});

Deno.test("a flush waits for the changes before it, and nothing waits for a flush", async () => {
  const disk = new SlowDisk(true);
  const bench = new Bench(disk);
  bench.ask("write", 1, 1, 7);
  bench.ask("read", 9, 1);
  bench.ask("flush");
  bench.ask("write", 2, 1, 8);
  bench.ask("flush");
  await settle();
  assertEquals(disk.under, ["write 1", "read 9", "write 2"]);
  await end(disk, "write 1");
  assertEquals(disk.under, ["read 9", "write 2", "flush"]);
  await end(disk, "flush");
  assertEquals([disk.stable[1], disk.stable[2]], [7, 0]);
  await end(disk, "write 2");
  await end(disk, "flush");
  assertEquals([disk.stable[1], disk.stable[2]], [7, 8]);
  assertEquals(bench.ended.map(([tag]) => tag), [0, 2, 3, 4]);
});

Deno.test("no more than sixteen requests hold memory at once", async () => {
  const disk = new SlowDisk(true);
  const bench = new Bench(disk);
  for (let i = 0; i < 60; i++) bench.ask("read", i, 1);
  await settle();
  assertEquals(disk.under.length, 16);
  await end(disk, "read 3");
  assertEquals(disk.under.length, 16);
  assertEquals(disk.under.at(-1), "read 16");
});

Deno.test("what lies outside is refused at once, whatever is under way", async () => {
  const disk = new SlowDisk(true);
  const bench = new Bench(disk);
  bench.ask("write", 0, 64, 1);
  bench.ask("read", 60, 5);
  bench.ask("read", -1, 1);
  bench.ask("write", 0.5, 1);
  await settle();
  assertEquals(bench.ended, [[1, 1], [2, 1], [3, 1]]);
});

Deno.test("S17.7, S17.8: requests that came before a swap end on the old disk, ahead of later ones", async () => {
  const old = new SlowDisk(true);
  const overlay = new SlowDisk(true, old);
  const bench = new SwitchedBench(old);
  bench.ask("write", 1, 1, 7);
  bench.ask("read", 30, 1);
  await settle();
  const drained = bench.swap(overlay);
  assertEquals(bench.switched.device === overlay, true);
  let isDrained = false;
  drained.then(() => isDrained = true);
  const [same, other] = [bench.ask("read", 1, 1), bench.ask("read", 2, 1)];
  bench.ask("write", 40, 1, 9);
  const flush = bench.ask("flush");
  await settle();
  // A layer may read more of what lies below than the sectors that are written, so its writes wait.
  assertEquals([old.under, overlay.under], [["write 1", "read 30"], ["read 2"]]);
  await end(old, "write 1");
  assertEquals([old.under, overlay.under], [["read 30"], ["read 2", "write 40", "read 1"]]);
  await end(overlay, "read 1");
  await end(overlay, "read 2");
  assertEquals([bench.data.get(same), bench.data.get(other)], [[7], [0]]);
  await end(overlay, "write 40");
  assertEquals([overlay.under, isDrained], [[], false], "the old disk is not flushed yet");
  await end(old, "read 30");
  assertEquals([old.under, isDrained], [["flush"], false]);
  await end(old, "flush");
  assertEquals([isDrained, old.stable[1], old.bytes[40]], [true, 7, 0]);
  await end(overlay, "flush");
  assertEquals([overlay.stable[40], overlay.bytes[1]], [9, 0]);
  assertEquals(bench.ended.at(-1), [flush, 0]);
  await bench.service.close();
  assertEquals([old.closed, overlay.closed], [false, false]);
});

Deno.test("a flush that came before a swap does not wait for what the swap waits for", async () => {
  const old = new SlowDisk(true);
  const bench = new SwitchedBench(old);
  bench.ask("write", 1, 1, 7);
  await end(old, "write 1");
  const flush = bench.ask("flush");
  await settle();
  const drained = bench.swap(new SlowDisk(true, old));
  await end(old, "flush");
  assertEquals(bench.ended.at(-1), [flush, 0]);
  await end(old, "flush");
  await drained;
});

Deno.test("after a swap whose disk cannot be flushed no flush succeeds, and the rest goes on", async () => {
  const old = new SlowDisk(true);
  const overlay = new SlowDisk(true, old);
  const bench = new SwitchedBench(old);
  bench.ask("write", 1, 1, 7);
  await settle();
  const drained = bench.swap(overlay);
  await end(old, "write 1");
  old.pending.pop()!.fail(new HostError("bad medium"));
  await assertRejects(() => drained, HostError, "bad medium");
  const flush = bench.ask("flush");
  await settle();
  assertEquals(bench.ended.at(-1), [flush, 1]);
  const write = bench.ask("write", 3, 1, 1);
  await end(overlay, "write 3");
  assertEquals(bench.ended.at(-1), [write, 0]);
  await bench.service.close();
});

Deno.test("two swaps in a row keep all three disks in order; what waits goes to the last", async () => {
  const first = new SlowDisk(true);
  const second = new SlowDisk(false, first);
  const third = new SlowDisk(true, second);
  const bench = new SwitchedBench(first);
  bench.ask("write", 1, 1, 1);
  await settle();
  const one = bench.swap(second);
  bench.ask("write", 2, 1, 2);
  await settle();
  const two = bench.swap(third);
  bench.ask("write", 1, 1, 3);
  const read = bench.ask("read", 1, 1);
  await settle();
  assertEquals([first.under, second.under, third.under], [["write 1"], [], []]);
  await end(first, "write 1");
  await end(first, "flush");
  await one;
  await end(second, "flush");
  await two;
  await end(third, "write 2");
  await end(third, "write 1");
  await end(third, "read 1");
  assertEquals(bench.data.get(read), [3]);
  assertEquals([first.bytes[1], third.bytes[1], third.bytes[2]], [1, 3, 2]);
});

Deno.test("whatever order requests end in, they see what they would one after the other", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = new Prng(seed);
    let disk = new SlowDisk(random.below(4) > 0);
    const disks = [disk];
    const bench = new SwitchedBench(disk);
    const model = new Uint8Array(SECTORS);
    const expected = new Map<number, number[]>();
    for (let step = 0; step < 60; step++) {
      const sector = random.below(SECTORS);
      const count = 1 + random.below(Math.min(12, SECTORS - sector));
      switch (random.below(6)) {
        case 0:
        case 1:
          expected.set(bench.ask("read", sector, count), [
            ...model.subarray(sector, sector + count),
          ]);
          break;
        case 2:
        case 3:
          bench.ask("write", sector, count, step + 1);
          model.fill(step + 1, sector, sector + count);
          break;
        case 4:
          bench.ask("flush");
          break;
        default:
          if (disks.length > 3) break;
          disk = new SlowDisk(random.below(4) > 0, disk);
          disks.push(disk);
          void bench.swap(disk);
      }
      for (let ends = random.below(3); ends > 0; ends--) {
        await settle();
        const under = disks.filter(({ pending }) => pending.length > 0);
        if (under.length === 0) break;
        const { pending } = random.pick(under);
        pending.splice(random.below(pending.length), 1)[0]!.go();
      }
    }
    let isClosed = false;
    const closing = bench.service.close().then(() => isClosed = true);
    while (!isClosed) {
      await settle();
      for (const { pending } of disks) for (const { go } of pending.splice(0)) go();
    }
    await closing;
    for (const [tag, values] of expected) assertEquals(bench.data.get(tag), values, `${seed}`);
    assertEquals(Array.from(model, (_, i) => disk.value(i)), [...model]);
  }
});
