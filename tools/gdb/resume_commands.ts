/**
 * Packets that set the machine going (GDB manual, "Packets", "vCont" and "Reverse"). All harts stop
 * together, and all go on together: what differs between actions is the hart that is to be stepped.
 */
import type { DebugResume, DebugTarget } from "../../kernel/debug/target.ts";
import { type Connection, MALFORMED, type Reply } from "./connection.ts";
import { parseAddress, parseCount } from "./numbers.ts";
import { stopReply } from "./stop_reply.ts";

/** The hart of a thread id, "all" for -1 and "any" for 0; undefined for one that there is not. */
export function parseThread(text: string, harts: number): number | "all" | "any" | undefined {
  if (text === "-1") return "all";
  const id = parseCount(text);
  if (id === 0) return "any";
  return id !== undefined && id <= harts ? id - 1 : undefined;
}

/** One action of vCont and the harts that it is for. */
interface Action {
  readonly verb: "continue" | "step" | "stop";
  readonly hart: number | "all";
}

const VERBS: Readonly<Record<string, Action["verb"]>> = {
  c: "continue",
  C: "continue",
  s: "step",
  S: "step",
  t: "stop",
};

function parseAction(text: string, connection: Connection): Action | undefined {
  const match = /^(?:([cst])|([CS])[0-9a-fA-F]{2})(?::(-1|[0-9a-fA-F]+))?$/.exec(text);
  const verb = VERBS[match?.[1] ?? match?.[2] ?? ""];
  if (match === null || verb === undefined) return undefined;
  const hart = parseThread(match[3] ?? "-1", connection.target.harts);
  if (hart === undefined) return undefined;
  return { verb, hart: hart === "any" ? connection.hart : hart };
}

/**
 * What the actions of vCont ask for: to go on somehow, to stand still, or undefined when they make no
 * sense. The leftmost action that names a hart counts for it.
 */
export function parseVCont(text: string, connection: Connection): DebugResume | "stop" | undefined {
  const actions: Action[] = [];
  for (const part of text.split(";")) {
    const action = parseAction(part, connection);
    if (action === undefined) return undefined;
    actions.push(action);
  }
  const verbs = Array.from(
    { length: connection.target.harts },
    (_, hart) => actions.find((action) => action.hart === "all" || action.hart === hart)?.verb,
  );
  const chosen = verbs[connection.hart] === "step" ? connection.hart : verbs.indexOf("step");
  if (chosen >= 0) return { direction: "forward", stepHart: chosen };
  return verbs.includes("continue") ? { direction: "forward" } : "stop";
}

/**
 * Whether gdb steps over an access that made a watchpoint stop. It takes the points away and steps,
 * because watchpoints of RISC-V hardware stop before the access; here the access is done already
 * (kernel/debug/target.ts), so that this step has nothing left to do.
 */
function accessIsDone({ stop, points }: Connection, { stepHart }: DebugResume): boolean {
  return stop?.why === "watchpoint" && stepHart === stop.hart && !points.has(stop.point);
}

async function go(connection: Connection, how: DebugResume): Promise<Reply> {
  const { stop } = connection;
  if (stop?.why === "watchpoint" && accessIsDone(connection, how)) {
    connection.stop = { why: "step", hart: stop.hart, icount: stop.icount };
  } else await connection.resume(how);
  return await stopReply(connection);
}

/** "vCont;…". */
export async function vCont(connection: Connection, text: string): Promise<Reply> {
  const how = parseVCont(text, connection);
  if (how === undefined) return MALFORMED;
  return how === "stop" ? await stopReply(connection) : await go(connection, how);
}

async function moveTo(target: DebugTarget, hart: number, address: bigint): Promise<void> {
  await target.setRegister(hart, { file: "pc" }, address);
}

/** "c", "s", and with a signal that no machine has "C" and "S"; each may give an address to go on at. */
export async function goOn(connection: Connection, text: string): Promise<Reply> {
  const match = /^(?:([cs])(\w+)?|([CS])[0-9a-fA-F]{2}(?:;(\w+))?)$/.exec(text);
  if (match === null) return MALFORMED;
  const step = (match[1] ?? match[3])!.toLowerCase() === "s";
  const where = match[2] ?? match[4];
  const address = parseAddress(where);
  if (where !== undefined && address === undefined) return MALFORMED;
  const hart = connection.stepHart ?? connection.hart;
  if (address !== undefined) await moveTo(connection.target, hart, address);
  return await go(connection, { direction: "forward", ...(step && { stepHart: hart }) });
}

/** "bs" and "bc". */
export async function goBack(connection: Connection, step: boolean): Promise<Reply> {
  const stepHart = connection.stepHart ?? connection.hart;
  return await go(connection, { direction: "backward", ...(step && { stepHart }) });
}
