/**
 * How the command line ends: exit statuses, and one clear line for each error.
 *
 * Invariant: a user's or the host's error shows no stack; an error of ours shows all there is.
 */
import { ConfigError, FormatError, HostError } from "../../kernel/base/errors.ts";
import { formatFailure, VmFailure } from "../../kernel/world/reports.ts";
import { CommanderError } from "commander";

/** TABLE of exit statuses that are not the guest's own. */
export const EXIT = {
  /** Success, also when `--until` found its text. */
  ok: 0,
  /** An image is missing or bad, the host refused something, or `--until` did not find its text. */
  failure: 1,
  /** The command line was wrong. */
  usage: 2,
  /** An error of ours, or a VM that failed by one. */
  internal: 70,
  /** `--timeout` passed. */
  timeout: 124,
} as const;

/** Ends the command with a status, and a message unless it was said already. */
export class CliExit extends Error {
  override name = "CliExit";

  /** An end with a status; an empty message says nothing. */
  constructor(
    /** Exit status. */
    readonly status: number,
    message = "",
    /** What to do about it. */
    readonly hint: string = "",
  ) {
    super(message);
  }
}

/** The exit status of an error and what to say on stderr. */
export function describeError(error: unknown): { status: number; text: string } {
  if (error instanceof CliExit) {
    const hint = error.hint === "" ? "" : `hint: ${error.hint}\n`;
    return {
      status: error.status,
      text: error.message === "" ? "" : `chronovisor: ${error.message}\n${hint}`,
    };
  }
  // Commander has printed its own message by now; asking for help is no error.
  if (error instanceof CommanderError) {
    return { status: error.exitCode === 0 ? EXIT.ok : EXIT.usage, text: "" };
  }
  if (error instanceof ConfigError) return { status: EXIT.usage, text: line(error) };
  if (error instanceof HostError || error instanceof FormatError) {
    return { status: EXIT.failure, text: line(error) };
  }
  if (error instanceof VmFailure) {
    const text = `${line(error)}${formatFailure(error.report)}\n`;
    return { status: EXIT.internal, text };
  }
  const stack = error instanceof Error ? error.stack ?? String(error) : String(error);
  return { status: EXIT.internal, text: `chronovisor: this is a bug of ours\n${stack}\n` };
}

function line(error: Error): string {
  return `chronovisor: ${error.message}\n`;
}
