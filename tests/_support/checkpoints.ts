/**
 * Checkpoints for tests: a store over simulated or real files, pages that are easy to tell apart, saves of
 * them, and a model of what the store must give back.
 */
import { assert, assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { PAGE_BYTES } from "../../kernel/base/units.ts";
import type {
  CheckpointAbout,
  CheckpointState,
} from "../../kernel/checkpoint/checkpoint_format.ts";
import type { CheckpointSave } from "../../kernel/checkpoint/checkpoint_save.ts";
import { CheckpointStore } from "../../kernel/checkpoint/checkpoint_store.ts";
import { DedupIndex } from "../../kernel/datastore/dedup_index.ts";
import { type EncodedPages, PageEncoder } from "../../kernel/datastore/page_encoder.ts";
import type { HostFiles } from "../../kernel/host/files.ts";
import { hostPageCodec as codec } from "../../kernel/host/page_codec.ts";
import { MACHINE_VERSION } from "../../kernel/machine/version.ts";

/** Folder of the stores that are made here. */
export const STORE = "store";

/** A store whose ids follow from a seed. */
export function testStore(files: HostFiles, seed = 1, path = STORE): CheckpointStore {
  const random = new Prng(seed);
  const entropy = { fill: (into: Uint8Array) => void random.fill(into), seed: () => random.u32() };
  return new CheckpointStore({ files, codec, entropy }, path);
}

/** Contents of a page by a number: 0 is zeros, those above 1000 cannot be compressed. */
export function pageOf(number: number): Uint8Array<ArrayBuffer> {
  const page = new Uint8Array(PAGE_BYTES);
  if (number === 0) return page;
  if (number > 1000) {
    const words = new Uint32Array(page.buffer);
    const random = new Prng(number);
    for (let i = 0; i < words.length; i++) words[i] = random.u32();
    return page;
  }
  for (let i = 0; i < PAGE_BYTES; i++) page[i] = i % 7 === 0 ? number + (i >> 9) : number >> 8;
  return page;
}

/** Guest memory as page numbers for `pageOf`. */
export type Memory = readonly number[];

/** What a save says of itself. */
export function aboutOf(about: Partial<CheckpointAbout> = {}): CheckpointAbout {
  return {
    vm: "guest",
    label: "label",
    created: 1_767_225_600_000,
    kind: "checkpoint",
    machineVersion: MACHINE_VERSION,
    icount: 12345,
    key: "",
    ...about,
  };
}

/** A state that says which memory it belongs to. */
export function stateOf(memory: Memory, disks: CheckpointState["disks"] = []): CheckpointState {
  return {
    image: { version: 1, memoryBytes: memory.length * PAGE_BYTES } as never,
    config: { harts: 1, append: "quiet", memory: memory.join() },
    identity: { uuid: "u", mac: new Uint8Array([2, 0, 0, 0, 0, 1]) },
    disks,
  };
}

/** How a save is made. */
export interface SaveOptions {
  readonly parent?: string | undefined;
  /** Memory of the parent: only pages that differ are saved. */
  readonly before?: Memory | undefined;
  /** Pages that are saved as active. */
  readonly active?: readonly number[] | undefined;
  readonly about?: Partial<CheckpointAbout> | undefined;
  /** What it says of disks; none by default. */
  readonly disks?: CheckpointState["disks"] | undefined;
  /** Without it, the index is made of the store's packs. */
  readonly index?: DedupIndex | undefined;
}

/** A dedup index of all that a save may refer to. */
export function indexOf(save: CheckpointSave): DedupIndex {
  const index = new DedupIndex();
  for (const { id } of save.packs()) {
    const hashes = save.hashes(id);
    if (hashes) index.addPack(hashes);
  }
  return index;
}

/** Encodes pages of a save, and appends them. */
export function encodePages(
  save: CheckpointSave,
  memory: Memory,
  options: SaveOptions,
): EncodedPages {
  const index = options.index ?? indexOf(save);
  const encoder = new PageEncoder({ codec, index, pack: save.packId });
  const active = new Set(options.active ?? []);
  const changed = [...memory.keys()].filter((page) => options.before?.[page] !== memory[page]);
  for (const page of changed) {
    if (active.has(page)) continue;
    if (memory[page] === 0 && page % 2 === 0) encoder.addZero(page);
    else encoder.add(page, pageOf(memory[page]!));
    if (page % 5 === 0) save.append(encoder.takeClusters());
  }
  for (const page of active) encoder.addActive(page, pageOf(memory[page]!));
  const pages = encoder.finish();
  save.append(encoder.takeClusters());
  return pages;
}

/** Makes a checkpoint; gives its id. */
export async function saveMemory(
  store: CheckpointStore,
  memory: Memory,
  options: SaveOptions = {},
): Promise<string> {
  const { parent } = options;
  const save = await store.beginSave({ memoryPages: memory.length, ...parent && { parent } });
  try {
    const pages = encodePages(save, memory, options);
    const head = await save.commit(aboutOf(options.about), stateOf(memory, options.disks), pages);
    assertEquals(head.id, save.id);
    return save.id;
  } finally {
    save.abort();
  }
}

/** Throws unless a checkpoint is of this memory, page for page. */
export async function assertMemory(
  store: CheckpointStore,
  id: string,
  memory: Memory,
): Promise<void> {
  const open = await store.open(id);
  try {
    assertEquals(open.head.memoryPages, memory.length);
    assertEquals((open.state.config as { memory: string }).memory, memory.join());
    const page = new Uint8Array(PAGE_BYTES);
    for (let n = 0; n < memory.length; n++) {
      open.readPage(n, page);
      if (!samePage(page, memory[n]!)) {
        throw new Error(`checkpoint ${id}: page ${n} is not as saved`);
      }
    }
  } finally {
    open.close();
  }
}

const known = new Map<number, Uint8Array>();

/** Whether bytes are those of a page number. */
export function samePage(bytes: Uint8Array, number: number): boolean {
  let page = known.get(number);
  if (page === undefined) known.set(number, page = pageOf(number));
  for (let i = 0; i < PAGE_BYTES; i++) if (bytes[i] !== page[i]) return false;
  return true;
}

/** Throws unless a store has just these checkpoints, whole. */
export async function assertStore(
  store: CheckpointStore,
  model: ReadonlyMap<string, Memory>,
): Promise<void> {
  const entries = store.list();
  for (const { problem } of entries) assert(problem === undefined, problem);
  assertEquals(entries.map(({ id }) => id).sort(), [...model.keys()].sort());
  assertEquals(await store.verify(), []);
  for (const [id, memory] of model) await assertMemory(store, id, memory);
}
