/**
 * How harts start: in supervisor mode under the built-in firmware, or all in machine mode (SBI 2.0,
 * "Hart State Management"; Linux Documentation/arch/riscv/boot).
 */
import { MENVCFG_ADUE, MENVCFG_STCE, MSTATUS, PRIVILEGE } from "../memory/hart_layout.ts";
import { PMP_ADDRESS_MASK } from "../mmu/pmp.ts";
import type { Machine } from "./machine.ts";
import { HART_STATE } from "./sbi.ts";

/** Exceptions that the built-in firmware leaves to the supervisor: all but its own calls. */
const DELEGATED_EXCEPTIONS = 0xb1ffn;
const DELEGATED_INTERRUPTS = 0x222n;
/** cbo instructions of every kind, time compare, and A/D bits by the walker. */
const FIRMWARE_ENVIRONMENT = MENVCFG_STCE | MENVCFG_ADUE | 0xf0n;

/** Puts a hart that was reset into supervisor mode at an address. */
export function enterSupervisor(machine: Machine, hart: number, pc: bigint, opaque: bigint): void {
  const { core } = machine;
  core.setWord(hart, "privilege", PRIVILEGE.supervisor);
  core.setRegister(hart, "pc", pc);
  core.setRegister(hart, "x", BigInt(hart), 10);
  core.setRegister(hart, "x", opaque, 11);
  core.setRegister(hart, "mstatus", core.register(hart, "mstatus") & ~MSTATUS.SIE);
  core.setRegister(hart, "satp", 0n);
  core.setRegister(hart, "medeleg", DELEGATED_EXCEPTIONS);
  core.setRegister(hart, "mideleg", DELEGATED_INTERRUPTS);
  core.setRegister(hart, "mcounteren", 0xffff_ffffn);
  core.setRegister(hart, "scounteren", 0x7n);
  core.setRegister(hart, "menvcfg", FIRMWARE_ENVIRONMENT);
  core.setRegister(hart, "pmpcfg", 0x1fn);
  core.setRegister(hart, "pmpaddr", PMP_ADDRESS_MASK);
}

/** Sends supervisors' calls to the built-in firmware, if that is what the machine has. */
export function useFirmware({ core, plan }: Machine): void {
  core.setControlWord("builtinFirmware", plan.privilege === "supervisor" ? 1 : 0);
}

/** Starts the harts of a machine that was just loaded. */
export function startHarts(machine: Machine): void {
  const { core, plan, state, config } = machine;
  const supervisor = plan.privilege === "supervisor";
  useFirmware(machine);
  for (let hart = 0; hart < config.harts; hart++) {
    if (supervisor) {
      state.hartState[hart] = hart === 0 ? HART_STATE.started : HART_STATE.stopped;
      if (hart === 0) enterSupervisor(machine, 0, BigInt(plan.entry), BigInt(plan.deviceTree));
      continue;
    }
    core.setRegister(hart, "pc", BigInt(plan.entry));
    core.setRegister(hart, "x", BigInt(hart), 10);
    core.setRegister(hart, "x", BigInt(plan.deviceTree), 11);
    core.setRegister(hart, "x", BigInt(plan.argument2), 12);
  }
}
