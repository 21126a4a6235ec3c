/**
 * `exec`: one command in a fresh VM, or in one that runs in another process; its streams and its exit
 * status are this command's own (issue 2, section 6; issue 5, section 6).
 */
import { Command } from "commander";
import { type ExecProcess, HostError, type Kernel, type VM } from "../../../mod.ts";
import { isGuest } from "../../guests/names.ts";
import { ServedControl } from "../control/serve.ts";
import { Ending } from "../ending.ts";
import type { CliEnvironment } from "../environment.ts";
import { CliExit, EXIT } from "../errors.ts";
import { serveGdb } from "../gdb_server.ts";
import { addMachineOptions, type MachineOptions, powerOnOptions } from "../machine_options.ts";
import { Progress } from "../progress.ts";
import { writeStatistics } from "../statistics.ts";
import { copyTo, writeError, writeOut } from "../streams.ts";
import { copyTrace, openTrace } from "../trace_file.ts";

/** Lines of the console shown when a guest dies before it ran the command. */
const CONSOLE_LINES = 20;

/** What commander makes of the options. */
interface ExecOptions extends MachineOptions {
  readonly cold?: boolean;
}

const HELP = `
The first exec of a guest boots it and keeps a checkpoint of it when it is ready; later ones start from that, as
VMs with names, addresses and random numbers of their own. Other images and other options of the machine have
checkpoints of their own. With --drive, --record, --trace or --gdb the guest boots.
`;

/** The command. */
export function execCommand(
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Command {
  const command = new Command("exec")
    .description("run one command in a VM, with its streams and exit status passed through")
    .argument(
      "<guest>",
      "name of a guest, for a fresh VM of it, or of a running VM (ps shows them)",
    )
    .argument("<command...>", "the command and its arguments; put -- before it");
  return addMachineOptions(command)
    .option("--cold", "boot; do not start from a checkpoint of the booted guest, nor keep one")
    .addHelpText("after", HELP)
    .action(async (guest: string, words: string[], options: ExecOptions) => {
      onStatus(
        await execInRunningVm(guest, words, options) ??
          await exec(environment, guest, words, options),
      );
    });
}

/** Undefined when the name is a guest's, or no VM's. */
async function execInRunningVm(
  name: string,
  words: readonly string[],
  options: MachineOptions,
): Promise<number | undefined> {
  // A guest's name means the guest, and a fresh VM need not wait for answers of other processes.
  if (await isGuest(name)) return undefined;
  const { execRunning } = await import("./exec_running.ts");
  return await execRunning(name, words, options);
}

async function exec(
  environment: CliEnvironment,
  guest: string,
  words: readonly string[],
  options: ExecOptions,
): Promise<number> {
  using ending = new Ending(options.timeout);
  const progress = new Progress();
  using _line = { [Symbol.dispose]: () => progress.clear() };
  await using kernel = await environment.startKernel(progress.show, options);
  await using control = new ServedControl(kernel);
  using _name = await control.claimName(options.name);
  const trace = await openTrace(options.trace);
  const starting = start(kernel, guest, options, ending).finally(() => progress.clear());
  starting.catch(() => {});
  const opened = control.open();
  const vm = await starting;
  await opened;
  const copying = copyTrace(vm, trace);
  await using _server = await serveGdb(vm, options.gdb);
  copying.catch((error) => ending.fail(error));
  let status: number;
  try {
    const process = await spawn(vm, words, ending);
    status = await Promise.race([passThrough(process), ending.happens]);
  } catch (error) {
    // Whoever is interrupted does not wait for what would help later.
    await kernel.stop({ now: true });
    throw error;
  } finally {
    await vm.powerOff();
    await copying.catch(() => {});
  }
  await writeStatistics(vm, options.stats);
  return status;
}

async function start(
  kernel: Kernel,
  guest: string,
  options: ExecOptions,
  ending: Ending,
): Promise<VM> {
  const starting = kernel.ready({
    ...powerOnOptions(guest, options),
    cold: options.cold ?? false,
    onReset: "end",
    shows: "command",
  });
  // When the wait is given up, the kernel's end ends the VM; its late refusal is of no interest.
  starting.catch(() => {});
  return await Promise.race([starting, ending.happens]);
}

async function spawn(vm: VM, words: readonly string[], ending: Ending): Promise<ExecProcess> {
  const spawning = vm.spawn(words);
  spawning.catch(() => {});
  try {
    return await Promise.race([spawning, ending.happens]);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    // A VM that failed says more about why than its missing agent does.
    await vm.waitForExit();
    writeError(await lastLines(vm));
    throw new CliExit(EXIT.failure, error.message, "`run` shows the guest's whole console");
  }
}

/** Connects the command's streams with ours; resolves to its status when all was written. */
async function passThrough(process: ExecProcess): Promise<number> {
  feedInput(process).catch(() => {
    // The command ended before it read all: nobody is there to read the rest.
  });
  const [status] = await Promise.all([
    process.status,
    copyTo(process.stdout, writeOut),
    copyTo(process.stderr, writeError),
  ]);
  return status;
}

async function feedInput(process: ExecProcess): Promise<void> {
  const writer = process.stdin.getWriter();
  const chunk = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await Deno.stdin.read(chunk);
    if (count === null) return await writer.close();
    await writer.write(chunk.slice(0, count));
  }
}

async function lastLines(vm: VM): Promise<string> {
  const chunks: string[] = [];
  const decoder = new TextDecoder();
  for await (const bytes of vm.console.readable) {
    chunks.push(decoder.decode(bytes, { stream: true }));
  }
  const lines = chunks.join("").trimEnd().split("\n");
  return lines.slice(-CONSOLE_LINES).join("\n") + "\n";
}
