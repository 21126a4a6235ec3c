/**
 * The machine as the built-in firmware sees it: sbi.ts decides what a call means, this file does it.
 */
import { INTERRUPT } from "../memory/hart_layout.ts";
import type { Machine } from "./machine.ts";
import { HART_STATE, type SbiHost } from "./sbi.ts";
import { enterSupervisor } from "./start.ts";

/** Makes the firmware's view of a machine. */
export function firmwareHost(machine: Machine): SbiHost {
  const { core, state, memory } = machine;
  return {
    get harts() {
      return machine.config.harts;
    },
    get hart() {
      return core.current;
    },
    argument: (index) => core.register(core.current, "x", 10 + index),
    setTimer: (hart, ticks) => core.setRegister(hart, "stimecmp", ticks),
    setSoftwareInterrupt(hart, level) {
      const bit = 1n << BigInt(INTERRUPT.SSI);
      const pending = core.register(hart, "mipSoftware");
      core.setRegister(hart, "mipSoftware", level ? pending | bit : pending & ~bit);
    },
    hartState: (hart) => state.hartState[hart]!,
    startHart(hart, pc, opaque) {
      core.resetHart(hart);
      enterSupervisor(machine, hart, pc, opaque);
      state.hartState[hart] = HART_STATE.started;
    },
    stopHart(hart) {
      state.hartState[hart] = HART_STATE.stopped;
    },
    suspendHart(hart, resume) {
      if (resume) {
        enterSupervisor(machine, hart, resume.pc, resume.opaque);
      }
      core.setWord(hart, "waiting", 1);
      state.hartState[hart] = HART_STATE.suspended;
    },
    read: (gpa, into) => memory.read(gpa, into),
    write: (gpa, from) => memory.write(gpa, from),
    consoleWrite: (bytes) => machine.outputs.bytes("uart0", 0, bytes),
    consoleRead(length) {
      const uart = machine.device("uart0").behaviour;
      const bytes: number[] = [];
      const ready = 1;
      while (bytes.length < length && (uart.read(5, 1) & ready) !== 0) bytes.push(uart.read(0, 1));
      return Uint8Array.from(bytes);
    },
    power: (kind, code) => machine.power(kind, code),
  };
}
