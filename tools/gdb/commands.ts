/**
 * The packets of gdb's remote serial protocol by their first letter (GDB manual, "Packets"; S13). A
 * packet that is not known gets the empty reply, as the protocol wants.
 *
 * Invariant: no packet makes this throw, but for an error of ours in the target.
 */
import { type Connection, errorReply, reasonOf, type Reply, UNKNOWN } from "./connection.ts";
import { asciiText } from "./packets.ts";
import { chooseThread, query, threadAlive } from "./query_commands.ts";
import { goBack, goOn, vCont } from "./resume_commands.ts";
import {
  plant,
  readMemory,
  readRegister,
  readRegisters,
  writeMemory,
  writeRegister,
  writeRegisters,
} from "./state_commands.ts";
import { stopReply } from "./stop_reply.ts";

type Command = (connection: Connection, text: string) => Promise<Reply> | Reply;

/** "D": the machine goes on without a debugger. */
async function detach(connection: Connection): Promise<Reply> {
  connection.left = true;
  await connection.target.detach();
  return "OK";
}

/** "k" and "vKill": whoever started the machine ends it; for the debugger this is leaving. */
async function kill(connection: Connection): Promise<Reply> {
  await detach(connection);
  return undefined;
}

async function v(connection: Connection, text: string): Promise<Reply> {
  if (text === "Cont?") return "vCont;c;C;s;S;t";
  if (text.startsWith("Cont;")) return await vCont(connection, text.slice(5));
  if (text === "Kill" || text.startsWith("Kill;")) return await detach(connection);
  return UNKNOWN;
}

function back(connection: Connection, text: string): Promise<Reply> | Reply {
  return text === "s" || text === "c" ? goBack(connection, text === "s") : UNKNOWN;
}

/** Commands by the packet's first letter; the text is what follows it. */
const COMMANDS: Readonly<Record<string, Command>> = {
  "?": (connection) => stopReply(connection),
  g: (connection) => readRegisters(connection),
  G: writeRegisters,
  p: readRegister,
  P: writeRegister,
  m: readMemory,
  M: (connection, text) => writeMemory(connection, text, "hexadecimal"),
  X: (connection, text) => writeMemory(connection, text, "binary"),
  Z: (connection, text) => plant(connection, text, true),
  z: (connection, text) => plant(connection, text, false),
  c: (connection, text) => goOn(connection, `c${text}`),
  C: (connection, text) => goOn(connection, `C${text}`),
  s: (connection, text) => goOn(connection, `s${text}`),
  S: (connection, text) => goOn(connection, `S${text}`),
  b: back,
  v,
  H: chooseThread,
  T: threadAlive,
  D: detach,
  k: kill,
  q: (connection, text) => query(connection, `q${text}`),
};

/** Does what a packet says and gives the reply. */
export async function runCommand(connection: Connection, content: Uint8Array): Promise<Reply> {
  const text = asciiText(content);
  const letter = text.slice(0, 1);
  if (!Object.hasOwn(COMMANDS, letter)) return UNKNOWN;
  try {
    return await COMMANDS[letter]!(connection, text.slice(1));
  } catch (error) {
    return errorReply(reasonOf(error));
  }
}
