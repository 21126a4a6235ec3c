/**
 * `run -d`: a VM without a terminal, in a process of its own, which other processes reach by its control
 * socket (issue 5, section 6; docs/control.md).
 *
 * Invariant: the process goes on while its kernel has VMs, whatever becomes of terminals, and asks the
 * guests to power off when it is to end.
 */
import { ConfigError, type Kernel, type VM, type VmExit } from "../../../mod.ts";
import { Consoles } from "../control/consoles.ts";
import { type ControlSocket, openControlSocket } from "../control/sockets.ts";
import { suspendedText, suspendedTo } from "../control/suspending.ts";
import { stopVm } from "../control/stop_vm.ts";
import { DetachedReport, startDetached } from "../detached.ts";
import { Ending } from "../ending.ts";
import type { CliEnvironment } from "../environment.ts";
import { CliExit, describeError, EXIT } from "../errors.ts";
import { serveGdb } from "../gdb_server.ts";
import { untilEmpty } from "../others.ts";
import { writeStatistics } from "../statistics.ts";
import { writeError } from "../streams.ts";
import { powerOn, type RunOptions } from "./run.ts";

/** What guests get to power off when this process is to end. */
const GOOD_BYE_SECONDS = 10;
/** Most numbers that are tried for a VM without a name of its own. */
const NUMBERS = 10_000;

/** Does `run -d`: in the process that the user started, and in the one that goes on. */
export async function runDetached(
  environment: CliEnvironment,
  guest: string | undefined,
  options: RunOptions,
): Promise<number> {
  if (options.until !== undefined) {
    throw new ConfigError("--until needs the console: it does not go with --detach");
  }
  return await detached(
    options,
    (ending, report) => serve(environment, guest, options, ending, report),
  );
}

/** Does a command in a process without a terminal. */
export async function detached(
  options: Pick<RunOptions, "stats" | "timeout">,
  serve: (ending: Ending, report: DetachedReport) => Promise<number>,
): Promise<number> {
  if (options.stats === "-") throw new ConfigError("--detach needs --stats FILE, not -");
  const report = DetachedReport.open();
  using ending = new Ending(options.timeout);
  if (report === undefined) return await startDetached(ending);
  // Terminals come and go.
  Deno.addSignalListener("SIGHUP", () => {});
  try {
    const status = await serve(ending, report);
    report.removeEmptyLog();
    return status;
  } catch (error) {
    report.failed(error);
    // What there is to say is written to the log when this is over.
    if (describeError(error).text === "") report.removeEmptyLog();
    throw error;
  }
}

async function serve(
  environment: CliEnvironment,
  guest: string | undefined,
  options: RunOptions,
  ending: Ending,
  report: DetachedReport,
): Promise<number> {
  await using kernel = await environment.startKernel(report.progress, options);
  await using control = await openDetached(kernel, report);
  using claimed = await control.claimName(namesFor(guest, options));
  const named = { ...options, name: claimed.name };
  const { vm, trace } = await powerOn(kernel, guest, named, ending, () => {});
  // It is the VM's now, and free when that ends, though others keep this process.
  claimed[Symbol.dispose]();
  await using _server = await serveGdb(vm, options.gdb);
  trace.catch((error) => ending.fail(error));
  report.started(vm.name);
  try {
    return await followAll(kernel, vm, ending);
  } finally {
    await writeStatistics(vm, options.stats);
    await trace.catch(() => {});
  }
}

/** Opens the control socket of a process without a terminal, which is of no use without one. */
export function openDetached(kernel: Kernel, { log }: DetachedReport): Promise<ControlSocket> {
  return openControlSocket(kernel, { consoles: new Consoles(), log });
}

/** Names to try: a guest's name alone means the guest, so VMs without a name get a number. */
function* namesFor(guest: string | undefined, { name }: RunOptions): Generator<string> {
  if (name !== undefined) return yield name;
  for (let number = 1; number <= NUMBERS; number++) yield `${guest ?? "vm"}-${number}`;
}

/** Waits for the end of all VMs and forks; resolves to the exit code of the first, if there is a first. */
export async function followAll(
  kernel: Kernel,
  first: VM | undefined,
  ending: Ending,
): Promise<number> {
  try {
    const end = first && await Promise.race([endOf(first), ending.happens]);
    const suspended = first && await suspendedTo(first);
    if (suspended !== undefined) {
      writeError(`chronovisor: ${suspendedText(first!.name, suspended)}\n`);
    }
    // Others may have been made by requests since.
    await untilEmpty(kernel, ending);
    if (end instanceof Error) throw end;
    return end?.code ?? EXIT.ok;
  } catch (error) {
    if (error instanceof CliExit && error.status !== EXIT.timeout) await sayGoodBye(kernel);
    throw error;
  }
}

/** How a VM ends; one that fails takes no others with it. */
async function endOf(vm: VM): Promise<VmExit | Error> {
  try {
    return await vm.waitForExit();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function sayGoodBye(kernel: Kernel): Promise<void> {
  // Who is told twice does not wait any more.
  using again = new Ending(undefined);
  const stopping = kernel.vms.map((vm) => stopVm(vm, GOOD_BYE_SECONDS));
  await Promise.race([Promise.allSettled(stopping), again.happens.catch(() => {})]);
}
