/**
 * The disks of a VM in the kernel world: opened and locked together, saved together, closed together (S17.10,
 * S19; issue 5, "Disks").
 *
 * Invariants: all disks of a VM are opened or none; one checkpoint of them is made at a time, and the next one
 * begins when each disk is back in its image or stays where it is for good; at the VM's end every disk is whole.
 */
import { closeAll } from "../base/close_all.ts";
import { ConfigError, HostError } from "../base/errors.ts";
import { copyName, overlayName } from "../checkpoint/disk_folder.ts";
import type { SavedDisk, SavedFile } from "../checkpoint/saved_disk.ts";
import type { StoreDisks } from "../checkpoint/store_disks.ts";
import type { Host } from "../host/host.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import { PARTIAL } from "../storage/tracked_overlay.ts";
import type { DiskService } from "./disk_service.ts";
import type { VmDisk } from "./vm_disk.ts";

/** What becomes of a VM's images when a checkpoint has been made (S17.10). */
export const DISK_ENDINGS: readonly DiskEnding[] = ["copy-commit", "retain"];
/**
 * "copy-commit": the checkpoint has a copy, and the disk is in its image again; "retain": the image is part of
 * the checkpoint, and the disk goes on in an overlay.
 */
export type DiskEnding = "copy-commit" | "retain";

/** Where a disk of a VM is after a checkpoint. */
export interface LiveDisk {
  /** The image that the VM goes on in. */
  readonly path: string;
  /** Why that is not the image that it was in, though it was to be. */
  readonly problem: string | undefined;
}

/** How to save disks. */
export interface DiskSaveOptions {
  /** Id of the checkpoint. */
  readonly id: string;
  readonly ending: DiskEnding;
  readonly store: StoreDisks;
}

/** The disks of one VM. */
export class VmDisks {
  readonly #host: Pick<Host, "files" | "timers">;
  readonly #disks: readonly VmDisk[];
  #services: readonly DiskService[] = [];
  #ending: Promise<unknown> = Promise.resolve();
  #save: DiskSave | undefined;
  #isKept = false;

  constructor(host: Pick<Host, "files" | "timers">, disks: readonly VmDisk[]) {
    this.#host = host;
    this.#disks = disks;
  }

  /** What services serve, in the order of the disks. */
  get served(): BlockDevice[] {
    return this.#disks.map(({ served }) => served);
  }

  /** Images that the disks are made of now, in the order of the disks. */
  get live(): string[] {
    return this.#disks.map(({ livePath }) => livePath);
  }

  /** A VM has them, and closes them. */
  attach(services: readonly DiskService[]): void {
    this.#services = services;
    this.#isKept = true;
  }

