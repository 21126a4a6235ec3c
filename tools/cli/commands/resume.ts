/**
 * `resume`: lets a suspended VM go on, once; with `--fork` another VM begins from its state instead (issue 5,
 * section 6; S19).
 */
import { Command } from "commander";
import { explained } from "../checkpoints/explain.ts";
import { findHead } from "../checkpoints/find_checkpoint.ts";
import { openStore } from "../checkpoints/open_store.ts";
import type { CliEnvironment } from "../environment.ts";
import { CliExit, EXIT } from "../errors.ts";
import { addGoOnOptions, type GoOnCommandOptions } from "../go_on_options.ts";
import { forkNames } from "../fork_names.ts";
import { goOn } from "./go_on.ts";

interface Options extends GoOnCommandOptions {
  readonly fork?: boolean;
}

/** The command. */
export function resumeCommand(
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Command {
  const command = new Command("resume")
    .description("let a suspended VM go on, on this terminal or detached")
    .argument("<name|id>", "name of the VM, whose newest state it is, or a checkpoint")
    .option(
      "--fork",
      "begin another VM, with an identity of its own; the state can be resumed still",
    );
  return addGoOnOptions(command)
    .action(async (meant: string, options: Options) =>
      onStatus(await explained(() => resume(environment, meant, options)))
    );
}

async function resume(
  environment: CliEnvironment,
  meant: string,
  options: Options,
): Promise<number> {
  const { name, fork = false } = options;
  const store = openStore(options.checkpoints);
  const head = findHead(store.list(), meant, ["suspended"]);
  if (head.kind !== "suspended") {
    throw new CliExit(
      EXIT.usage,
      `Checkpoint ${head.id} is no suspended state`,
      "`checkpoint restore` goes back to it, `fork` makes other VMs of it",
    );
  }
  return await goOn(environment, options, {
    names: () => fork ? forkNames(head.vm, 1, name) : [name ?? head.vm],
    begin: async (kernel, how) => {
      if (!fork) return await kernel.resume(head.id, how);
      const [parked] = await kernel.fork(head.id, how);
      return await parked!.start();
    },
  });
}
