/** `suspend`: keeps all of a running VM, which ends, until it is resumed (issue 5, section 6; S19). */
import { Command } from "commander";
import { explained } from "../checkpoints/explain.ts";
import { checkLabel, checkRate, SaveLine } from "../checkpoints/save_request.ts";
import { countsText } from "../checkpoints/list_text.ts";
import { connectToVm } from "../control/sockets.ts";
import { writeOut } from "../streams.ts";

interface Options {
  readonly label?: string;
  readonly rate?: number;
  readonly json?: boolean;
}

/** The command. */
export function suspendCommand(): Command {
  return new Command("suspend")
    .description("keep all of a running VM, and end it until `resume`")
    .argument("<name>", "name of the VM (ps shows them)")
    .option("--label <text>", "what to find it by", checkLabel)
    .option("--rate <pages>", "most pages that are saved in a second", checkRate)
    .option("--json", "print one JSON object")
    .action((name: string, options: Options) => explained(() => suspend(name, options)));
}

async function suspend(name: string, { label, rate, json }: Options): Promise<void> {
  using client = await connectToVm(name);
  using line = new SaveLine(name);
  const made = await client.ask("suspend", {
    vm: name,
    ...label !== undefined && { label },
    ...rate !== undefined && { rate },
  }, { onEvent: line.show });
  line.clear();
  if (json) return writeOut(JSON.stringify(made) + "\n");
  writeOut(`${made.id}\n${countsText(made.counts)}; \`resume ${name}\` lets it go on\n`);
}
