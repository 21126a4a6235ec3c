/** `record start` and `record stop`: recordings of VMs that run in other processes (issue 4, "Record"). */
import { Command } from "commander";
import type { RecordSync } from "../../../mod.ts";
import { connectToVm } from "../control/sockets.ts";
import { choice } from "../machine_options.ts";

interface StartOptions {
  readonly recordSync?: RecordSync;
  readonly recordImages?: boolean;
}

/** The command. */
export function recordCommand(): Command {
  const command = new Command("record").description("record a VM that runs already");
  command.command("start").description("begin to record a running VM, for `replay`")
    .argument("<name>", "name of the VM (ps shows them)")
    .argument("<folder>", "folder of the recording: new, or empty")
    .addOption(
      choice("--record-sync <when>", "when the recording must be on stable storage", [
        "none",
        "periodic",
        "every",
      ]),
    )
    .option("--record-images", "copy all images into the recording, not just small ones")
    .action(start);
  command.command("stop").description("end the recording of a running VM, which goes on")
    .argument("<name>", "name of the VM")
    .action(async (name: string) => {
      using client = await connectToVm(name);
      await client.ask("record-stop", { vm: name });
    });
  return command;
}

async function start(
  name: string,
  folder: string,
  { recordSync, recordImages }: StartOptions,
): Promise<void> {
  using client = await connectToVm(name);
  await client.ask("record-start", {
    vm: name,
    // The VM's process may have been started in another folder.
    folder: absolute(folder),
    ...recordSync && { sync: recordSync },
    ...recordImages && { images: true },
  });
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}
