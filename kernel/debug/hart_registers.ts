/**
 * Registers of any hart, as a debugger reads and writes them (target.ts).
 *
 * Invariants: reading changes nothing that a digest sees, not even a reservation of LR/SC; CSRs are read
 * with the rights of machine mode; what a hart would refuse to be written is refused here by name.
 */
import { HostError } from "../base/errors.ts";
import type { Core } from "../cpu/core.ts";
import { csrName, csrNumber } from "../cpu/csr_table.ts";
import type { Machine } from "../machine/machine.ts";
import { PRIVILEGE } from "../memory/hart_layout.ts";
import type { DebugRegister } from "./target.ts";

const FFLAGS = csrNumber("fflags");
const FRM = csrNumber("frm");
const FCSR = csrNumber("fcsr");
const TIME = csrNumber("time");
const MINSTRET = csrNumber("minstret");
const FRM_SHIFT = 5;
const FFLAGS_MASK = 31;
const FRM_MASK = 7;
/** CSRs that reading changes. */
const TAKEN_BY_READING = /^seed$/;
/** CSR numbers with these top bits are read-only. */
const READ_ONLY = 3;

/** A register's value; undefined when there is no such register. */
export function readRegister(
  machine: Machine,
  hart: number,
  register: DebugRegister,
): bigint | undefined {
  const { core } = machine;
  switch (register.file) {
    case "pc":
      return core.register(hart, "pc");
    case "privilege":
      return BigInt(core.word(hart, "privilege"));
    case "x":
    case "f":
      return isFileIndex(register.number)
        ? core.register(hart, register.file, register.number)
        : undefined;
    case "csr":
      return readCsr(machine, hart, register.number);
  }
}

/** Writes a register. Throws HostError when there is none, or the value or register cannot be written. */
export function writeRegister(
  machine: Machine,
  hart: number,
  register: DebugRegister,
  value: bigint,
): void {
  const { core } = machine;
  const bits = BigInt.asUintN(64, value);
  switch (register.file) {
    case "pc":
      if ((bits & 1n) !== 0n) throw new HostError(`pc is even, not 0x${bits.toString(16)}`);
      return core.setRegister(hart, "pc", bits);
    case "privilege":
      if (!Object.values(PRIVILEGE).some((mode) => BigInt(mode) === bits)) {
        throw new HostError(`a privilege is 0, 1 or 3, not ${bits}`);
      }
      return core.setWord(hart, "privilege", Number(bits));
    case "x":
    case "f":
      if (!isFileIndex(register.number)) {
        throw new HostError(`there is no register ${register.file}${register.number}`);
      }
      if (register.file === "f" || register.number > 0) {
        core.setRegister(hart, register.file, bits, register.number);
      }
      return;
    case "csr":
      return writeCsr(machine, hart, register.number, bits);
  }
}

function isFileIndex(number: number): boolean {
  return Number.isInteger(number) && number >= 0 && number < 32;
}

function readCsr(machine: Machine, hart: number, number: number): bigint | undefined {
  const { core } = machine;
  const name = csrName(number);
  if (name === undefined || TAKEN_BY_READING.test(name)) return undefined;
  // Those of the float unit are there while it is off; reading time must not count as the guest's reading.
  switch (number) {
    case FFLAGS:
      return BigInt(core.word(hart, "fflags"));
    case FRM:
      return BigInt(core.word(hart, "frm"));
    case FCSR:
      return BigInt(core.word(hart, "frm") << FRM_SHIFT | core.word(hart, "fflags"));
    case TIME:
      return BigInt(machine.ticks());
    default:
      return withHart(core, hart, () => machine.csr(number));
  }
}

function writeCsr(machine: Machine, hart: number, number: number, value: bigint): void {
  const { core } = machine;
  const name = csrName(number);
  if (name === undefined) throw new HostError(`there is no CSR 0x${number.toString(16)}`);
  if (number >> 10 === READ_ONLY) throw new HostError(`${name} can only be read`);
  const word = Number(value & 0xffn);
  if (number === FFLAGS || number === FCSR) core.setWord(hart, "fflags", word & FFLAGS_MASK);
  if (number === FCSR) core.setWord(hart, "frm", word >> FRM_SHIFT);
  if (number === FRM) core.setWord(hart, "frm", word & FRM_MASK);
  if (number === FFLAGS || number === FRM || number === FCSR) return;
  // A write by an instruction counts before its value takes effect.
  const given = number === MINSTRET ? BigInt.asUintN(64, value + 1n) : value;
  withHart(core, hart, () => machine.setCsr(number, given));
}

/** Does something with a hart as the current one; reservations stay. */
function withHart<T>(core: Core, hart: number, body: () => T): T {
  const { current } = core;
  if (hart === current) return body();
  const reservations = [hart, current].map((each) =>
    [each, core.word(each, "reservation")] as const
  );
  core.switchTo(hart);
  try {
    return body();
  } finally {
    core.switchTo(current);
    for (const [each, reservation] of reservations) core.setWord(each, "reservation", reservation);
  }
}
