/**
 * Looks over a whole store (issue 5, "verify"): every checksum, every page's hash, every reference.
 *
 * Invariant: a store without problems gives every page of every checkpoint back as it was saved.
 */
import { FormatError, HostError } from "../base/errors.ts";
import { PackReader } from "../datastore/pack_reader.ts";
import { flatten, indexIn } from "../datastore/page_map.ts";
import { checkMachineVersion } from "./checkpoint_format.ts";
import type { Claims } from "./claims.ts";
import { diskProblems } from "./disk_check.ts";
import { named, type StoreFolder } from "./store_folder.ts";

/** Something that is wrong. */
export interface StoreProblem {
  /** Checkpoint that it concerns. */
  readonly checkpoint: string;
  /** What, naming checkpoint, and pack and page where it is one. */
  readonly problem: string;
}

/** Most problems that are named of one checkpoint. */
const PROBLEMS_MAXIMUM = 20;

/** Most damaged pages of a pack that are told apart. */
const PAGES_MAXIMUM = 10_000;

/** What is looked over. */
export interface StoreLookedOver {
  /** The store's folder. */
  readonly folder: StoreFolder;
  /** Which suspended states were run from. */
  readonly claims: Pick<Claims, "wasRunFrom">;
}

/** What is wrong with packs: the pack's own problem, or of some pages. */
interface PackProblems {
  readonly whole: string | undefined;
  readonly pages: ReadonlyMap<number, string>;
  readonly reader: PackReader | undefined;
}

/** Looks over checkpoints and all that they refer to. Throws HostError when the store cannot be read. */
export function verifyStore(
  store: StoreLookedOver,
  ids: readonly string[],
  progress: (done: number, of: number) => void = () => {},
): StoreProblem[] {
  const packs = new Map<string, PackProblems>();
  const problems: StoreProblem[] = [];
  try {
    ids.forEach((checkpoint, i) => {
      for (const problem of checkpointProblems(store, checkpoint, packs)) {
        problems.push({ checkpoint, problem });
      }
      progress(i + 1, ids.length);
    });
  } finally {
    for (const { reader } of packs.values()) reader?.close();
  }
  return problems;
}

function checkpointProblems(
  { folder, claims }: StoreLookedOver,
  id: string,
  packs: Map<string, PackProblems>,
): string[] {
  const problems: string[] = [];
  try {
    const chain = folder.chain(id);
    const own = chain.at(-1)!;
    named(id, () => {
      checkMachineVersion(own.head);
      own.active();
      problems.push(...diskProblems(folder, id, own.state(), () => claims.wasRunFrom(id)));
    });
    const maps = chain.map((file) =>
      named(file.head.id, () => ({ map: file.map(), packs: file.head.packs }))
    );
    const flat = named(id, () => flatten(maps, own.head.memoryPages));
    const { packOf, packs: packIds } = flat;
    const found = [undefined, ...packIds.map((pack) => packProblems(folder, pack, packs))];
    const told = new Set<PackProblems>();
    for (let page = 0; page < packOf.length && problems.length < PROBLEMS_MAXIMUM; page++) {
      const pack = found[packOf[page]!];
      if (pack === undefined || told.has(pack)) continue;
      if (pack.whole !== undefined) {
        told.add(pack);
        problems.push(`checkpoint ${id}: ${pack.whole}`);
        continue;
      }
      const index = indexIn(flat, page);
      const problem = pack.reader!.has(index)
        ? pack.pages.get(index)
        : `pack ${pack.reader!.id} has no page ${index}`;
      if (problem) problems.push(`checkpoint ${id}: guest page ${page}: ${problem}`);
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    problems.push(error.message);
  }
  return problems;
}

function packProblems(
  folder: StoreFolder,
  id: string,
  packs: Map<string, PackProblems>,
): PackProblems {
  let known = packs.get(id);
  if (known === undefined) packs.set(id, known = verifyPack(folder, id));
  return known;
}

function verifyPack(folder: StoreFolder, id: string): PackProblems {
  const { files, codec } = folder.host;
  const pages = new Map<number, string>();
  const path = folder.packPath(id);
  if (!files.exists(path)) {
    return { whole: `pack ${id} is missing`, pages, reader: undefined };
  }
  let reader: PackReader | undefined;
  try {
    reader = PackReader.open(files, path, id, codec);
    reader.verify((page, problem) => {
      if (pages.size <= PAGES_MAXIMUM) pages.set(page, problem);
    });
    const whole = pages.size > PAGES_MAXIMUM
      ? `pack ${id}: more than ${PAGES_MAXIMUM} of its pages are damaged`
      : undefined;
    return { whole, pages, reader };
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof HostError)) throw error;
    reader?.close();
    return { whole: error.message, pages, reader: undefined };
  }
}
