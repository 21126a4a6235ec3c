/**
 * A bare hart with trap vectors and page tables, for tests of the privileged architecture: one
 * instruction is executed, and what trap it took is told.
 *
 * Invariant: both vectors hold only nops, so that a trap is seen before anything else happens.
 */
import { CAUSE, INTERRUPT, MSTATUS, PRIVILEGE } from "../../kernel/memory/hart_layout.ts";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { encode } from "../../tools/asm/encode.ts";
import { BareCore, type BareOptions, RAM } from "./bare_core.ts";

export { CAUSE, INTERRUPT, MSTATUS };

/** Where tests put their code. */
export const CODE = RAM + 0x1_0000;
/** Where tests put their data. */
export const DATA = RAM + 0x2_0000;
/** Machine-mode trap vector. */
export const MACHINE_VECTOR = RAM + 0x8000;
/** Supervisor-mode trap vector. */
export const SUPERVISOR_VECTOR = RAM + 0x9000;
/** An instruction that does nothing. */
export const NOP = encode("addi");

/** A privilege mode. */
export type Mode = keyof typeof PRIVILEGE;

/** A trap that was taken. */
export interface Taken {
  /** The mode that handles it. */
  readonly mode: "machine" | "supervisor";
  readonly cause: bigint;
  readonly epc: bigint;
  readonly value: bigint;
}

/** Text of a trap for comparisons: big integers print badly. */
export function told(trap: Taken | undefined): string {
  if (trap === undefined) return "no trap";
  const { mode, cause, epc, value } = trap;
  const name = cause >> 63n === 0n ? `cause ${cause}` : `interrupt ${cause & 63n}`;
  return `${mode}: ${name}, epc 0x${epc.toString(16)}, value 0x${value.toString(16)}`;
}

/** What `told` says of a trap to machine mode caused by the instruction at CODE. */
export function machineTrap(cause: number, value: number | bigint, epc: number = CODE): string {
  return told({ mode: "machine", cause: BigInt(cause), epc: BigInt(epc), value: BigInt(value) });
}

/** What `told` says of a trap to supervisor mode caused by the instruction at CODE. */
export function supervisorTrap(cause: number, value: number | bigint, epc: number = CODE): string {
  return told({ mode: "supervisor", cause: BigInt(cause), epc: BigInt(epc), value: BigInt(value) });
}

/** A bare hart whose traps can be asked for. */
export class PrivilegedCore extends BareCore {
  constructor(options: BareOptions = {}) {
    super(options);
    this.restart();
  }

  /** Puts the hart back to its start, with vectors, all memory open to all modes, and pc at CODE. */
  restart(mode: Mode = "machine"): void {
    this.reset();
    const nops = new Array<number>(256).fill(NOP);
    this.load(nops, MACHINE_VECTOR);
    this.load(nops, SUPERVISOR_VECTOR);
    this.set("mtvec", BigInt(MACHINE_VECTOR));
    this.set("stvec", BigInt(SUPERVISOR_VECTOR));
    this.set("pc", BigInt(CODE));
    this.enter(mode);
  }

  /** Puts words at an address, CODE unless told, and lets the hart go on from there. */
  program(words: readonly number[], address = CODE): void {
    this.load(words, address);
    this.set("pc", BigInt(address));
  }

  /** Executes instructions from where the hart is and gives the trap that the last one took. */
  step(instructions = 1): Taken | undefined {
    this.run(instructions);
    const pc = Number(this.get("pc"));
    if (pc === MACHINE_VECTOR && this.privilege === PRIVILEGE.machine) {
      return { mode: "machine", ...this.#registers("mcause", "mepc", "mtval") };
    }
    if (pc === SUPERVISOR_VECTOR && this.privilege === PRIVILEGE.supervisor) {
      return { mode: "supervisor", ...this.#registers("scause", "sepc", "stval") };
    }
    return undefined;
  }

  /** Executes words at CODE in a mode and gives, as text, the trap that the last one took. */
  attempt(words: readonly number[], mode: Mode): string {
    this.core.setWord(0, "privilege", PRIVILEGE[mode]);
    this.program(words);
    return told(this.step(words.length));
  }

  /** Value of a CSR as the instruction reads it in a mode; undefined when it traps. */
  readCsr(name: string, mode: Mode = "machine"): bigint | undefined {
    const word = encode("csrrs", { rd: 10, rs1: 0, imm: csrNumber(name) });
    return this.attempt([word], mode) === "no trap" ? this.x(10) : undefined;
  }

  /** Writes a CSR by instruction; false when it traps. */
  writeCsr(name: string, value: bigint, mode: Mode = "machine"): boolean {
    this.setX(11, value);
    const word = encode("csrrw", { rd: 0, rs1: 11, imm: csrNumber(name) });
    return this.attempt([word], mode) === "no trap";
  }

  /** Writes a CSR in machine mode and gives what it then reads as. */
  kept(name: string, value: bigint): bigint {
    this.writeCsr(name, value);
    return this.readCsr(name)!;
  }

  #registers(
    cause: "mcause" | "scause",
    epc: "mepc" | "sepc",
    value: "mtval" | "stval",
  ): Omit<Taken, "mode"> {
    return { cause: this.get(cause), epc: this.get(epc), value: this.get(value) };
  }
}
