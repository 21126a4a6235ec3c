/**
 * One save: from its begin until it is committed or given up (S17.6, X5).
 *
 * Order of a commit: pack and checkpoint are written under temporary names and flushed; then the pack gets
 * its name and the folder of packs is synced; then the checkpoint gets its name and its folder is synced. A
 * full disk is met before anything has its name.
 *
 * Invariants: the store's lock is held shared from begin to end, so nothing that the save refers to goes
 * meanwhile; when `commit` has resolved the checkpoint survives everything; until then it is not there, or
 * (after a crash in its last step) there as a whole.
 */
import { assert } from "../base/assert.ts";
import { FormatError } from "../base/errors.ts";
import type { PackHashes } from "../datastore/dedup_index.ts";
import type { EncodedCluster, PackIdentity } from "../datastore/pack_format.ts";
import { PackReader } from "../datastore/pack_reader.ts";
import { PackWriter } from "../datastore/pack_writer.ts";
import type { EncodedPages } from "../datastore/page_encoder.ts";
import type { HostLock } from "../host/files.ts";
import {
  checkAbout,
  CHECKPOINT_SCHEMA,
  type CheckpointAbout,
  type CheckpointHead,
  type CheckpointState,
} from "./checkpoint_format.ts";
import { CheckpointFile, writeCheckpoint } from "./checkpoint_file.ts";
import { attempt, type StoreFolder } from "./store_folder.ts";

/** What a save begins with. */
export interface SaveBegin {
  /** Id of the checkpoint that the map is a difference to; all pages are saved without one. */
  readonly parent?: string | undefined;
  /** Guest pages of RAM. */
  readonly memoryPages: number;
}

/** A save that is under way. */
export class CheckpointSave {
  /** Id of the checkpoint that it makes. */
  readonly id: string;
  /** Id of the pack that it makes: the encoder needs it. */
  readonly packId: string;
  readonly #folder: StoreFolder;
  readonly #begin: SaveBegin;
  readonly #lock: HostLock;
  readonly #writer: PackWriter;
  #over = false;

  /** @param lock the store's lock, held shared; the save releases it */
  constructor(folder: StoreFolder, begin: SaveBegin, lock: HostLock) {
    this.#folder = folder;
    this.#begin = begin;
    this.#lock = lock;
    this.id = folder.newId();
    this.packId = folder.newId();
    const { files, codec } = folder.host;
    const pack = { id: this.packId, generation: 0 };
    this.#writer = new PackWriter({ files, codec, path: folder.packPath(this.packId), pack });
  }

  /** Id of the checkpoint that it makes a difference to. */
  get parent(): string | undefined {
    return this.#begin.parent;
  }

  /** Bytes of pages that were written so far. */
  get bytes(): number {
    return this.#writer.bytes;
  }

  /**
   * Packs whose pages may be referred to: those that checkpoints name, the newest first and the parent's
   * before all, for a dedup index that has no room for all. Damaged ones are left out. Throws HostError.
   */
  packs(): PackIdentity[] {
    assert(!this.#over, "the save is under way");
    const folder = this.#folder;
    const heads = folder.checkpointIds().flatMap((id) => readable(() => folder.head(id)) ?? []);
    const rank = (head: CheckpointHead) => head.id === this.#begin.parent ? Infinity : head.created;
    heads.sort((a, b) => rank(b) - rank(a));
    const ids = new Set(heads.flatMap((head) => head.packs));
    return [...ids].flatMap((id) =>
      this.#withPack(id, ({ footer }) => ({ id, generation: footer.generation })) ?? []
    );
  }

  /** Hashes of a pack's pages; undefined when the pack is damaged. Throws HostError. */
  hashes(id: string): PackHashes | undefined {
    assert(!this.#over, "the save is under way");
    return this.#withPack(id, (pack) => pack.hashes());
  }

  /** Writes clusters. After an error the save can only be given up. Throws HostError. */
  append(clusters: readonly EncodedCluster[]): void {
    assert(!this.#over, "the save is under way");
    this.#writer.append(clusters);
  }

  /**
   * Makes the checkpoint. Rejects with HostError, with ConfigError when what is said of it cannot be kept, and
   * with FormatError when it could not be read back; then nothing is left of the save, or, when names could not be
   * given or synced, a pack that the next collection removes.
   */
  async commit(
    about: CheckpointAbout,
    state: CheckpointState,
    pages: EncodedPages,
  ): Promise<CheckpointHead> {
    assert(!this.#over, "the save is under way");
    assert(this.#writer.pages === pages.counts.stored, "all clusters were appended");
    const { parent, memoryPages } = this.#begin;
    const head: CheckpointHead = {
      schema: CHECKPOINT_SCHEMA,
      id: this.id,
      parent: parent ?? null,
      memoryPages,
      packs: pages.packs,
      counts: pages.counts,
      vm: about.vm,
      label: about.label,
      created: about.created,
      kind: about.kind,
      machineVersion: about.machineVersion,
      icount: about.icount,
      key: about.key,
    };
    const folder = this.#folder;
    const { files, codec } = folder.host;
    try {
      checkAbout(about);
      const { map, active } = pages;
      const bytes = writeCheckpoint({ head, state, map, active }, codec);
      new CheckpointFile(bytes, this.id, codec);
      await this.#writer.seal();
      const partial = await folder.writePartial(this.id, bytes);
      try {
        this.#writer.publish();
        // Also of others' packs that this checkpoint refers to, whose names may not be durable yet.
        await files.flushFolder(folder.packs);
        partial.publish();
        await files.flushFolder(folder.checkpoints);
      } catch (error) {
        attempt(partial.abort);
        throw error;
      }
    } catch (error) {
      this.abort();
      throw error;
    }
    this.#end();
    return head;
  }

  /** Gives the save up, and removes what it wrote. After a commit it does nothing. */
  abort(): void {
    if (this.#over) return;
    attempt(() => this.#writer.abort());
    this.#end();
  }

  #end(): void {
    this.#over = true;
    this.#lock.release();
  }

  #withPack<T>(id: string, act: (pack: PackReader) => T): T | undefined {
    const { files, codec } = this.#folder.host;
    const path = this.#folder.packPath(id);
    if (!files.exists(path)) return undefined;
    const pack = PackReader.open(files, path, id, codec);
    try {
      return readable(() => act(pack));
    } finally {
      pack.close();
    }
  }
}

/** What an action gives; undefined when what it reads is damaged. */
function readable<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}
