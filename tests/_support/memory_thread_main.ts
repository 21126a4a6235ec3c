/** Entry of a thread of memory_threads.ts: it knows nothing but what it is sent. */
import { Prng } from "../../kernel/base/prng.ts";
import { FrozenPages, NO_PAGE } from "../../kernel/memory/frozen_pages.ts";
import { LazySource } from "../../kernel/memory/lazy_source.ts";
import type { ThreadDone, ThreadTask } from "./memory_threads.ts";

const PAGE = 4096;

function read(task: ThreadTask & { kind: "read" }): ThreadDone {
  const reader = new FrozenPages(task);
  const image = new Uint8Array(task.image);
  const seen = new Uint8Array(image.length / PAGE);
  const rest = new Int32Array(new SharedArrayBuffer(4));
  const into = new Uint8Array(PAGE);
  let [pages, twice] = [0, 0];
  for (;;) {
    const page = reader.next(into);
    if (page === NO_PAGE.later) {
      reader.wait();
      continue;
    }
    if (page < 0) break;
    if (seen[page] !== 0) twice++;
    seen[page] = 1;
    image.set(into, page * PAGE);
    if (++pages % task.restAfter === 0) Atomics.wait(rest, 0, 0, 1);
    if (pages !== task.abortAfter) continue;
    Atomics.wait(rest, 0, 0, 20);
    reader.abort();
    break;
  }
  return { pages, twice, overtaken: reader.counters.overtaken };
}

async function load(task: ThreadTask & { kind: "load" }): Promise<ThreadDone> {
  const source = new LazySource(task.table);
  const image = new Uint8Array(task.image);
  const ram = new Uint8Array(task.memory, task.ram, image.length);
  const rng = new Prng(task.seed);
  let pages = 0;
  const take = (page: number | undefined) => {
    if (page === undefined || !source.begin(page)) return;
    ram.set(image.subarray(page * PAGE, (page + 1) * PAGE), page * PAGE);
    source.done(page);
    pages++;
  };
  while (source.left > 0) {
    take(source.wanted());
    if (!task.background) await source.wish(1000);
    else take(source.nextAbsent(rng.below(ram.length / PAGE)) ?? source.nextAbsent(0));
  }
  return { pages, twice: 0, overtaken: 0 };
}

globalThis.addEventListener("message", async ({ data }: MessageEvent<ThreadTask>) => {
  globalThis.postMessage(data.kind === "read" ? read(data) : await load(data));
});
