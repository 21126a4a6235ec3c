/**
 * The command line's entry: runs one command and ends with its exit status.
 */
import { type CliEnvironment, realEnvironment } from "./environment.ts";
import { describeError, EXIT } from "./errors.ts";
import { makeProgram } from "./program.ts";
import { writeError } from "./streams.ts";

/** Milliseconds between two wakings of a process that waits. */
const WAKING_MILLISECONDS = 60_000;

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

if (import.meta.main) {
  // While it waits for one operation alone, Deno may take that for one that nobody waits for (tests/_support/
  // keep_alive.ts), and end the process.
  setInterval(() => {}, WAKING_MILLISECONDS);
  // Exits at once: a read of standard input that is still waiting must not keep the process.
  Deno.exit(await main(Deno.args));
}
