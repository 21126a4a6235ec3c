/**
 * Claims about lazily initialised images after kill -9 and loss of power at any operation (S4.6): no
 * garbage from below is ever seen, and nothing is lost that a flush acknowledged.
 */
import { assert } from "@std/assert";
import { Prng } from "../../../../kernel/base/prng.ts";
import {
  createLazyZero,
  isLazyZero,
  openLazyZero,
  type Zeroing,
} from "../../../../kernel/storage/lazy_zero/mod.ts";
import { FormatError } from "../../../../kernel/base/errors.ts";
import { PAGE_ENTRIES } from "../../../../kernel/storage/lazy_zero/format.ts";
import { CrashFiles, PowerCut } from "../../../_support/crash_files.ts";
import { DiskHistory, stamped, stamps } from "../../../_support/disk_history.ts";
import { garbageFiles, PATH } from "./support.ts";

const BLOCK_BYTES = 4096;
const SECTORS = 8 * 4 + 3;

/** Random requests and flushes, some with requests beside them; gives what may be on the disk. */
async function work(files: CrashFiles, history: DiskHistory, seed: number): Promise<void> {
  const random = new Prng(seed);
  const disk = openLazyZero(files, PATH, { readOnly: false });
  for (let round = 0; round < 4; round++) {
    for (let n = random.below(4); n >= 0; n--) await history.step(disk, random, 12);
    const flushing = history.flush(disk);
    // Beside the flush, at every stage of it.
    const beside = (async () => {
      for (let n = random.below(4); n > 0; n--) await history.step(disk, random, 12);
    })();
    const [flushed, besides] = await Promise.allSettled([flushing, beside]);
    for (const ended of [flushed, besides]) if (ended.status === "rejected") throw ended.reason;
  }
  await disk.close();
}

function image(zeroing: Zeroing): CrashFiles {
  const files = garbageFiles(64 * 1024);
  const options = { bytes: SECTORS * 512, blockBytes: BLOCK_BYTES, zeroing, over: true };
  createLazyZero(files, PATH, options);
  return files;
}

/** What a crash leaves, as files and as what may be in them. */
interface Crash {
  readonly files: CrashFiles;
  readonly history: DiskHistory;
  readonly isDurable: boolean;
  readonly label: string;
}

/** Works until an operation, and gives what kill -9 and a loss of power leave of it. */
async function crashAt(
  files: CrashFiles,
  history: DiskHistory,
  operation: number,
  seed: number,
): Promise<Crash[]> {
  files.crashAt(files.operations + operation, seed);
  await work(files, history, seed).catch(PowerCut.expected);
  const label = `seed ${seed}, operation ${operation}`;
  const power = (again: number) => ({
    files: files.afterPowerCut(seed + again),
    history: history.copy(),
    isDurable: true,
    label: `power, ${label}`,
  });
  const kill = { files: files.afterKill(), history, isDurable: false, label: `kill, ${label}` };
  const crashes = [power(0), power(1000), kill];
  for (const crash of crashes) {
    const disk = openLazyZero(crash.files, PATH, { readOnly: true });
    await crash.history.crashed(disk, crash.isDurable, crash.label);
    await disk.close();
  }
  return crashes;
}

for (const zeroing of ["front", "whole"] as const) {
  Deno.test(`a crash at any operation shows no garbage and loses nothing flushed, in mode ${zeroing}`, async () => {
    let count = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const whole = image(zeroing);
      const before = whole.operations;
      await work(whole, new DiskHistory(SECTORS), seed);
      const operations = whole.operations - before;
      const random = new Prng(seed);
      for (let operation = 0; operation < operations; operation++) {
        const crashes = await crashAt(
          image(zeroing),
          new DiskHistory(SECTORS),
          operation,
          seed,
        );
        count += crashes.length;
        // What a crash leaves can be worked on, and crash again.
        const { files, history } = random.pick(crashes);
        count += (await crashAt(files, history, random.below(operations), seed + 100)).length;
      }
    }
    assert(count >= 1000, `${count} crashes`);
  });
}

Deno.test("an image that is made over an older one is, after a crash, the older one, none, or new", async () => {
  const older = async () => {
    const files = image("front");
    const history = new DiskHistory(SECTORS);
    await work(files, history, 3);
    return { files, history };
  };
  const make = (files: CrashFiles) =>
    createLazyZero(files, PATH, { bytes: SECTORS * 512, blockBytes: BLOCK_BYTES, over: true });
  const { files } = await older();
  const before = files.operations;
  make(files);
  const operations = files.operations - before;
  for (let operation = 0; operation < operations; operation++) {
    for (let seed = 1; seed <= 8; seed++) {
      const { files, history } = await older();
      files.crashAt(files.operations + operation, seed);
      try {
        make(files);
      } catch (error) {
        PowerCut.expected(error);
      }
      for (const left of [files.afterKill(), files.afterPowerCut(seed)]) {
        const file = left.open(PATH);
        const isImage = isLazyZero(file);
        file.close();
        try {
          const disk = openLazyZero(left, PATH, { readOnly: true });
          const found = new Uint8Array(SECTORS * 512);
          await disk.read(0, found);
          if (found.some((byte) => byte !== 0)) {
            await history.copy().crashed(disk, true, "the older one");
          }
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
          assert(!isImage || error.message.includes("damaged"), error.message);
        }
      }
    }
  }
});

Deno.test("a process that goes on after a killed one, and a loss of power after that, leave an image", async () => {
  const bytes = 3 * PAGE_ENTRIES * BLOCK_BYTES;
  /** Writes to a table page's first block at a time, and flushes. */
  const work = async (files: CrashFiles, pages: readonly number[]) => {
    const disk = openLazyZero(files, PATH, { readOnly: false });
    for (const page of pages) {
      await disk.write(page * PAGE_ENTRIES * BLOCK_BYTES / 512, stamped(1, page + 1));
      await disk.flush();
    }
    await disk.close();
  };
  const fresh = () => {
    const files = new CrashFiles();
    createLazyZero(files, PATH, { bytes, blockBytes: BLOCK_BYTES });
    return files;
  };
  const operations = async (pages: readonly number[]) => {
    const files = fresh();
    const before = files.operations;
    await work(files, pages);
    return files.operations - before;
  };
  const crash = async (files: CrashFiles, operation: number, pages: readonly number[]) => {
    files.crashAt(files.operations + operation, operation);
    await work(files, pages).catch(PowerCut.expected);
  };
  const [first, second] = [await operations([0, 1]), await operations([2, 1])];
  for (let killed = 0; killed < first; killed++) {
    for (let cut = 0; cut < second; cut++) {
      const files = fresh();
      await crash(files, killed, [0, 1]);
      const next = files.afterKill();
      await crash(next, cut, [2, 1]);
      for (let seed = 1; seed <= 4; seed++) {
        const disk = openLazyZero(next.afterPowerCut(seed), PATH, { readOnly: true });
        for (const page of [0, 1, 2]) {
          const [stamp] = await stamps(disk, page * PAGE_ENTRIES * BLOCK_BYTES / 512, 1);
          assert(stamp === 0 || stamp === page + 1, `page ${page} holds ${stamp}`);
        }
      }
    }
  }
});
