/** `stop`: ends VMs that run in other processes (issue 5, section 6). */
import { Command } from "commander";
import { describeError } from "../errors.ts";
import { seconds } from "../machine_options.ts";
import { writeError } from "../streams.ts";

/** VMs that are ended at once: kernels have few connections. */
const AT_ONCE = 16;

interface Options {
  readonly force?: boolean;
  readonly timeout?: number;
}

/** The command. */
export function stopCommand(): Command {
  return new Command("stop")
    .description("end running VMs: their guests power off, if they can be asked to")
    .argument("<names...>", "names of VMs (ps shows them); a fork that is parked is discarded")
    .option("--force", "switch it off without asking the guest")
    .option("--timeout <seconds>", "switch it off when the guest takes longer (30)", seconds)
    .action(stopAll);
}

/** Ends VMs, some at once; one that cannot be ended keeps none of the others. */
async function stopAll(names: readonly string[], options: Options): Promise<void> {
  const waiting = [...new Set(names)];
  const failures: unknown[] = [];
  while (waiting.length > 0) {
    const some = waiting.splice(0, AT_ONCE).map((name) => stop(name, options));
    for (const outcome of await Promise.allSettled(some)) {
      if (outcome.status === "rejected") failures.push(outcome.reason);
    }
  }
  const last = failures.pop();
  for (const failure of failures) writeError(describeError(failure).text);
  if (last !== undefined) throw last;
}

async function stop(name: string, { force = false, timeout }: Options): Promise<void> {
  const { connectToVm } = await import("../control/sockets.ts");
  using client = await connectToVm(name);
  const { how } = await client.ask("stop", {
    vm: name,
    force,
    ...timeout !== undefined && { seconds: timeout },
  });
  if (how === "late") {
    writeError(`chronovisor: the guest of "${name}" did not power off in time: switched it off\n`);
  }
}
