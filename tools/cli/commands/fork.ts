/**
 * `fork`: other VMs that begin where a running VM, or that of a checkpoint, is: parked until they are first
 * used (issue 5, section 6; S16).
 */
import { Command } from "commander";
import { importLate } from "../../../kernel/host/late_import.ts";
import { explained } from "../checkpoints/explain.ts";
import { findHead } from "../checkpoints/find_checkpoint.ts";
import { CHECKPOINTS_HELP } from "../checkpoints/folder.ts";
import { openStore } from "../checkpoints/open_store.ts";
import { connectIfRunning } from "../control/sockets.ts";
import { FORKS_MAXIMUM } from "../control/limits.ts";
import { isDetachedProcess } from "../detached.ts";
import type { CliEnvironment } from "../environment.ts";
import { CliExit } from "../errors.ts";
import { forkNames } from "../fork_names.ts";
import { checkName, wholeNumber } from "../machine_options.ts";
import { writeOut } from "../streams.ts";

interface Options {
  readonly count: number;
  readonly name?: string;
  readonly checkpoints?: string;
}

/** The command. */
export function forkCommand(
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Command {
  return new Command("fork")
    .description("make other VMs of a running one, or of a checkpoint; prints their names")
    .argument("<name|id>", "name of a running VM, or a checkpoint")
    .option("-n, --count <count>", "number of forks", wholeNumber(1, FORKS_MAXIMUM), 1)
    .option("--name <name>", "name of the fork; several get numbers behind it", checkName)
    .option("--checkpoints <folder>", CHECKPOINTS_HELP)
    .addHelpText("after", "\nattach, exec and `stop` (which discards it) work on a parked fork.")
    .action(async (meant: string, options: Options) =>
      onStatus(await explained(() => fork(environment, meant, options)))
    );
}

async function fork(
  environment: CliEnvironment,
  meant: string,
  options: Options,
): Promise<number> {
  const { count, name, checkpoints } = options;
  // The process that goes on was started for a checkpoint, whatever runs by now.
  if (!isDetachedProcess()) {
    using client = await connectIfRunning(meant);
    if (client !== undefined) {
      const request = { vm: meant, count, ...name !== undefined && { name } };
      const { names } = await client.ask("fork", request);
      writeOut(names.map((made) => `${made}\n`).join(""));
      return 0;
    }
  }
  const head = findHeadOrVm(() => findHead(openStore(checkpoints).list(), meant));
  const { detached, followAll, openDetached } = await importLate<
    typeof import("./run_detached.ts")
  >("./run_detached.ts", import.meta.url);
  return await detached({}, async (ending, report) => {
    await using kernel = await environment.startKernel(report.progress, options);
    await using control = await openDetached(kernel, report);
    {
      using claimed = await control.claimNames(forkNames(head.vm, count, name), count);
      await kernel.fork(head.id, { count, names: claimed.names });
      report.started(claimed.names.join("\n"));
    }
    return await followAll(kernel, undefined, ending);
  });
}

/** Finds a checkpoint; who meant neither that nor a VM is told so. */
function findHeadOrVm<T>(find: () => T): T {
  try {
    return find();
  } catch (error) {
    if (!(error instanceof CliExit) || !error.message.startsWith("There is no checkpoint")) {
      throw error;
    }
    const message = error.message.replace("no checkpoint", "no running VM and no checkpoint");
    throw new CliExit(error.status, message, error.hint);
  }
}
