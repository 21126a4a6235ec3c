/** `inspect`: says what an image is and what can be done with it. */
import { Command } from "commander";
import { HostError } from "../../../mod.ts";
import { describeImage } from "../inspect_image.ts";
import { writeOut } from "../streams.ts";

/** The command. */
export function inspectCommand(): Command {
  return new Command("inspect")
    .description("say what an image is: ELF, Linux Image, initial RAM disk, disk")
    .argument("<image>", "a file")
    .option("--json", "print one JSON object")
    .action(async (path: string, { json }: { json?: boolean }) => {
      const facts = await describeImage(await read(path));
      if (json) return writeOut(JSON.stringify({ path, facts: groupFacts(facts) }) + "\n");
      for (const [name, value] of facts) writeOut(`${name.padEnd(10)}${value}\n`);
    });
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    const missing = cause instanceof Deno.errors.NotFound;
    const reason = missing ? "there is no such file" : (cause as Error).message;
    throw new HostError(`Cannot read "${path}": ${reason}`, { cause });
  }
}

/** Facts by name; a name that occurs more than once has a list. */
function groupFacts(facts: readonly (readonly [string, string])[]): Record<string, string[]> {
  const grouped: Record<string, string[]> = {};
  for (const [name, value] of facts) (grouped[name] ??= []).push(value);
  return grouped;
}
