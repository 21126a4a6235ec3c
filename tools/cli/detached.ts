/**
 * A command that goes on without its terminal: `run -d` (issue 5, section 6; docs/control.md).
 *
 * The process that the user started runs the same command line again in a session of its own, and waits
 * for its report: lines of JSON through a pipe that only the two have. The other process finds the pipe
 * in its environment.
 *
 * Invariants: the first process ends when the second has reported a start or has ended, so one of the two
 * always tells the user; a start that fails, or that is given up, leaves no process and no file.
 */
import { z } from "zod";
import configuration from "../../deno.json" with { type: "json" };
import { HostError } from "../../mod.ts";
import { controlFolder } from "./control/folder.ts";
import { preparePrivateFolder } from "./control/sockets.ts";
import type { Ending } from "./ending.ts";
import { CliExit, describeError, EXIT } from "./errors.ts";
import { Progress } from "./progress.ts";
import { writeOut } from "./streams.ts";

/** Variable of the environment that names the pipe. */
const REPORT = "CHRONOVISOR_REPORT";
/** Most bytes shown of the log of a process that died without a report. */
const LOG_BYTES = 4096;
/** Logs of processes that ended are removed after so long. */
const LOG_MILLISECONDS = 7 * 24 * 3600 * 1000;

/** Keeps the pipe as descriptor 3 and gives the rest to the log, named by the process' number. */
const START = 'log="$1/$$.log"; shift; exec "$@" 3>&1 >"$log" 2>&1';

const report = z.union([
  z.strictObject({ progress: z.string() }),
  z.strictObject({ started: z.string() }),
  z.strictObject({ status: z.int(), failed: z.string() }),
]);

type Report = z.infer<typeof report>;

/** Whether this process was started by another one's `startDetached`. */
export function isDetachedProcess(): boolean {
  return Deno.env.has(REPORT);
}

/** Options of `deno run` in the task that starts the command line. */
export function runtimeOptions(): string[] {
  return configuration.tasks.start.command.split(" ").filter((word) => word.startsWith("-"));
}

/** The log of the process with this number. */
export function logPath(process: number): string {
  return `${controlFolder()}/${process}.log`;
}

/**
 * Runs this process' command line again, detached; prints what it starts and resolves to the exit
 * status. Rejects with HostError, and with what `ending` does.
 */
export async function startDetached(ending: Ending): Promise<number> {
  const folder = controlFolder();
  try {
    await preparePrivateFolder(folder);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot use the folder "${folder}": ${reason}`, { cause });
  }
  await removeOldLogs(folder);
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", START, "chronovisor", folder, Deno.execPath(), ...commandLine()],
    env: { [REPORT]: "/dev/fd/3" },
    detached: true,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const progress = new Progress();
  try {
    const got = await Promise.race([finalReport(child, progress), ending.happens]);
    progress.clear();
    if ("started" in got) {
      writeOut(`${got.started}\n`);
      return EXIT.ok;
    }
    await child.status;
    throw new Failed(got.status, got.failed);
  } catch (error) {
    progress.clear();
    await giveUp(child);
    await Deno.remove(logPath(child.pid)).catch(() => {});
    throw error;
  }
}

/** The other process could not start, and said why in full. */
class Failed extends CliExit {
  constructor(status: number, text: string) {
    // Shown as it is: the other process has put it into words already.
    super(status, text.replace(/^chronovisor: /, "").trimEnd());
  }
}

/** What Deno runs again: this program with the same words. */
function commandLine(): string[] {
  const { mainModule } = Deno;
  const config = new URL("../../deno.json", import.meta.url);
  const local = config.protocol === "file:";
  const options = [
    ...runtimeOptions(),
    ...local ? ["--config", decodeURIComponent(config.pathname)] : [],
  ];
  return ["run", "--quiet", ...options, mainModule, ...Deno.args];
}

async function finalReport(
  child: Deno.ChildProcess,
  progress: Progress,
): Promise<Exclude<Report, { progress: string }>> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of child.stdout) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const got = report.parse(JSON.parse(line));
      if (!("progress" in got)) return got;
      progress.show(got.progress);
    }
  }
  const { code } = await child.status;
  const said = await lastOf(logPath(child.pid));
  throw new CliExit(
    code || EXIT.failure,
    `the detached process ended with status ${code} before its VM ran${said && `:\n${said}`}`,
  );
}

async function lastOf(path: string): Promise<string> {
  try {
    return (await Deno.readTextFile(path)).slice(-LOG_BYTES).trimEnd();
  } catch {
    // It ended before it had a log.
    return "";
  }
}

/** Ends the other process, which ends what it has begun. */
async function giveUp(child: Deno.ChildProcess): Promise<void> {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    // It has ended already.
    if (!(error instanceof TypeError)) throw error;
  }
  await child.status;
}

async function removeOldLogs(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(folder)) {
    if (!/^\d+\.log$/.test(name)) continue;
    const { mtime } = await Deno.stat(`${folder}/${name}`).catch(() => ({ mtime: null }));
    if (mtime === null || Date.now() - mtime.getTime() < LOG_MILLISECONDS) continue;
    const process = parseInt(name);
    const sockets = await Array.fromAsync(Deno.readDir(folder));
    if (sockets.some((other) => other.name.startsWith(`${process}-`))) continue;
    await Deno.remove(`${folder}/${name}`).catch(() => {});
  }
}

/** The other process' end: what it tells the first one. */
export class DetachedReport {
  readonly #pipe: Deno.FsFile;
  readonly #log = logPath(Deno.pid);
  #told = false;

  private constructor(pipe: Deno.FsFile) {
    this.#pipe = pipe;
  }

  /** In a process that `startDetached` started; undefined in all others. */
  static open(): DetachedReport | undefined {
    const path = Deno.env.get(REPORT);
    if (path === undefined) return undefined;
    // What this process starts in its turn is not waited for.
    Deno.env.delete(REPORT);
    return new DetachedReport(Deno.openSync(path, { write: true }));
  }

  /** File that this process' messages go to. */
  get log(): string {
    return this.#log;
  }

  /** Long work goes on. */
  readonly progress = (line: string): void => {
    if (!this.#told) this.#tell({ progress: line });
  };

  /** The VM runs. Throws CliExit when nobody waits for it any more. */
  started(name: string): void {
    this.#tell({ started: name });
    this.#told = true;
    this.#pipe.close();
  }

  /** It cannot run. */
  failed(error: unknown): void {
    if (this.#told) return;
    const { status, text } = describeError(error);
    this.#tell({ status, failed: text });
    this.#told = true;
  }

  /** Removes the log if there is nothing in it. */
  removeEmptyLog(): void {
    try {
      if (Deno.statSync(this.#log).size === 0) Deno.removeSync(this.#log);
    } catch {
      // Somebody else removed it.
    }
  }

  #tell(content: Report): void {
    const bytes = new TextEncoder().encode(JSON.stringify(content) + "\n");
    try {
      for (let at = 0; at < bytes.length;) at += this.#pipe.writeSync(bytes.subarray(at));
    } catch (cause) {
      if (!(cause instanceof Deno.errors.BrokenPipe)) throw cause;
      throw new CliExit(EXIT.failure, "whoever started this process is gone");
    }
  }
}
