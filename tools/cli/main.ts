/**
 * The command line's entry: runs one command and ends with its exit status.
 */
import { type CliEnvironment, realEnvironment } from "./environment.ts";
import { describeError, EXIT } from "./errors.ts";
import { makeProgram } from "./program.ts";
import { writeError } from "./streams.ts";

/** Runs a command line; resolves to its exit status. Never rejects. */
export async function main(
  words: readonly string[],
  environment: CliEnvironment = realEnvironment,
): Promise<number> {
  let status: number = EXIT.ok;
  try {
    const program = await makeProgram(words, environment, (ending) => status = ending);
    await program.parseAsync([...words], { from: "user" });
  } catch (error) {
    const described = describeError(error);
    if (described.text !== "") writeError(described.text);
    status = described.status;
  }
  return status;
}

// Exits at once: a read of standard input that is still waiting must not keep the process.
if (import.meta.main) Deno.exit(await main(Deno.args));
