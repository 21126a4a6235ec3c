/**
 * A disk of a VM without the VM, for tests: requests go to what its service would serve, a checkpoint goes
 * through the steps that the checkpoint service takes, and a model knows what the disk must hold.
 */
import { assert, assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import type { CheckpointStore } from "../../kernel/checkpoint/checkpoint_store.ts";
import { encodeSavedDisk } from "../../kernel/checkpoint/saved_disk.ts";
import type { HostFiles } from "../../kernel/host/files.ts";
import { hostTimers } from "../../kernel/host/timers.ts";
import { convertDisk, createQcow2, type DiskFormat } from "../../kernel/storage/mod.ts";
import type { BlockDevice } from "../../kernel/storage/block_device.ts";
import { openImages, openSaved } from "../../kernel/world/open_disks.ts";
import type { DiskEnding, LiveDisk, VmDisks } from "../../kernel/world/vm_disks.ts";
import { folderOf } from "../../kernel/storage/qcow2/create.ts";
import { aboutOf, encodePages, stateOf } from "./checkpoints.ts";

export const SECTOR = 512;

/** A write to a sector. */
interface SectorWrite {
  readonly value: number;
  readonly sector: number;
  ended: boolean;
}

/** What sectors hold: a number each, 0 for zeros. */
export class DiskModel {
  /** What was written last. */
  readonly now: Uint32Array;
  /** What was written last and flushed. */
  #stable: Uint32Array;
  /** What was written and not flushed, in order: any of it may survive a crash. */
  #since: SectorWrite[] = [];

  constructor(values: Uint32Array) {
    this.now = values.slice();
    this.#stable = values.slice();
  }

  /** A write begins; call what it gives when it has ended. */
  begins(first: number, count: number, value: number): () => void {
    const writes = Array.from({ length: count }, (_, i): SectorWrite => {
      return { value, sector: first + i, ended: false };
    });
    this.#since.push(...writes);
    return () => {
      for (const write of writes) write.ended = true;
      this.now.fill(value, first, first + count);
    };
  }

  /** A flush begins; call what it gives when it has ended. */
  flushes(): () => void {
    const stable = this.now.slice();
    const gone = new Set(this.#since.filter(({ ended }) => ended));
    return () => {
      this.#stable = stable;
      this.#since = this.#since.filter((write) => !gone.has(write));
    };
  }

  /** What may be found: the disk as it is now, and what is under way or was not flushed. */
  snapshot(): DiskMoment {
    const under = this.#since.filter(({ ended }) => !ended);
    return new DiskMoment(this.now.slice(), under);
  }

  /** The same for the next start after a crash. */
  survivors(): DiskMoment {
    return new DiskMoment(this.#stable, this.#since);
  }
}

/** What a disk may hold. */
export class DiskMoment {
  constructor(readonly values: Uint32Array, private readonly others: readonly SectorWrite[]) {}

  /** Throws unless a disk may hold these. */
  assertIs(values: Uint32Array): void {
    const may = new Map<number, number[]>();
    for (const { sector, value } of this.others) {
      may.set(sector, [...may.get(sector) ?? [], value]);
    }
    values.forEach((value, sector) => {
      const all = [this.values[sector]!, ...may.get(sector) ?? []];
      assert(all.includes(value), `sector ${sector} is ${value}, expected ${all}`);
    });
  }
}

/** Bytes of sectors that hold a number. */
export function sectorsOf(count: number, value: number): Uint8Array {
  const bytes = new Uint8Array(count * SECTOR);
  new Uint32Array(bytes.buffer).fill(value);
  return bytes;
}

/** What the sectors of a disk hold. Throws when one is torn. */
export async function valuesOf(disk: BlockDevice): Promise<Uint32Array> {
  const bytes = new Uint8Array(disk.sectors * SECTOR);
  await disk.read(0, bytes);
  const words = new Uint32Array(bytes.buffer);
  return Uint32Array.from({ length: disk.sectors }, (_, sector) => {
    const first = words[sector * 128]!;
    assert(
      words.subarray(sector * 128, sector * 128 + 128).every((word) => word === first),
      `sector ${sector} is torn`,
    );
    return first;
  });
}

/** Makes an image of a format whose sectors hold their numbers plus one. */
export async function makeImage(
  files: HostFiles,
  path: string,
  format: DiskFormat,
  sectors: number,
): Promise<DiskModel> {
  const raw = format === "raw" ? path : `${path}.source`;
  const file = files.create(raw);
  const bytes = new Uint8Array(sectors * SECTOR);
  const values = new Uint32Array(sectors);
  const words = new Uint32Array(bytes.buffer);
  // A part is zeros, which formats treat apart.
  for (let sector = 0; sector < sectors / 2; sector++) {
    words.fill(sector + 1, sector * 128, sector * 128 + 128);
    values[sector] = sector + 1;
  }
  file.write(0, bytes);
  await file.flush();
  file.close();
  if (raw !== path) {
    await convertDisk(files, { path: raw, format: "raw" }, { path, format });
    files.remove(raw);
  }
  files.syncFolder(folderOf(path));
  return new DiskModel(values);
}

/** An empty overlay of an image, as a user makes it. */
export async function makeUserOverlay(
  files: HostFiles,
  path: string,
  base: { readonly path: string; readonly format: "raw" | "qcow2" },
  sectors: number,
): Promise<void> {
  await createQcow2(files, path, { bytes: sectors * SECTOR, clusterBytes: 4096, backing: base });
}

/** Opens the disk of a VM that is switched on. */
export function openDrive(
  files: HostFiles,
  path: string,
  format?: DiskFormat,
  lines: string[] = [],
): Promise<VmDisks> {
  const image = { path, readOnly: false, format };
  return openImages({ files, timers: hostTimers }, [image], (line) => lines.push(line));
}

/** Opens the disk of a checkpoint. */
export async function openOf(
  files: HostFiles,
  store: CheckpointStore,
  id: string,
  sectors: number,
  inPlace = false,
): Promise<VmDisks> {
  const open = await store.open(id);
  open.close();
  const shapes = [{ sectors, readOnly: false }];
  const from = { store, id, disks: open.state.disks, shapes, inPlace };
  return await openSaved({ files, timers: hostTimers }, from);
}

/** Writes to a disk at random, some requests beside each other, with flushes; the model follows. */
export class Writer {
  readonly #random: Prng;
  /** Values are told apart from all others. */
  #value: number;
  stopped = false;

  constructor(
    private readonly disk: BlockDevice,
    readonly model: DiskModel,
    seed: number,
  ) {
    this.#random = new Prng(seed);
    this.#value = 1_000_000 * (1 + seed % 4000);
  }

  /** So many rounds of a few requests beside each other; ends when `stopped`. */
  async run(rounds: number, yields: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    for (let round = 0; round < rounds && !this.stopped; round++) {
      await this.round();
      await yields();
    }
  }

  /** A few requests that do not touch each other, one for each part of the disk, and perhaps a flush. */
  async round(): Promise<void> {
    const random = this.#random;
    const parts = 1 + random.below(4);
    const part = Math.floor(this.disk.sectors / parts);
    const requests: Promise<void>[] = [];
    for (let i = 0; i < parts; i++) {
      const first = i * part + random.below(part);
      const count = 1 + random.below(Math.min(20, (i + 1) * part - first));
      requests.push(this.#request(first, Math.min(count, (i + 1) * part - first)));
    }
    if (random.below(3) === 0) requests.push(this.flush());
    await Promise.all(requests);
  }

  /** Flushes. */
  async flush(): Promise<void> {
    const ended = this.model.flushes();
    await this.disk.flush();
    ended();
  }

  async #request(first: number, count: number): Promise<void> {
    const { model, disk } = this;
    const kind = this.#random.below(6);
    if (kind === 0) {
      const into = new Uint8Array(count * SECTOR);
      const expected = model.now.slice(first, first + count);
      await disk.read(first, into);
      const words = new Uint32Array(into.buffer);
      assertEquals(Uint32Array.from(expected, (_, i) => words[i * 128]!), expected);
      return;
    }
    const value = kind === 1 ? 0 : ++this.#value;
    const ended = model.begins(first, count, value);
    if (kind === 1) await disk.zero(first, count, this.#random.below(2) === 0);
    else await disk.write(first, sectorsOf(count, value));
    ended();
  }
}

/** What a checkpoint made of a disk. */
export interface Made {
  readonly id: string;
  readonly live: readonly LiveDisk[];
  /** What the disk was at the moment; a request under way then may have done its work or not. */
  readonly then: DiskMoment;
}

/** Makes a checkpoint of disks, in the order of the checkpoint service; all that comes between calls `between`. */
export async function checkpointDisks(
  store: CheckpointStore,
  disks: VmDisks,
  ending: DiskEnding,
  model: DiskModel,
  between: () => Promise<void> = () => Promise.resolve(),
): Promise<Made> {
  const memory = [1, 2, 0, 1001];
  const save = await store.beginSave({ memoryPages: memory.length });
  let whole = false;
  let then: DiskMoment;
  let live: LiveDisk[] = [];
  try {
    const parts = await disks.begin({ id: save.id, ending, store: store.disks });
    try {
      await between();
      parts.switch();
      then = model.snapshot();
      const pages = encodePages(save, memory, {});
      const states = await parts.states();
      await between();
      const state = { ...stateOf(memory), disks: states.map(encodeSavedDisk) };
      await save.commit(aboutOf(), state, pages);
      whole = true;
    } finally {
      live = await parts.end(whole);
    }
  } finally {
    save.abort();
  }
  return { id: save.id, live, then };
}
