/**
 * A plugin that lists the system calls of a riscv64 Linux guest as they return: icount, seconds of guest time,
 * pid and name of the process, the call with its arguments, and its result (docs/replay.md, "Plugins").
 *
 * Invariant: each call is listed once; those that have not returned are listed when their task makes its
 * next one, or at the end.
 */
import { definePlugin, type ReplaySyscall, type ReplayView } from "../../mod.ts";
import { callOf, errorName } from "./linux_syscalls.ts";
import { LinuxTasks, type Task } from "./linux_tasks.ts";

/** A call on its way. */
interface Open {
  readonly call: ReplaySyscall;
  readonly task: Task | undefined;
  readonly seconds: string;
  readonly parts: string[];
}

const AT_FDCWD = -100n;
const ERRORS = 4096n;
const TEXT_BYTES = 256;
const LIST_ITEMS = 8;
/** Sorts of arguments that lead to text. */
const TEXT_SORTS = "psv";
/** Calls after which their task does not go on behind them. */
const NEVER_RETURN = ["exit", "exit_group", "rt_sigreturn"];

export default definePlugin({
  name: "syscall_trace",
  options: {
    name: "only processes of this name",
    pid: "only the process or thread with this pid",
    calls: "only calls with these names, with + between",
  },
  start(replay, { name, pid, calls }) {
    const tasks = new LinuxTasks(replay);
    const wanted = calls?.split("+");
    /** Calls on their way, by their task. */
    const open = new Map<string, Open>();
    const list = ({ call, task, seconds, parts }: Open, result: string) => {
      const who = task === undefined ? "?" : `${task.pid} ${task.name}`;
      const what = `${callOf(call.number).name}(${parts.join(", ")})`;
      replay.print(`${call.icount} ${seconds} ${who}: ${what} = ${result}\n`);
    };
    const close = (key: string, result: (was: Open) => string) => {
      const was = open.get(key);
      if (was === undefined) return;
      open.delete(key);
      list(was, result(was));
    };
    const keyOf = (task: Task | undefined, { id }: ReplaySyscall) => `${task?.address ?? `#${id}`}`;
    replay.onReset(() => tasks.reset());
    replay.onSyscall((call) => {
      const task = tasks.current(call.hart);
      const key = keyOf(task, call);
      close(key, ({ call: { number } }) => callOf(number).name === "execve" ? "0" : "?");
      if (name !== undefined && task?.name !== name) return;
      if (pid !== undefined && `${task?.pid}` !== pid) return;
      if (wanted !== undefined && !wanted.includes(callOf(call.number).name)) return;
      const seconds = (replay.ticks / 1e7).toFixed(6);
      const now = { call, task, seconds, parts: argumentsOf(replay, call) };
      if (NEVER_RETURN.includes(callOf(call.number).name)) list(now, "?");
      else open.set(key, now);
    }, ({ call, value, hart }) => {
      const own = keyOf(tasks.current(hart), call);
      const key = open.get(own)?.call.id === call.id ? own : keyOf(undefined, call);
      close(key, ({ parts }) => {
        // What the program had not touched yet, the kernel has.
        const now = argumentsOf(replay, { ...call, hart });
        [...callOf(call.number).sorts ?? ""].forEach((sort, i) => {
          if (TEXT_SORTS.includes(sort) && parts[i]!.startsWith("0x")) parts[i] = now[i]!;
        });
        return resultText(value);
      });
    });
    replay.onEnd(() => {
      for (const key of [...open.keys()]) close(key, () => "(not returned)");
    });
  },
});

function argumentsOf(
  view: ReplayView,
  { number, arguments: values, hart }: ReplaySyscall,
): string[] {
  const { sorts = "xxxxxx" } = callOf(number);
  return [...sorts].map((sort, i) => argumentText(view, sort, values[i]!, hart));
}

function argumentText(view: ReplayView, sort: string, value: bigint, hart: number): string {
  switch (sort) {
    case "a": {
      const directory = BigInt.asIntN(32, value);
      return directory === AT_FDCWD ? "AT_FDCWD" : `${directory}`;
    }
    case "p":
    case "s":
      return quoted(view, value, hart);
    case "v":
      return listText(view, value, hart);
    case "d":
      return `${BigInt.asIntN(32, value)}`;
    case "u":
      return `${value}`;
    case "o":
      return `0${(value & 0xffff_ffffn).toString(8)}`;
    default:
      return value === 0n ? "0" : `0x${value.toString(16)}`;
  }
}

/** A string in quotes; its address where its page is not there. */
function quoted(view: ReplayView, address: bigint, hart: number): string {
  if (address === 0n) return "NULL";
  const text = view.text(address, TEXT_BYTES, hart);
  return text === undefined ? `0x${address.toString(16)}` : JSON.stringify(text);
}

function listText(view: ReplayView, address: bigint, hart: number): string {
  const items: string[] = [];
  for (let i = 0; i < LIST_ITEMS; i++) {
    const item = view.integer(address + BigInt(8 * i), 8, hart);
    if (item === undefined) return `0x${address.toString(16)}`;
    if (item === 0n) return `[${items.join(", ")}]`;
    items.push(quoted(view, item, hart));
  }
  return `[${items.join(", ")}, ...]`;
}

function resultText(value: bigint): string {
  const signed = BigInt.asIntN(64, value);
  if (signed < 0n && signed > -ERRORS) return `-1 ${errorName(Number(-signed)) ?? -signed}`;
  return signed >= 0n && signed < 1n << 31n ? `${signed}` : `0x${value.toString(16)}`;
}
