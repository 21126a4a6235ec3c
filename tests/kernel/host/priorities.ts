/**
 * A process that starts two workers, one that gives way, and prints the nice values of their threads: a part of
 * host_test.ts, in a process of its own, because other tests start workers, too.
 */
import { hostWorkers } from "../../../kernel/host/workers.ts";

const THREADS = "/proc/self/task";
const module = new URL("data:text/javascript,onmessage=()=>{}");
for (const givesWay of [false, true]) {
  hostWorkers.start(module, "one", () => {}, () => {}, { givesWay });
}
// Only a process that may do everything may look at this.
if (!Deno.args.includes("blind")) {
  const threads = Array.from(Deno.readDirSync(THREADS), ({ name }) => `${THREADS}/${name}`);
  const workers = threads.filter((thread) =>
    Deno.readTextFileSync(`${thread}/comm`).startsWith("worker-")
  );
  // The 19th field of a thread's state (proc(5)); the second is its name, in parentheses.
  const nice = workers.map((thread) =>
    Deno.readTextFileSync(`${thread}/stat`).split(") ")[1]!.split(" ")[16]
  );
  console.log(nice.toSorted().join(" "));
}
console.log("started");
Deno.exit(0);
