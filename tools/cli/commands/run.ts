/**
 * `run`: a VM on this terminal (issue 2, section 6).
 */
import { Command } from "commander";
import type { Kernel, VM, VmExit } from "../../../mod.ts";
import type { SharedConsole } from "../control/consoles.ts";
import { ServedControl } from "../control/serve.ts";
import { suspendedText, suspendedTo } from "../control/suspending.ts";
import { Ending } from "../ending.ts";
import type { CliEnvironment } from "../environment.ts";
import { CliExit, EXIT } from "../errors.ts";
import { serveGdb } from "../gdb_server.ts";
import { addMachineOptions, type MachineOptions, powerOnOptions } from "../machine_options.ts";
import { namesOfOthers, untilEmpty } from "../others.ts";
import { Progress } from "../progress.ts";
import { Session } from "../session.ts";
import { writeStatistics } from "../statistics.ts";
import { writeError } from "../streams.ts";
import { copyTrace, openTrace } from "../trace_file.ts";

/** What commander makes of the options. */
export interface RunOptions extends MachineOptions {
  readonly until?: string;
  readonly reboot: boolean;
  readonly detach?: boolean;
}

/** The command. */
export function runCommand(
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Command {
  const command = new Command("run")
    .description("start a VM on this terminal; its power-off code is the exit status")
    .argument("[guest]", "name of a guest (guests list shows them)");
  return addMachineOptions(command)
    .option("--until <text>", "end with status 0 when the console has shown this text")
    .option("--no-reboot", "a guest that resets itself ends instead of starting again")
    .option("-d, --detach", "go on without the terminal; prints the VM's name (attach, exec, stop)")
    .addHelpText("after", "\nKeys:\n  Ctrl-A x quits, Ctrl-A c monitor, Ctrl-A h help")
    .action(async (guest: string | undefined, options: RunOptions) => {
      if (!options.detach) return onStatus(await run(environment, guest, options));
      const { runDetached } = await import("./run_detached.ts");
      onStatus(await runDetached(environment, guest, options));
    });
}

async function run(
  environment: CliEnvironment,
  guest: string | undefined,
  options: RunOptions,
): Promise<number> {
  using ending = new Ending(options.timeout);
  const progress = new Progress();
  await using kernel = await environment.startKernel(progress.show, options);
  await using control = new ServedControl(kernel);
  // A name that was asked for is this VM's alone; VMs that are only called as their guest may be many.
  using claimed = await control.claimName(options.name);
  const starting = powerOn(kernel, guest, options, ending, () => progress.clear());
  starting.catch(() => {});
  const opened = control.open();
  const { vm, trace } = await starting;
  // It is the VM's now, and free when that ends, though forks keep this process.
  claimed?.[Symbol.dispose]();
  await opened;
  await using _server = await serveGdb(vm, options.gdb);
  const following = follow(vm, trace, options, ending, control.consoles.fedBy(vm));
  return await withOthers(kernel, options, ending, following);
}

/** Waits for a VM that is shown, and then for forks of it; resolves to the exit status of the former. */
export async function withOthers(
  kernel: Kernel,
  { until }: Pick<RunOptions, "until">,
  ending: Ending,
  following: Promise<number>,
): Promise<number> {
  let failure: unknown;
  const status = await following.catch((error) => {
    if (error instanceof CliExit) throw error;
    failure = error;
    return EXIT.internal;
  });
  // Who waits for a text waits for nothing else.
  if (until === undefined && kernel.vms.length + kernel.parkedForks.length > 0) {
    writeError(`chronovisor: ${namesOfOthers(kernel)} here go on; Ctrl-C ends them\n`);
    await untilEmpty(kernel, ending);
  }
  if (failure !== undefined) throw failure;
  return status;
}

/** Starts the VM; `onEnd` is called when it runs or cannot. Rejects as `Kernel.powerOn`, and `ending`. */
export async function powerOn(
  kernel: Kernel,
  guest: string | undefined,
  options: RunOptions,
  ending: Ending,
  onEnd: () => void,
): Promise<{ vm: VM; trace: Promise<void> }> {
  const file = await openTrace(options.trace);
  try {
    const onReset = options.reboot ? "restart" : "end";
    const starting = kernel.powerOn({ ...powerOnOptions(guest, options), onReset });
    // When the wait is given up, the kernel's end ends the VM; its late refusal is of no interest.
    starting.catch(() => {});
    const vm = await Promise.race([starting, ending.happens]);
    return { vm, trace: copyTrace(vm, file) };
  } catch (error) {
    file?.close();
    throw error;
  } finally {
    onEnd();
  }
}

/** Shows a VM on this terminal until it ends; resolves to the exit status. */
export async function follow(
  vm: VM,
  trace: Promise<void>,
  options: Pick<RunOptions, "until" | "stats">,
  ending: Ending,
  shared: SharedConsole,
): Promise<number> {
  const session = new Session(vm, ending, options.until, shared);
  let exit: VmExit | undefined;
  try {
    exit = await Promise.race([vm.waitForExit(), session.untilFound, ending.happens]);
    await vm.powerOff();
    await session.outputDone;
  } catch (error) {
    await vm.powerOff();
    session.close();
    // Of a run that was cut short, too, the counters are wanted; the error comes first if both fail.
    await writeStatistics(vm, options.stats).catch(() => {});
    throw error;
  } finally {
    session.close();
    await trace.catch(() => {});
  }
  await trace;
  await writeStatistics(vm, options.stats);
  const suspended = await suspendedTo(vm);
  if (suspended !== undefined) writeError(`chronovisor: ${suspendedText(vm.name, suspended)}\n`);
  if (options.until === undefined) return exit?.code ?? EXIT.ok;
  if (session.found) return EXIT.ok;
  const message = `the VM ended before its console showed "${options.until}"`;
  throw new CliExit(exit?.code || EXIT.failure, message);
}
