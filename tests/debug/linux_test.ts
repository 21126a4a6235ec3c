/**
 * Debian's kernel under observation: breakpoints that are gone on from, observers of execution, traps and
 * memory, on one hart and several. It must be the machine that boots alone.
 */
import { assert, assertEquals } from "@std/assert";
import { MachineDebugger } from "../../kernel/debug/machine_debugger.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import { debianMachine, debianTest } from "../_support/debian.ts";

const START = 80_000_000;
const END = 200_000_000;

/** Runs to an icount; idle time is skipped, stops of a debugger are counted. */
function runTo(hold: MachineDebugger, icount: number): number {
  const { machine } = hold;
  let stops = 0;
  while (machine.icount < icount) {
    const stop = hold.run(Math.min(1_000_000, icount - machine.icount));
    machine.takeOutputs();
    if (stop.kind === "idle") machine.skipTo(stop.wakeTicks);
    else if (stop.kind === "breakpoint" || stop.kind === "watchpoint") stops++;
    else assert(stop.kind === "budget" || stop.kind === "output", stop.kind);
  }
  return stops;
}

/** Addresses of kernel code that is executed. */
function sampled(machine: Machine, hold: MachineDebugger, count: number): bigint[] {
  const found = new Set<bigint>();
  while (found.size < count) {
    runTo(hold, machine.icount + 99_991);
    const pc = machine.core.register(machine.hart, "pc");
    if (pc >> 63n === 1n) found.add(pc);
  }
  return [...found];
}

/** Traps taken so far. */
function trapsOf({ core }: Machine): number {
  let count = 0;
  for (let cause = 0; cause < 64; cause++) {
    count += Number(core.control("statExceptions", cause) + core.control("statInterrupts", cause));
  }
  return count;
}

for (const harts of [1, 4]) {
  debianTest(`Debian on ${harts} harts boots the same under a debugger's eyes`, async () => {
    const config = { harts, seed: 1n };
    const plain = await debianMachine(config);
    const watched = await debianMachine(config);
    const alone = new MachineDebugger(plain);
    runTo(alone, START);
    const addresses = sampled(plain, alone, 12);
    runTo(alone, END);
    const hold = new MachineDebugger(watched);
    runTo(hold, START);
    let executions = 0;
    let traps = 0;
    let accesses = 0;
    for (const address of addresses.slice(0, 6)) {
      hold.onExecute({ address, bytes: 2 }, () => executions++);
    }
    hold.onTrap({ exceptions: true, interrupts: true }, () => traps++);
    for (const address of addresses.slice(6, 9)) {
      hold.addPoint({ kind: "execute", address, size: 2 });
    }
    const before = trapsOf(watched);
    const [stack] = hold.registers(watched.hart, [{ file: "x", number: 2 }]);
    const range = { kind: "access", address: stack! - 64n, size: 64 } as const;
    const detach = hold.onWatch(range, () => accesses++);
    let stops = runTo(hold, (START + END) / 2);
    detach();
    const address = addresses[9]! & ~4095n;
    const whole = hold.onExecute({ address, bytes: 4096 }, () => executions++);
    stops += runTo(hold, START + (END - START) * 0.6);
    whole();
    stops += runTo(hold, END);
    assertEquals([watched.icount, watched.digest()], [plain.icount, plain.digest()]);
    assertEquals(traps, trapsOf(watched) - before);
    const seen = { executions, stops, traps, accesses };
    for (const [what, count] of Object.entries(seen)) assert(count > 0, `no ${what} were seen`);
  });
}
