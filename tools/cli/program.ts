/**
 * The table of commands. Each is one file in commands/, which is loaded when the command line names it, with
 * all that it imports: `run` loads no debugger, and `version` no kernel. What one command uses in few cases
 * only, it imports there (`importLate`). The help, and the shell completions, are made from all of them.
 *
 * Invariant: what this file and main.ts import without being asked is what every command needs
 * (tests/tools/start_test.ts).
 */
import { Command } from "commander";
import type { CliEnvironment } from "./environment.ts";
import { writeError, writeOut } from "./streams.ts";
import { importLate } from "../../kernel/host/late_import.ts";

const EXAMPLES = `
Examples:
  run hello                              a small guest of ours
  run debian                             Debian Linux to a shell; Ctrl-A x quits
  exec debian -- uname -a                one command in a fresh Debian
  run debian -d --name web               without the terminal; then attach web, exec web, stop web
  checkpoint create web before           keep this moment of it; checkpoint restore before
  suspend web                            keep all of it and end it; resume web goes on
  fork web -n 10                         ten more that begin where it is
  run debian --record DIR                record it; replay DIR shows it again
  run --kernel Image --initrd initrd.gz --append "console=ttyS0"
`;

/** What a command may be made with. */
interface Surroundings {
  readonly environment: CliEnvironment;
  /** Called with the exit status of a command that has one. */
  readonly onStatus: (status: number) => void;
  /** The whole table. */
  readonly program: () => Command;
}

/** Loads a file of commands/. */
const load = <Module>(name: string) => importLate<Module>(`./commands/${name}.ts`, import.meta.url);

/** TABLE of the commands by name, in the order of the help. */
const COMMANDS: Readonly<Record<string, (has: Surroundings) => Promise<Command>>> = {
  run: async ({ environment, onStatus }) =>
    (await load<typeof import("./commands/run.ts")>("run")).runCommand(environment, onStatus),
  exec: async ({ environment, onStatus }) =>
    (await load<typeof import("./commands/exec.ts")>("exec")).execCommand(environment, onStatus),
  replay: async ({ environment, onStatus }) =>
    (await load<typeof import("./commands/replay.ts")>("replay"))
      .replayCommand(environment, onStatus),
  record: async () => (await load<typeof import("./commands/record.ts")>("record")).recordCommand(),
  ps: async () => (await load<typeof import("./commands/ps.ts")>("ps")).psCommand(),
  attach: async ({ onStatus }) =>
    (await load<typeof import("./commands/attach.ts")>("attach")).attachCommand(onStatus),
  stop: async () => (await load<typeof import("./commands/stop.ts")>("stop")).stopCommand(),
  checkpoint: async ({ environment, onStatus }) =>
    (await load<typeof import("./commands/checkpoint.ts")>("checkpoint"))
      .checkpointCommand(environment, onStatus),
  suspend: async () =>
    (await load<typeof import("./commands/suspend.ts")>("suspend")).suspendCommand(),
  resume: async ({ environment, onStatus }) =>
    (await load<typeof import("./commands/resume.ts")>("resume"))
      .resumeCommand(environment, onStatus),
  fork: async ({ environment, onStatus }) =>
    (await load<typeof import("./commands/fork.ts")>("fork")).forkCommand(environment, onStatus),
  guests: async () => (await load<typeof import("./commands/guests.ts")>("guests")).guestsCommand(),
  inspect: async () =>
    (await load<typeof import("./commands/inspect.ts")>("inspect")).inspectCommand(),
  disk: async ({ onStatus }) =>
    (await load<typeof import("./commands/disk.ts")>("disk")).diskCommand(onStatus),
  symbols: async ({ environment }) =>
    (await load<typeof import("./commands/symbols.ts")>("symbols")).symbolsCommand(environment),
  version: async () =>
    (await load<typeof import("./commands/version.ts")>("version")).versionCommand(),
  completion: async ({ program }) =>
    (await load<typeof import("./commands/completion.ts")>("completion"))
      .completionCommand(program),
};

/** Commands that are about all the others. */
const WANT_ALL = ["completion", "help"];

/**
 * Makes the program for a command line: with the command that it names, or with all of them when it names
 * none, or one that is about all.
 */
export async function makeProgram(
  words: readonly string[],
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Promise<Command> {
  const program = new Command("chronovisor")
    .description("Runs RISC-V virtual machines anywhere Deno runs.")
    .addHelpText("after", EXAMPLES)
    .helpCommand("help [command]", "show the help of a command")
    .showHelpAfterError("(help shows what is possible)");
  const named = words[0] ?? "";
  const one = Object.hasOwn(COMMANDS, named) && !WANT_ALL.includes(named);
  for (const name of one ? [named] : Object.keys(COMMANDS)) {
    program.addCommand(await COMMANDS[name]!({ environment, onStatus, program: () => program }));
  }
  configureAll(program);
  return program;
}

/** Commander's own settings, which subcommands added as objects do not inherit. */
function configureAll(command: Command): void {
  command.exitOverride();
  command.configureOutput({
    writeOut,
    writeErr: writeError,
    outputError: (text, write) => write(text.replace(/^error: /, "chronovisor: ")),
  });
  command.showSuggestionAfterError();
  for (const child of command.commands) configureAll(child);
}
