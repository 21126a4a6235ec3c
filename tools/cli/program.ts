/**
 * The table of commands. Each is one file in commands/; the help and the shell completions are made
 * from this table.
 */
import { Command } from "commander";
import { attachCommand } from "./commands/attach.ts";
import { completionCommand } from "./commands/completion.ts";
import { diskCommand } from "./commands/disk.ts";
import { execCommand } from "./commands/exec.ts";
import { guestsCommand } from "./commands/guests.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { psCommand } from "./commands/ps.ts";
import { recordCommand } from "./commands/record.ts";
import { replayCommand } from "./commands/replay.ts";
import { runCommand } from "./commands/run.ts";
import { stopCommand } from "./commands/stop.ts";
import { symbolsCommand } from "./commands/symbols.ts";
import { versionCommand } from "./commands/version.ts";
import type { CliEnvironment } from "./environment.ts";
import { writeError, writeOut } from "./streams.ts";

const EXAMPLES = `
Examples:
  run hello                              a small guest of ours
  run debian                             Debian Linux to a shell; Ctrl-A x quits
  exec debian -- uname -a                one command in a fresh Debian
  run debian -d --name web               without the terminal; then attach web, exec web, stop web
  run debian --record DIR                record it; replay DIR shows it again
  run --kernel Image --initrd initrd.gz --append "console=ttyS0"
`;

/** Makes the program; `onStatus` is called with the exit status of a command that has one. */
export function makeProgram(
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Command {
  const program = new Command("chronovisor")
    .description("Runs RISC-V virtual machines anywhere Deno runs.")
    .addHelpText("after", EXAMPLES)
    .helpCommand("help [command]", "show the help of a command")
    .showHelpAfterError("(help shows what is possible)");
  program.addCommand(runCommand(environment, onStatus));
  program.addCommand(execCommand(environment, onStatus));
  program.addCommand(replayCommand(environment, onStatus));
  program.addCommand(recordCommand());
  program.addCommand(psCommand());
  program.addCommand(attachCommand(onStatus));
  program.addCommand(stopCommand());
  program.addCommand(guestsCommand());
  program.addCommand(inspectCommand());
  program.addCommand(diskCommand(onStatus));
  program.addCommand(symbolsCommand(environment));
  program.addCommand(versionCommand());
  program.addCommand(completionCommand(() => program));
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
