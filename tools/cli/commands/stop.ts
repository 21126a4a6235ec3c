/** `stop`: ends a VM that runs in another process (issue 5, section 6). */
import { Command } from "commander";
import { seconds } from "../machine_options.ts";
import { writeError } from "../streams.ts";

interface Options {
  readonly force?: boolean;
  readonly timeout?: number;
}

/** The command. */
export function stopCommand(): Command {
  return new Command("stop")
    .description("end a running VM: its guest powers off, if it can be asked to")
    .argument("<name>", "name of the VM (ps shows them)")
    .option("--force", "switch it off without asking the guest")
    .option("--timeout <seconds>", "switch it off when the guest takes longer (30)", seconds)
    .action(stop);
}

async function stop(name: string, { force = false, timeout }: Options): Promise<void> {
  const { connectToVm } = await import("../control/sockets.ts");
  using client = await connectToVm(name);
  const { how } = await client.ask("stop", {
    vm: name,
    force,
    ...timeout !== undefined && { seconds: timeout },
  });
  if (how === "late") {
    writeError(`chronovisor: the guest of "${name}" did not power off in time: switched it off\n`);
  }
}
