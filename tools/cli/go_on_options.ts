/** The options of commands that let a VM go on from a checkpoint, shared by `resume` and `checkpoint restore`. */
import type { Command } from "commander";
import type { GoOnOptions } from "../../mod.ts";
import { CHECKPOINTS_HELP } from "./checkpoints/folder.ts";
import { checkName, choice, seconds } from "./machine_options.ts";

/** What commander makes of the options. */
export interface GoOnCommandOptions {
  readonly name?: string;
  readonly detach?: boolean;
  readonly eager?: boolean;
  readonly lazy?: boolean;
  readonly tier?: NonNullable<GoOnOptions["tier"]>;
  readonly until?: string;
  readonly timeout?: number;
  readonly stats?: string;
  readonly checkpoints?: string;
  readonly translationCache?: boolean;
}

/** Adds the options to a command. */
export function addGoOnOptions(command: Command): Command {
  return command
    .option("--name <name>", "name of the VM; its own by default", checkName)
    .option("-d, --detach", "go on without the terminal; prints the VM's name")
    .option("--eager", "load all memory before it runs")
    .option("--lazy", "load memory only when it is used; by default the working set comes first")
    .addOption(
      choice("--tier <tier>", "what executes", ["auto", "interpreter", "translator", "check"]),
    )
    .option("--until <text>", "end with status 0 when the console has shown this text")
    .option("--timeout <seconds>", "end with status 124 after so long", seconds)
    .option("--stats <file>", "write counters as a JSON object at the end; - is standard output")
    .option("--no-translation-cache", "do not use or keep translations of earlier runs")
    .option("--checkpoints <folder>", CHECKPOINTS_HELP);
}
