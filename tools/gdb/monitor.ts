/**
 * What `monitor` does in gdb: TABLE of commands for what the protocol has no packet for.
 */
import { formatSize } from "../../kernel/base/units.ts";
import type { DebugPosition } from "../../kernel/debug/target.ts";
import { nearMatch } from "../cli/near_match.ts";
import { type Connection, reasonOf } from "./connection.ts";

interface MonitorCommand {
  /** How it is called, for `monitor help`. */
  readonly usage: string;
  readonly help: string;
  /** What it prints; undefined when it was called wrongly. */
  readonly run: (connection: Connection, words: readonly string[]) => Promise<string | undefined>;
}

const TICKS_PER_SECOND = 10_000_000;

function place({ icount, ticks, hart }: DebugPosition): string {
  return `icount ${icount}, guest time ${
    (ticks / TICKS_PER_SECOND).toFixed(7)
  } s, turn of hart ${hart}\n`;
}

const COMMANDS: Readonly<Record<string, MonitorCommand>> = {
  help: {
    usage: "help",
    help: "list these commands",
    run: () => Promise.resolve(helpText()),
  },
  info: {
    usage: "info",
    help: "show what is known of the machine",
    run: async ({ target }, words) => words.length > 0 ? undefined : line(await target.info()),
  },
  when: {
    usage: "when",
    help: "show where the machine is: instructions executed and guest time",
    run: async ({ target }, words) => words.length > 0 ? undefined : place(await target.position()),
  },
  checkpoint: {
    usage: "checkpoint list",
    help: "list the points that a replay can go back to at once",
    run: async (connection, words) =>
      words.join(" ") === "list" ? await checkpointList(connection) : undefined,
  },
  seek: {
    usage: "seek [+|-]ICOUNT",
    help: "go to where so many instructions were executed (of a replay)",
    run: seek,
  },
};

function helpText(): string {
  const commands = Object.values(COMMANDS);
  const width = Math.max(...commands.map(({ usage }) => usage.length));
  return commands.map(({ usage, help }) => `${usage.padEnd(width)}  ${help}\n`).join("");
}

async function checkpointList({ target }: Connection): Promise<string> {
  const points = await target.checkpoints();
  if (points.length === 0) return "There are no checkpoints\n";
  return points.map(({ icount, bytes }) => `icount ${icount}, ${formatSize(bytes)}\n`).join("");
}

/** gdb keeps what it read of the machine until it moves the machine itself. */
const STALE =
  "gdb looks again after: maintenance flush register-cache, and: maintenance flush dcache\n";

async function seek(
  connection: Connection,
  words: readonly string[],
): Promise<string | undefined> {
  const match = words.length === 1 ? /^([+-]?)(\d{1,16})$/.exec(words[0]!) : null;
  if (match === null) return undefined;
  const { target } = connection;
  const [sign, amount] = [match[1], Number(match[2])];
  const { icount } = await target.position();
  const goal = sign === "+" ? icount + amount : sign === "-" ? icount - amount : amount;
  if (goal > Number.MAX_SAFE_INTEGER) return "No machine executes so many instructions\n";
  connection.stop = await target.seek(Math.max(goal, 0));
  return place(await target.position()) + STALE;
}

function line(text: string): string {
  return text.endsWith("\n") ? text : `${text}\n`;
}

/** Runs a command and gives what is printed, its refusal included. */
export async function runMonitor(connection: Connection, text: string): Promise<string> {
  const [name = "help", ...words] = text.trim().split(/\s+/).filter((word) => word !== "");
  if (!Object.hasOwn(COMMANDS, name)) {
    const near = nearMatch(name.slice(0, 40), Object.keys(COMMANDS));
    const hint = near === undefined ? "monitor help lists them" : `did you mean ${near}?`;
    return `There is no command ${name.slice(0, 40)}: ${hint}\n`;
  }
  const command = COMMANDS[name]!;
  const refused = connection.refusal === undefined ? "" : line(connection.refusal);
  connection.refusal = undefined;
  try {
    return refused + (await command.run(connection, words) ?? `Usage: monitor ${command.usage}\n`);
  } catch (error) {
    return refused + line(reasonOf(error));
  }
}
