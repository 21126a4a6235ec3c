/**
 * A plugin that samples where a guest executes and prints collapsed stacks at the end, "outer;inner count":
 * flamegraph.pl and speedscope read them (docs/replay.md, "Plugins"). The kernel's frames are found by frame
 * pointers (s0) and named by symbols; what runs in user mode is named by its process, on Linux.
 *
 * Invariant: samples are taken each so many instructions, so that counts are shares of the instructions
 * executed, and idle time counts for nothing.
 */
import { ConfigOptionError, wholeOption } from "./options.ts";
import { definePlugin, type ReplayView } from "../../mod.ts";
import { LinuxTasks } from "./linux_tasks.ts";

const DEFAULT_EVERY = 100_000;
const FRAMES_MAXIMUM = 64;
const [RA, S0] = [1, 8];
const USER = 0;
/** Most bytes of one frame. */
const FRAME_BYTES_MAXIMUM = 65_536n;

export default definePlugin({
  name: "function_profile",
  options: {
    every: `instructions between two samples; ${DEFAULT_EVERY} if not given`,
    from: "icount of the first sample",
    to: "icount of the last sample",
  },
  start(replay, options) {
    const every = wholeOption(options, "every") ?? DEFAULT_EVERY;
    if (every < 1) throw new ConfigOptionError("every", "1 or more instructions");
    const from = wholeOption(options, "from") ?? 0;
    const to = wholeOption(options, "to") ?? Infinity;
    const tasks = new LinuxTasks(replay);
    const counts = new Map<string, number>();
    replay.onReset(() => tasks.reset());
    replay.every(every, () => {
      if (replay.icount < from || replay.icount > to) return;
      const process = tasks.current()?.name;
      const stack = [...process === undefined ? [] : [process], ...framesOf(replay)]
        .map((frame) => frame.replaceAll(";", ":")).join(";");
      counts.set(stack, (counts.get(stack) ?? 0) + 1);
    });
    replay.onEnd(() => {
      for (const [stack, count] of [...counts].sort()) replay.print(`${stack} ${count}\n`);
    });
  },
});

/** Names of the functions on the stack, the outermost first. */
function framesOf(view: ReplayView): string[] {
  if (view.privilege() === USER) return ["[user]"];
  const pc = view.pc();
  const names = [nameOf(view, pc)];
  let frame = view.x(S0);
  // A leaf keeps its return address in ra, and only its caller's frame pointer on the stack.
  let caller = view.integer(frame - 8n, 8);
  if (caller !== undefined && !isCode(view, caller)) {
    const returns = view.x(RA);
    if (isCode(view, returns)) names.push(nameOf(view, returns - 1n));
    frame = caller;
    caller = view.integer(frame - 8n, 8);
  }
  while (names.length < FRAMES_MAXIMUM && caller !== undefined && isCode(view, caller)) {
    names.push(nameOf(view, caller - 1n));
    const next = view.integer(frame - 16n, 8);
    if (next === undefined || next <= frame || next - frame > FRAME_BYTES_MAXIMUM) break;
    frame = next;
    caller = view.integer(frame - 8n, 8);
  }
  return names.reverse();
}

function isCode({ symbols }: ReplayView, address: bigint): boolean {
  return symbols.at(address)?.symbol.kind === "function";
}

function nameOf({ symbols }: ReplayView, address: bigint): string {
  const place = symbols.at(address);
  if (place !== undefined) return place.symbol.name;
  // Without symbols, pages are what can be told apart.
  return `0x${(address & ~0xfffn).toString(16)}`;
}
