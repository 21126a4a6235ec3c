/** `completion`: shell completions, made from the table of commands. */
import { Argument, Command } from "commander";
import { completionScript, SHELLS } from "../completion_script.ts";
import { CliExit, EXIT } from "../errors.ts";
import { writeOut } from "../streams.ts";

/** The command; `program` gives the whole table when it is executed. */
export function completionCommand(program: () => Command): Command {
  return new Command("completion")
    .description("print completions for a shell: bash or zsh")
    .addArgument(new Argument("<shell>", "bash or zsh").choices(SHELLS))
    .option("--program <name>", "name that the program is called by", "chronovisor")
    .action((shell: (typeof SHELLS)[number], { program: name }: { program: string }) => {
      if (!/^[\w-]+$/.test(name)) {
        throw new CliExit(
          EXIT.usage,
          `"${name}" cannot be a program's name: expected a plain word`,
        );
      }
      writeOut(completionScript(shell, program(), name));
    });
}