  /**
   * Makes overlays for a checkpoint, when an earlier one is over. Rejects with `ConfigError` and `HostError`,
   * and the disks are what they were.
   */
  async begin(options: DiskSaveOptions): Promise<DiskSave> {
    const { ending } = options;
    if (!DISK_ENDINGS.includes(ending)) {
      throw new ConfigError(`disk is "${ending}": expected ${DISK_ENDINGS.join(" or ")}`);
    }
    await this.#ending;
    const over = Promise.withResolvers<void>();
    this.#ending = over.promise;
    const save = new DiskSave(this.#host, this.#disks, options, over.resolve);
    this.#save = save;
    try {
      await save.prepare();
      return save;
    } catch (error) {
      await save.end(false);
      throw error;
    }
  }

  /**
   * What the disks of a VM are that stands still, and whose images nobody writes to before it ends. Rejects with
   * `HostError` and `FormatError`.
   */
  async standing(store: StoreDisks): Promise<SavedDisk[]> {
    await this.#ending;
    await Promise.all(this.#services.map((service) => service.idle()));
    const saved: SavedDisk[] = [];
    for (const disk of this.#disks) {
      await disk.writeBack(() => this.#host.timers.yieldToOthers());
      if (!disk.readOnly) await disk.served.flush();
      saved.push(await describe(this.#host.files, disk, store));
    }
    return saved;
  }

  /** Scratch images stay at the VM's end: a checkpoint has them. */
  keep(): void {
    for (const disk of this.#disks) disk.isScratch = false;
  }

  /** Closes all, behind the services. A disk that could not be written is told by nobody: its guest is gone. */
  async close(): Promise<void> {
    this.#save?.giveUp();
    await this.#ending;
    const problems = await closeAll(this.#disks);
    // What could not be written was never flushed by the guest: it was promised nothing.
    const broken = problems.find((problem) => !(problem instanceof HostError));
    if (broken !== undefined) throw broken;
  }

  /** Closes them, unless a VM has them. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isKept) await this.close();
  }
}

/** The disks in one checkpoint. */
export class DiskSave {
  readonly #host: Pick<Host, "files" | "timers">;
  readonly #all: readonly VmDisk[];
  readonly #writable: readonly VmDisk[];
  readonly #options: DiskSaveOptions;
  readonly #over: () => void;
  /** Copies that were begun. */
  readonly #copies: string[] = [];
  /** Files of the copies that are whole. */
  readonly #copied = new Map<VmDisk, readonly SavedFile[]>();
  #isSwitched = false;
  #isGivenUp = false;

  constructor(
    host: Pick<Host, "files" | "timers">,
    disks: readonly VmDisk[],
    options: DiskSaveOptions,
    over: () => void,
  ) {
    this.#host = host;
    this.#all = disks;
    this.#writable = disks.filter(({ readOnly }) => !readOnly);
    this.#options = options;
    this.#over = over;
  }

  /** Makes the overlays (S17.1). Rejects with `ConfigError` and `HostError`. */
  async prepare(): Promise<void> {
    const { id, ending, store } = this.#options;
    const keeper = ending === "retain" ? store.checkpointPath(id) : undefined;
    for (const disk of this.#writable) {
      // One that an earlier checkpoint could not write back.
      await disk.writeBack(this.#yields);
      await disk.prepare({ id, keeper, scratchPath: store.pathOf(overlayName(store.newId())) });
    }
  }

  /** Makes `states` reject soon, if it is at work: the VM has ended. */
  giveUp(): void {
    this.#isGivenUp = true;
  }

  /** The moment: what begins later goes to the overlays (S17.2). */
  switch(): void {
    const copies = this.#options.ending === "copy-commit";
    for (const disk of this.#writable) disk.switch(copies);
    this.#isSwitched = true;
  }

  /**
   * What the disks were at the moment; copies are whole and have their names then, durably. Rejects with
   * `HostError` and `FormatError`.
   */
  async states(): Promise<SavedDisk[]> {
    const { id, ending, store } = this.#options;
    const { files } = this.#host;
    const saved: SavedDisk[] = [];
    for (const [i, disk] of this.#all.entries()) {
      await disk.frozen();
      const name = copyName(id, i);
      if (disk.readOnly || ending === "retain") saved.push(await describe(files, disk, store));
      else {
        this.#copies.push(store.pathOf(name));
        const isThere = (other: string) => files.exists(store.pathOf(other));
        const base = await disk.copyTo(store.pathOf(name), isThere, this.#copying);
        files.rename(store.pathOf(name) + PARTIAL, store.pathOf(name));
        const file = await store.describe(name, this.#copying);
        const { sectors } = disk.served;
        const all = [file, ...base];
        this.#copied.set(disk, all);
        saved.push({ format: "qcow2", sectors, readOnly: false, files: all });
      }
    }
    if (this.#copies.length > 0) await files.flushFolder(store.path);
    return saved;
  }

  /**
   * Ends it: the checkpoint is there or was given up. Resolves when each disk is where it stays; one that
   * cannot be written back goes on in its overlay.
   */
  async end(isWhole: boolean): Promise<LiveDisk[]> {
    try {
      if (!isWhole) this.#removeCopies();
      if (this.#isSwitched && this.#options.ending === "copy-commit") {
        for (const disk of this.#writable) {
          disk.copied(isWhole ? this.#copied.get(disk) : undefined);
        }
      }
      const live: LiveDisk[] = [];
      for (const disk of this.#all) {
        const problem = await this.#endOne(disk, isWhole);
        live.push({ path: disk.livePath, problem });
      }
      return live;
    } finally {
      this.#over();
    }
  }

  async #endOne(disk: VmDisk, isWhole: boolean): Promise<string | undefined> {
    if (!disk.hasOverlay) return undefined;
    try {
      if (isWhole && this.#options.ending === "retain") disk.retain();
      else await disk.writeBack(this.#isSwitched ? this.#yields : () => Promise.resolve());
      return undefined;
    } catch (error) {
      if (!(error instanceof HostError || error instanceof ConfigError)) throw error;
      return error.message;
    }
  }

  #removeCopies(): void {
    const { files } = this.#host;
    for (const path of this.#copies.flatMap((path) => [path + PARTIAL, path])) {
      try {
        if (files.exists(path)) files.remove(path);
      } catch (error) {
        // The next collection removes it.
        if (!(error instanceof HostError)) throw error;
      }
    }
  }

  readonly #copying = async () => {
    if (this.#isGivenUp) throw new HostError("The VM ended before its disks were copied");
    await this.#yields();
  };

  readonly #yields = () => this.#host.timers.yieldToOthers();
}

/** A disk as its image is now. */
async function describe(
  files: Host["files"],
  disk: VmDisk,
  store: StoreDisks,
): Promise<SavedDisk> {
  const identities = await disk.identities();
  const folder = `${files.facts(store.path).path}/`;
  return {
    format: disk.image.format,
    sectors: disk.served.sectors,
    readOnly: disk.readOnly,
    files: identities.map((file): SavedFile => {
      const inStore = file.path.startsWith(folder);
      const path = inStore ? file.path.slice(folder.length) : file.path;
      return { ...file, inStore, path, contents: null };
    }),
  };
}
