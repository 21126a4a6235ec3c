/**
 * Holds machines with points to plain ones: which instructions a machine executes, by looking at it before
 * each one, and what a debugger is told of them must be the same, and so must the machines.
 *
 * Invariant: what is expected comes from registers alone, on the interpreter, without any point.
 */
import { assertEquals } from "@std/assert";
import type { Prng } from "../../kernel/base/prng.ts";
import { type DebuggerStop, MachineDebugger } from "../../kernel/debug/machine_debugger.ts";
import type { Machine } from "../../kernel/machine/machine.ts";

/** An instruction that was executed. */
export interface Executed {
  /** Instructions before it. */
  readonly icount: number;
  readonly hart: number;
  readonly pc: bigint;
}

/** Every instruction up to an icount. For machines in which no interrupt is taken. */
export function executedBy(machine: Machine, end: number): Executed[] {
  const { core, config: { harts } } = machine;
  const counts = () => Array.from({ length: harts }, (_, hart) => core.register(hart, "executed"));
  const executed: Executed[] = [];
  while (machine.icount < end) {
    const { icount } = machine;
    const pcs = Array.from({ length: harts }, (_, hart) => core.register(hart, "pc"));
    const before = counts();
    const stop = machine.run(1);
    machine.takeOutputs();
    const hart = counts().findIndex((count, i) => count !== before[i]);
    if (hart >= 0) executed.push({ icount, hart, pc: pcs[hart]! });
    if (stop.kind === "off") break;
  }
  return executed;
}

/** One line for an instruction. */
export function lineOf({ icount, hart, pc }: Executed): string {
  return `${icount} hart ${hart} at ${pc.toString(16)}`;
}

/** Goes to an icount in random slices, on from each breakpoint in one way or another; gives the stops. */
export function stopsUntil(hold: MachineDebugger, end: number, rng: Prng): Executed[] {
  const { machine } = hold;
  const stops: Executed[] = [];
  const largest = rng.pick([1, 50, 3000, 100_000]);
  let stopped: DebuggerStop | undefined;
  while (machine.icount < end) {
    const steps = stopped?.kind === "breakpoint" && rng.below(3) === 0;
    const budget = Math.min(1 + rng.below(largest), end - machine.icount);
    const from = machine.icount;
    const stop: DebuggerStop = steps && stopped?.kind === "breakpoint"
      ? hold.step(stopped.hart, budget)
      : hold.run(budget);
    machine.takeOutputs();
    if (steps) {
      assertEquals(stop, { kind: "step" }, "the hart that stopped is next");
      assertEquals(machine.icount, from + 1);
    }
    stopped = stop;
    if (stop.kind === "off") break;
    if (stop.kind !== "breakpoint") continue;
    const { hart, pc } = stop;
    assertEquals(machine.core.register(hart, "pc"), pc);
    stops.push({ icount: machine.icount, hart, pc });
  }
  return stops;
}
