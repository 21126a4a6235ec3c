/**
 * Why the machine stands still, as gdb reads it (GDB manual, "Stop Reply Packets").
 */
import type { DebugPointKind, DebugStop } from "../../kernel/debug/target.ts";
import type { Connection } from "./connection.ts";
import { hexValue } from "./numbers.ts";
import { GDB_REGISTER, registerOf } from "./registers.ts";

const SIGINT = "02";
const SIGTRAP = "05";
const WATCH: Readonly<Record<DebugPointKind, string>> = {
  execute: "hwbreak",
  write: "watch",
  read: "rwatch",
  access: "awatch",
};
/** Registers that gdb asks for after every stop: they come with it. */
const EXPEDITED = [2, 8, GDB_REGISTER.pc];

/** The stop reply for where the machine is; its hart is the client's chosen one from then on. */
export async function stopReply(connection: Connection): Promise<string> {
  const { stop, target } = connection;
  if (stop?.why === "exited") return `W${(stop.code & 0xff).toString(16).padStart(2, "0")}`;
  const hart = stop?.hart ?? (await target.position()).hart;
  connection.hart = hart;
  const values = await target.registers(hart, EXPEDITED.map((number) => registerOf(number)!));
  const fields = EXPEDITED.map((number, i) => `${number.toString(16)}:${hexValue(values[i])};`);
  const reason = stop === undefined ? "" : stopReason(connection, stop, values[2]);
  const signal = stop?.why === "interrupted" ? SIGINT : SIGTRAP;
  return `T${signal}${reason}thread:${(hart + 1).toString(16)};${fields.join("")}`;
}

function stopReason({ announced, points }: Connection, stop: DebugStop, pc?: bigint): string {
  switch (stop.why) {
    case "watchpoint":
      return `${WATCH[stop.point.kind]}:${stop.address.toString(16)};`;
    case "breakpoint": {
      const type = pc === undefined ? undefined : points.breakpointAt(pc);
      const word = type === "software" ? "swbreak" : "hwbreak";
      return type !== undefined && announced.has(word) ? `${word}:;` : "";
    }
    case "start":
      return "replaylog:begin;";
    case "end":
      return "replaylog:end;";
    default:
      return "";
  }
}
