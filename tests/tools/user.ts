/**
 * Command lines of one user of the tests, over fake machines (control_main.ts) or real ones: they find
 * each other's VMs, and nobody else's.
 */
import { killIfAlive } from "../_support/kill.ts";
import { removeFolder } from "../_support/remove_folder.ts";
import { until } from "../_support/until.ts";

const ROOT = new URL("../../", import.meta.url);
/** Entry of the command line over fake machines; also a file that a fake machine does not look at. */
export const MAIN: string = new URL("./control_main.ts", import.meta.url).pathname;

/** Entry of the command line over real machines. */
export const REAL: string = new URL("../../tools/cli/main.ts", import.meta.url).pathname;
/** Words for a VM that echoes what it is sent; "q" ends it. */
export const ECHO: readonly string[] = ["--kernel", MAIN, "--memory", "1M", "--append", "echo"];

/** How a command ended. */
export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A user with a runtime folder of their own, in which nothing is left running. */
export class User implements AsyncDisposable {
  readonly #running: Deno.ChildProcess[] = [];
  readonly #main: string;

  private constructor(readonly home: string, main: string) {
    this.#main = main;
  }

  /** Of the command line with an entry. */
  static async make(main: string = MAIN): Promise<User> {
    return new User(await Deno.makeTempDir(), main);
  }

  /** Folder of the control sockets. */
  get sockets(): string {
    return `${this.home}/chronovisor`;
  }

  /** Runs a command to its end, in this user's own folder. */
  cli(...words: string[]): Promise<Outcome> {
    return this.feed("", ...words);
  }

  /** Runs a command to its end, with something to read. */
  async feed(stdin: string | Uint8Array, ...words: string[]): Promise<Outcome> {
    const child = this.command(words).spawn();
    const bytes = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
    const writer = child.stdin.getWriter();
    // A command may end without reading all.
    const feeding = writer.write(bytes).then(() => writer.close()).catch(() => {});
    const { code, stdout, stderr } = await child.output();
    await feeding;
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  }

  /** Starts a command that is ended with this user. */
  start(...words: string[]): Deno.ChildProcess {
    const child = this.command(words).spawn();
    this.#running.push(child);
    return child;
  }

  /** Starts a VM that echoes what it is sent, and waits until it is there. */
  runEcho(...more: string[]): Promise<Deno.ChildProcess> {
    return this.#runUntilReady(["run", ...ECHO, ...more]);
  }

  /** The same as a guest with a name, which is the VM's then. */
  runGuest(name: string): Promise<Deno.ChildProcess> {
    return this.#runUntilReady(["run", name]);
  }

  /** Lets a VM power itself off. */
  async end(child: Deno.ChildProcess): Promise<void> {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("q"));
    await writer.close();
    await child.status;
  }

  /** Names of files in the folder of the control sockets that end so. */
  files(end = ".sock"): string[] {
    try {
      return [...Deno.readDirSync(this.sockets)].map(({ name }) => name)
        .filter((name) => name.endsWith(end));
    } catch (error) {
      if (isFailure(error, Deno.errors.NotFound, Deno.errors.NotADirectory)) return [];
      throw error;
    }
  }

  /** The command with this user's surroundings. */
  command(words: readonly string[]): Deno.Command {
    const config = new URL("deno.json", ROOT).pathname;
    return new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--config", config, this.#main, ...words],
      cwd: this.home,
      env: {
        NO_COLOR: "1",
        XDG_RUNTIME_DIR: this.home,
        CHRONOVISOR_CHECKPOINTS: `${this.home}/checkpoints`,
      },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    });
  }

  /** Waits until no detached process of this user is left. */
  async ended(): Promise<void> {
    await until("detached processes end", () => this.#detached().length === 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) {
      await child.stdin.close().catch(() => {});
      killIfAlive(() => child.kill("SIGKILL"));
      await child.status;
      await child.stdout.cancel();
      await child.stderr.cancel();
    }
    // Those that start just now are seen when they have made their files.
    await until("detached processes are dead", () => {
      const processes = this.#detached();
      for (const process of processes) killIfAlive(() => Deno.kill(process, "SIGKILL"));
      return processes.length === 0;
    });
    await removeFolder(this.home);
  }

  /** Detached processes that live, by their sockets and logs. */
  #detached(): number[] {
    const numbers = this.files("").map((name) => parseInt(name.replace(/^\./, "")));
    return [...new Set(numbers)].filter((number) => number > 0 && this.#isOurs(number));
  }

  #isOurs(process: number): boolean {
    if (Deno.build.os !== "linux") return this.files().some((name) => parseInt(name) === process);
    try {
      // A log outlives its process, whose number may be another's by now.
      return Deno.readTextFileSync(`/proc/${process}/environ`).includes(this.home);
    } catch {
      return false;
    }
  }

  async #runUntilReady(words: readonly string[]): Promise<Deno.ChildProcess> {
    const child = this.start(...words);
    await readUntil(child.stdout, (shown) => shown.includes("ready\n"));
    // Its socket is made beside.
    await until(
      "its socket is there",
      () => this.files().some((name) => name.startsWith(`${child.pid}-`)),
    );
    return child;
  }
}

/** Reads text until it is enough; gives it. Throws when the stream ends before. */
export async function readUntil(
  stream: ReadableStream<Uint8Array>,
  enough: (text: string) => boolean,
): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let shown = "";
  while (!enough(shown)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the stream ended: ${shown}`);
    shown += decoder.decode(value, { stream: true });
  }
  reader.releaseLock();
  return shown;
}

function isFailure(error: unknown, ...kinds: (new (...args: never[]) => Error)[]): boolean {
  return kinds.some((kind) => error instanceof kind);
}
