/**
 * What to do about a checkpoint that could not be made or used: hints for the errors of the kernel and of the
 * store, which say what is wrong (issue 5, section 6, "Errors").
 */
import { ConfigError, FormatError, HostError } from "../../../kernel/base/errors.ts";
import { CliExit, EXIT } from "../errors.ts";

/** TABLE of hints by what the messages say. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /disk is full|quota/i,
    "free space where the checkpoints are, for example by `checkpoint delete`; no VM and no " +
    "checkpoint was harmed",
  ],
  [
    /machine version|schema version|of version/,
    "use the Chronovisor that made it, or `checkpoint delete` it",
  ],
  [
    /parent|missing|damaged|checksum|CRC|hash/i,
    "`checkpoint verify` says all that is damaged; `checkpoint delete ID` removes what cannot be used",
  ],
  [
    /was resumed before/,
    "`resume ID --fork` makes another VM of it, `checkpoint restore ID` goes back to that moment; neither can " +
    "when its VM has written to a disk since",
  ],
  [
    /runs from it already/,
    "`fork ID` makes another VM of it, unless that VM has disks that it may write to; `ps` shows what runs",
  ],
  [/There is no (running )?VM/, "`ps` shows the VMs that run, `ps --all` the suspended ones, too"],
  [/There is no checkpoint/, "`checkpoint list` shows all"],
  [/is parked/, "`attach`, `exec` or `stop` it; a parked fork has nothing of its own to be saved"],
];

/** Runs something; an error about checkpoints comes with a hint. */
export async function explained<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw withHint(error);
  }
}

/** The error with a hint, where there is one. */
export function withHint(error: unknown): unknown {
  const isUsage = error instanceof ConfigError;
  if (!isUsage && !(error instanceof HostError || error instanceof FormatError)) return error;
  const { message } = error;
  const hint = HINTS.find(([pattern]) => pattern.test(message))?.[1];
  return hint === undefined
    ? error
    : new CliExit(isUsage ? EXIT.usage : EXIT.failure, message, hint);
}
