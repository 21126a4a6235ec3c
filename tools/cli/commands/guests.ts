/**
 * `guests list | fetch NAME | build`: the guests of this repository.
 */
import { Command } from "commander";
import { buildGuests } from "../../guests/build.ts";
import { listGuests, resolveGuest } from "../../guests/mod.ts";
import { writeError, writeOut } from "../streams.ts";

/** Makes the command. */
export function guestsCommand(): Command {
  const command = new Command("guests").description("list, fetch or build guests");
  command.command("list").description("names and what they are").action(async () => {
    for (const { name, description } of await listGuests()) {
      writeOut(`${name.padEnd(10)} ${description}\n`);
    }
  });
  command.command("fetch").description("fetch and assemble a guest now").argument("<name>")
    .option("--packages <names>", "packages to add, with commas between them", "")
    .action(async (name: string, options: { packages: string }) => {
      const packages = options.packages.split(",").filter((part) => part !== "");
      const progress = (line: string) => writeError(`${line}\n`);
      const { kernel, initrd } = await resolveGuest(name, { packages, progress });
      writeOut(`kernel ${kernel ?? "-"}\ninitrd ${initrd ?? "-"}\n`);
    });
  command.command("build").description("build our own guests with the cross compiler")
    .option("--check", "only check that the committed images are what the sources give")
    .action(async (options: { check?: boolean }) => {
      await buildGuests(options.check ?? false, (line) => writeOut(`${line}\n`));
    });
  return command;
}
