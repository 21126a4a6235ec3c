/**
 * TABLE of the registers that gdb knows for RISC-V, by number (GDB manual, "RISC-V Features"; the
 * numbers are those of gdb itself, and of QEMU where it gives any): x0 to x31, pc, f0 to f31, the CSRs
 * by their own number, and the privilege mode behind them.
 */
import { CSR_ROWS } from "../../kernel/cpu/csr_table.ts";
import type { DebugRegister } from "../../kernel/debug/target.ts";

/** Numbers of gdb's registers, or where a group of them starts. */
export const GDB_REGISTER = { x: 0, pc: 32, f: 33, csr: 65, privilege: 65 + 4096 } as const;

/** One register as the target description names it. */
export interface GdbRegister {
  readonly number: number;
  readonly name: string;
  readonly register: DebugRegister;
}

const X_NAMES =
  ("zero ra sp gp tp t0 t1 t2 fp s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 " +
    "t3 t4 t5 t6").split(" ");
const F_NAMES =
  ("ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 " +
    "fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11").split(" ");

function numbered(names: readonly string[], file: "x" | "f", first: number): GdbRegister[] {
  return names.map((name, number) => ({
    number: first + number,
    name,
    register: { file, number },
  }));
}

/** x0 to x31 and pc. */
export const CPU_REGISTERS: readonly GdbRegister[] = [
  ...numbered(X_NAMES, "x", GDB_REGISTER.x),
  { number: GDB_REGISTER.pc, name: "pc", register: { file: "pc" } },
];

/** f0 to f31. */
export const FLOAT_REGISTERS: readonly GdbRegister[] = numbered(F_NAMES, "f", GDB_REGISTER.f);

/** The CSRs, by number. */
export const CSR_REGISTERS: readonly GdbRegister[] = CSR_ROWS
  .map(({ number, name }): GdbRegister => ({
    number: GDB_REGISTER.csr + number,
    name,
    register: { file: "csr", number },
  }))
  .sort((a, b) => a.number - b.number);

/** The privilege mode. */
export const PRIVILEGE_REGISTER: GdbRegister = {
  number: GDB_REGISTER.privilege,
  name: "priv",
  register: { file: "privilege" },
};

const BY_NUMBER: ReadonlyMap<number, DebugRegister> = new Map(
  [...CPU_REGISTERS, ...FLOAT_REGISTERS, ...CSR_REGISTERS, PRIVILEGE_REGISTER]
    .map(({ number, register }) => [number, register]),
);

/** The register that gdb calls by a number, or undefined. */
export function registerOf(number: number): DebugRegister | undefined {
  return BY_NUMBER.get(number);
}

/** Registers in the packet "g", in its order: x0 to x31, pc and f0 to f31. */
export const GENERAL_REGISTERS: readonly DebugRegister[] = [...CPU_REGISTERS, ...FLOAT_REGISTERS]
  .map(({ register }) => register);
