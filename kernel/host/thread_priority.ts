/**
 * Workers that give way to others: their threads get a tenth of a processor that somebody else wants, too, and
 * all of one that nobody wants (S17: the saver yields to its VM). On Linux, where a worker is a thread that the
 * process may give a lower priority.
 *
 * Invariants: no behaviour depends on it; nobody is asked for a permission that was not given.
 */
import type Os from "node:os";

/** What Linux calls a nice value: 10 is a tenth of the weight of an ordinary thread (sched(7)). */
const GIVES_WAY = 10;
const THREADS = "/proc/self/task";
/** What Deno calls the threads of its workers. */
const WORKER = /^worker-/;

/** Starts a worker, whose thread gives way to others where that is possible. */
export function startGivingWay<T>(start: () => T): T {
  if (!mayChangePriorities()) return start();
  const before = workerThreads();
  const started = start();
  const [thread, ...more] = workerThreads().difference(before);
  if (thread !== undefined && more.length === 0) lower(thread);
  return started;
}

function mayChangePriorities(): boolean {
  if (Deno.build.os !== "linux") return false;
  return ([{ name: "read", path: THREADS }, { name: "sys", kind: "setPriority" }] as const)
    .every((permission) => Deno.permissions.querySync(permission).state === "granted");
}

/** Numbers of the threads of this process that are workers. */
function workerThreads(): Set<number> {
  try {
    const names = Array.from(Deno.readDirSync(THREADS), ({ name }) => name);
    return new Set(names.filter(isWorker).map(Number));
  } catch {
    return new Set();
  }
}

function isWorker(thread: string): boolean {
  try {
    return WORKER.test(Deno.readTextFileSync(`${THREADS}/${thread}/comm`));
  } catch {
    // It has ended meanwhile.
    return false;
  }
}

function lower(thread: number): void {
  try {
    const os: typeof Os = process.getBuiltinModule("node:os");
    os.setPriority(thread, GIVES_WAY);
  } catch {
    // It competes with the others then.
  }
}
