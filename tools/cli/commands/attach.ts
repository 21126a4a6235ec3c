/**
 * `attach`: this terminal as another one of a VM that runs in another process (issue 5, section 6).
 */
import { Command } from "commander";
import type { ControlClient } from "../control/client.ts";
import type { AttachedTerminal } from "../control/attached_terminal.ts";
import { Ending } from "../ending.ts";
import { CliExit, EXIT } from "../errors.ts";
import { writeError, writeOut } from "../streams.ts";

interface Options {
  readonly monitor?: boolean;
}

/** The command. */
export function attachCommand(onStatus: (status: number) => void): Command {
  return new Command("attach")
    .description("connect this terminal with the console of a running VM")
    .argument("<name>", "name of the VM (ps shows them)")
    .option("--console", "the guest's console (default)")
    .option(
      "--monitor",
      "begin with the monitor; without a terminal, its commands are read as lines",
    )
    .addHelpText("after", "\nKeys:\n  Ctrl-A x detaches, Ctrl-A c monitor, Ctrl-A h help")
    .action(async (name: string, options: Options) => onStatus(await attach(name, options)));
}

async function attach(name: string, { monitor = false }: Options): Promise<number> {
  const { connectToVm } = await import("../control/sockets.ts");
  using client = await connectToVm(name, { starts: true });
  using ending = new Ending(undefined);
  if (monitor && !Deno.stdin.isTerminal()) {
    return await Promise.race([runLines(client, name), ending.happens]);
  }
  const { AttachedTerminal } = await import("../control/attached_terminal.ts");
  const terminal = new AttachedTerminal(client, name, (error) => ending.fail(error), monitor);
  const exit = await Promise.race([terminal.exit, ending.happens])
    .finally(() => terminal.close());
  return say(name, exit);
}

function say(name: string, exit: Awaited<AttachedTerminal["exit"]>): number {
  if (exit === null) {
    writeError(`chronovisor: detached; the VM "${name}" goes on\n`);
    return EXIT.ok;
  }
  if (exit.why === "stopped") writeError(`chronovisor: the VM "${name}" was switched off\n`);
  if (exit.why === "suspended") writeError(`chronovisor: the VM "${name}" was suspended\n`);
  return exit.code;
}

/** The monitor for a program: a line in, an answer out. */
async function runLines(client: ControlClient, name: string): Promise<number> {
  const execute = async (line: string) => {
    if (line.length > 1024) throw new CliExit(EXIT.usage, "a line of more than 1024 characters");
    const { text } = await client.ask("monitor", { vm: name, line: line.trim() });
    if (text !== "") writeOut(text.endsWith("\n") ? text : `${text}\n`);
  };
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of Deno.stdin.readable) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) await execute(line);
  }
  if (rest !== "") await execute(rest);
  return EXIT.ok;
}
