/**
 * What `resume` and `checkpoint restore` share: a VM that goes on from a checkpoint, on this terminal or in a
 * process of its own (issue 5, section 6).
 *
 * Invariant: of the VMs of one user that can be meant by a name, each has one of its own.
 */
import type { Command } from "commander";
import { ConfigError } from "../../../kernel/base/errors.ts";
import { importLate } from "../../../kernel/host/late_import.ts";
import type { GoOnOptions, Kernel, VM } from "../../../mod.ts";
import { withHint } from "../checkpoints/explain.ts";
import { CHECKPOINTS_HELP } from "../checkpoints/folder.ts";
import { hasSockets } from "../control/folder.ts";
import { ServedControl } from "../control/serve.ts";
import { Ending } from "../ending.ts";
import type { CliEnvironment } from "../environment.ts";
import { checkName, choice, seconds } from "../machine_options.ts";
import { Progress } from "../progress.ts";
import { follow, followOthers } from "./run.ts";

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

/** A VM that is to go on. */
export interface GoingOn {
  /** Names to try, in this order. */
  names(): Iterable<string>;
  /** Lets it go on. */
  begin(kernel: Kernel, options: GoOnOptions): Promise<VM>;
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

/** Lets a VM go on; resolves to the exit status. */
export async function goOn(
  environment: CliEnvironment,
  options: GoOnCommandOptions,
  what: GoingOn,
): Promise<number> {
  if (options.eager && options.lazy) throw new ConfigError("--eager and --lazy exclude each other");
  if (options.detach) return await goOnDetached(environment, options, what);
  using ending = new Ending(options.timeout);
  const progress = new Progress();
  await using kernel = await environment.startKernel(progress.show, options);
  await using control = new ServedControl(kernel);
  // Where nobody listens every name is free, and the VM need not wait for a socket of its own.
  using claimed = hasSockets() ? await control.claimFirst(what.names()) : undefined;
  const [first] = what.names();
  const name = claimed?.name ?? first!;
  const vm = await begin(kernel, options, what, name, ending).finally(() => progress.clear());
  control.open();
  const shown = control.consoles.fedBy(vm);
  const status = await follow(vm, Promise.resolve(), options, ending, shown);
  await followOthers(kernel, options, ending);
  return status;
}

async function goOnDetached(
  environment: CliEnvironment,
  options: GoOnCommandOptions,
  what: GoingOn,
): Promise<number> {
  if (options.until !== undefined) {
    throw new ConfigError("--until needs the console: it does not go with --detach");
  }
  const { detached, followAll, openDetached } = await importLate<
    typeof import("./run_detached.ts")
  >("./run_detached.ts", import.meta.url);
  const { writeStatistics } = await importLate<typeof import("../statistics.ts")>(
    "../statistics.ts",
    import.meta.url,
  );
  return await detached(options, async (ending, report) => {
    await using kernel = await environment.startKernel(report.progress, options);
    await using control = await openDetached(kernel, report);
    using claimed = await control.claimName(what.names());
    const vm = await begin(kernel, options, what, claimed.name, ending);
    report.started(vm.name);
    try {
      return await followAll(kernel, vm, ending);
    } finally {
      await writeStatistics(vm, options.stats);
    }
  });
}

async function begin(
  kernel: Kernel,
  { eager, lazy, tier }: GoOnCommandOptions,
  what: GoingOn,
  name: string,
  ending: Ending,
): Promise<VM> {
  const first = eager ? "all" : lazy ? "none" : undefined;
  const beginning = what.begin(kernel, { name, ...first && { first }, ...tier && { tier } });
  // When the wait is given up, the kernel's end ends the VM; its late refusal is of no interest.
  beginning.catch(() => {});
  try {
    return await Promise.race([beginning, ending.happens]);
  } catch (error) {
    throw withHint(error);
  }
}
