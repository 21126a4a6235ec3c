/**
 * What `resume` and `checkpoint restore` share: a VM that goes on from a checkpoint, on this terminal or in a
 * process of its own (issue 5, section 6).
 *
 * Invariant: of the VMs of one user that can be meant by a name, each has one of its own.
 */
import { ConfigError } from "../../../kernel/base/errors.ts";
import { importLate } from "../../../kernel/host/late_import.ts";
import type { GoOnOptions, Kernel, VM } from "../../../mod.ts";
import { withHint } from "../checkpoints/explain.ts";
import { hasSockets } from "../control/folder.ts";
import { ServedControl } from "../control/serve.ts";
import { Ending } from "../ending.ts";
import type { CliEnvironment } from "../environment.ts";
import type { GoOnCommandOptions } from "../go_on_options.ts";
import { Progress } from "../progress.ts";
import { follow, withOthers } from "./run.ts";

/** A VM that is to go on. */
export interface GoingOn {
  /** Names to try, in this order. */
  names(): Iterable<string>;
  /** Lets it go on. */
  begin(kernel: Kernel, options: GoOnOptions): Promise<VM>;
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
  claimed?.[Symbol.dispose]();
  control.open();
  const shown = control.consoles.fedBy(vm);
  const following = follow(vm, Promise.resolve(), options, ending, shown);
  return await withOthers(kernel, options, ending, following);
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
    claimed[Symbol.dispose]();
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
