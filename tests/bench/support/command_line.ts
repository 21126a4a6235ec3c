/**
 * The command line of a source tree, ours or an older revision's, as a program to be measured: both are
 * run in the same way, with the same images, so that their times can be compared.
 */
import type { Revision } from "../../../tools/dev/bench_suite.ts";
import { NoRevision } from "../../../tools/dev/revision.ts";
import { runPeer } from "../../_support/peers.ts";

const OURS = new URL("../../../tools/cli/main.ts", import.meta.url);
/** The guest with the kernels. */
export const BENCH_ELF: string = decodeURIComponent(
  new URL("../../../guests/bench/bench.elf", import.meta.url).pathname,
);
/** The first run of a tree also makes its packages and compiles its modules. */
const FIRST_RUN_SECONDS = 300;
const FRESH = "--no-translation-cache";

/** What a run shall be like, as far as the tree's command line can. */
export interface RunWishes {
  /** Options with their values; one that the tree does not have is left out. */
  readonly wanted?: Readonly<Record<string, string>>;
  /** Whether translations of earlier runs are used and kept; they are not by default. */
  readonly keeps?: boolean;
}

/** A tree's command line. */
export class CommandLine {
  readonly #cli: readonly string[];
  readonly #help: string;

  private constructor(cli: readonly string[], help: string) {
    this.#cli = cli;
    this.#help = help;
  }

  /** This tree's. */
  static ours(): Promise<CommandLine> {
    return CommandLine.#open("this tree", decodeURIComponent(OURS.pathname));
  }

  /** A revision's. Rejects with `NoRevision` when it cannot run a guest, and tells what it says itself. */
  static async of({ name, cli }: Revision): Promise<CommandLine> {
    try {
      return await CommandLine.#open(`the revision "${name}"`, cli);
    } catch (cause) {
      throw new NoRevision(cause instanceof Error ? cause.message : String(cause), { cause });
    }
  }

  static async #open(name: string, cli: string): Promise<CommandLine> {
    const start = [...await startArguments(cli), cli];
    const line = new CommandLine(start, await answer(name, [...start, "run", "--help"]));
    // Not only to see whether it can: what a first run costs shall not be in the times.
    await answer(name, line.run(["--kernel", BENCH_ELF, "--append", "bench=alu scale=1"]));
    return line;
  }

  /** Arguments for Deno that run a guest. */
  run(args: readonly string[], { wanted = {}, keeps = false }: RunWishes = {}): string[] {
    const known = Object.entries(wanted).filter(([option]) => this.#knows(option)).flat();
    const cache = keeps || !this.#knows(FRESH) ? [] : [FRESH];
    return [...this.#cli, "run", ...args, ...known, ...cache];
  }

  #knows(option: string): boolean {
    return this.#help.includes(`${option} `);
  }
}

/** What Deno is given before the command line's module by the tree's own task. */
export async function startArguments(cli: string = decodeURIComponent(OURS.pathname)): Promise<
  string[]
> {
  const text = await Deno.readTextFile(cli.replace("tools/cli/main.ts", "deno.json"));
  const { tasks } = JSON.parse(text) as { tasks: { start: string | { command: string } } };
  const command = typeof tasks.start === "string" ? tasks.start : tasks.start.command;
  const flags = command.split(" ").filter((word) => word.startsWith("--v8-flags="));
  return ["run", "-A", "--quiet", ...flags];
}

async function answer(name: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runPeer(Deno.execPath(), args, FIRST_RUN_SECONDS);
  if (code === 0) return new TextDecoder().decode(stdout);
  throw new Error(`The command line of ${name} cannot run the benchmark guest: ${stderr.trim()}`);
}
