/**
 * Checks lazily initialised images (S4): all that whoever reads one asks of it.
 *
 * Invariants: checking changes nothing, and nobody writes to an image meanwhile; an image without a finding can be
 * read from its first sector to its last.
 */
import { FormatError } from "../../base/errors.ts";
import type { HostFiles } from "../../host/files.ts";
import { ImageLocks } from "../image_files.ts";
import { PAGE_ENTRIES } from "./format.ts";
import { Indicators } from "./indicators.ts";
import { readHeader } from "./mod.ts";

/** Most problems that are described. */
const PROBLEMS_MAXIMUM = 16;

/** What a check found. */
export interface LazyZeroCheck {
  /** Table pages that cannot be read: nobody knows which of their blocks hold data. */
  readonly corruptions: number;
  /** Blocks of the disk that hold data, at their front at least. */
  readonly initialisedBlocks: number;
  /** Blocks of the disk. */
  readonly totalBlocks: number;
  /** The first problems, for people. */
  readonly problems: readonly string[];
}

/**
 * Checks an image that nobody writes to. Rejects with `ConfigError` when somebody does, `FormatError` when it is
 * none, its header is damaged or it is cut short, and `HostError`.
 */
export async function checkLazyZero(files: HostFiles, path: string): Promise<LazyZeroCheck> {
  const locks = new ImageLocks(files);
  locks.take(files.facts(path).path, false);
  try {
    return await Promise.resolve(checkLocked(files, path));
  } finally {
    locks.releaseAll();
  }
}

function checkLocked(files: HostFiles, path: string): LazyZeroCheck {
  const file = files.open(path);
  try {
    const { header, copy } = readHeader(file);
    const indicators = new Indicators(file, header, copy);
    const { blocks, pages } = header.geometry;
    const problems: string[] = [];
    let [corruptions, initialisedBlocks] = [0, 0];
    for (let page = 0; page < pages; page++) {
      const end = Math.min(blocks, (page + 1) * PAGE_ENTRIES);
      try {
        for (let block = page * PAGE_ENTRIES; block < end; block++) {
          if (indicators.get(block) > 0) initialisedBlocks++;
        }
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        if (corruptions++ < PROBLEMS_MAXIMUM) problems.push(error.message);
      }
    }
    return { corruptions, initialisedBlocks, totalBlocks: blocks, problems };
  } finally {
    file.close();
  }
}
