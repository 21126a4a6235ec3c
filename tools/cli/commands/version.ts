/** `version`: ours and the runtime's. */
import { Command } from "commander";
import { writeOut } from "../streams.ts";
import { versionText } from "../version.ts";

/** The command. */
export function versionCommand(): Command {
  return new Command("version")
    .description("show the version")
    .action(() => writeOut(versionText()));
}
