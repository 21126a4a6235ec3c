/**
 * What a replay says beside what the guest printed: replay-only code on standard error or in a file, and
 * plugins on standard output or in a file (docs/replay.md).
 *
 * Invariant: files are made before the replay begins, so that one that cannot be written is known then.
 */
import { type CoreReport, HostError } from "../../mod.ts";
import { writeError, writeOut } from "./streams.ts";

const ENDED: Readonly<Record<CoreReport["ended"], string>> = {
  end: "ended by itself",
  budget: "was ended: it executed too much",
  waited: "was ended: it waited",
  "switched off": "was ended: it switched the machine off",
  output: "was ended: it printed too much",
};

/** Somewhere to write. */
export interface OutputPlace {
  write(bytes: Uint8Array | string): void;
  [Symbol.dispose](): void;
}

/** A file, or what is written without one. Throws HostError. */
export function openOutput(
  path: string | undefined,
  otherwise: (bytes: Uint8Array | string) => void,
): OutputPlace {
  if (path === undefined) return { write: otherwise, [Symbol.dispose]: () => {} };
  const file = attempt(path, () => Deno.createSync(path));
  return {
    write: (data) => {
      const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
      attempt(path, () => {
        for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      });
    },
    [Symbol.dispose]: () => file.close(),
  };
}

/** Where replay-only code is reported. */
export function replayOnlyPlace(path: string | undefined): OutputPlace {
  return openOutput(path, writeError);
}

/** Where plugins print. */
export function pluginPlace(path: string | undefined): OutputPlace {
  return openOutput(path, writeOut);
}

/** The report of a replay-only code: a line about it, then what it printed. */
export function* formatCore(report: CoreReport): Generator<Uint8Array | string> {
  const { pc, hart, icount, executed, output, ended } = report;
  yield `chronovisor: replay-only code at icount ${icount}, hart ${hart}, ` +
    `pc 0x${pc.toString(16)}: executed ${executed} instructions, ${ENDED[ended]}\n`;
  yield output;
  if (output.length > 0 && output.at(-1) !== 0x0a) yield "\n";
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot write "${path}": ${reason}`, { cause });
  }
}
