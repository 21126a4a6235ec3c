/**
 * Where a hart's architectural registers lie in VM memory (unprivileged and privileged ISA; the state
 * half of "state is lent to behaviour"). Generated code and TypeScript address the same bytes.
 *
 * Invariant: a hart's block holds everything that instructions can observe of it; a checkpoint of a
 * hart is a copy of these bytes. Caches (TLBs, decoded pages) lie elsewhere and are never saved.
 */
import { fieldTable } from "./field_table.ts";

/** Version of the hart block; raised when a field changes. */
export const HART_LAYOUT_VERSION = 2;

/** The fields of a hart block. */
export const HART = fieldTable({
  /** Integer registers; x0 stays zero. */
  x: [8, 32],
  /** Float registers, raw bits, NaN-boxed singles. */
  f: [8, 32],
  pc: [8, 1],
  /** Current privilege: 0 user, 1 supervisor, 3 machine. */
  privilege: [4, 1],
  /** Accrued float exceptions: NX 1, UF 2, OF 4, DZ 8, NV 16. */
  fflags: [4, 1],
  /** Dynamic rounding mode, 0 to 7. */
  frm: [4, 1],
  /** 1 while the hart sleeps in WFI. */
  waiting: [4, 1],
  /**
   * Offset in RAM of the reserved word of LR/SC plus one, 0 when there is none. It ends with the next SC,
   * another hart's turn, or a device's write to the word; a trap leaves it.
   */
  reservation: [4, 1],
  hartid: [4, 1],
  mstatus: [8, 1],
  mie: [8, 1],
  /** Interrupt-pending bits that software wrote. */
  mipSoftware: [8, 1],
  /** Interrupt-pending bits that the interrupt controllers and timers drive. */
  mipLines: [8, 1],
  mtvec: [8, 1],
  mscratch: [8, 1],
  mepc: [8, 1],
  mcause: [8, 1],
  mtval: [8, 1],
  medeleg: [8, 1],
  mideleg: [8, 1],
  mcounteren: [8, 1],
  mcountinhibit: [8, 1],
  menvcfg: [8, 1],
  stvec: [8, 1],
  sscratch: [8, 1],
  sepc: [8, 1],
  scause: [8, 1],
  stval: [8, 1],
  scounteren: [8, 1],
  senvcfg: [8, 1],
  satp: [8, 1],
  stimecmp: [8, 1],
  /** pmpcfg0 and pmpcfg2: one byte an entry. */
  pmpcfg: [8, 2],
  pmpaddr: [8, 16],
  /** Instructions this hart has executed, those that trapped included. */
  executed: [8, 1],
  /** Executed instructions that raised an exception and so did not retire. */
  notRetired: [8, 1],
  /** mcycle is executed + cycleOffset. */
  cycleOffset: [8, 1],
  /** minstret is executed - notRetired + instretOffset. */
  instretOffset: [8, 1],
  /** Who may access the CSR `seed`. */
  mseccfg: [8, 1],
});

/** Bytes reserved for one hart block. */
export const HART_BLOCK_BYTES = 4096;

/** Privilege modes (privileged ISA 1.2). */
export const PRIVILEGE = { user: 0, supervisor: 1, machine: 3 } as const;

/** mstatus fields (privileged ISA, "Machine Status Registers"). */
export const MSTATUS = {
  SIE: 1n << 1n,
  MIE: 1n << 3n,
  SPIE: 1n << 5n,
  MPIE: 1n << 7n,
  SPP: 1n << 8n,
  MPP: 3n << 11n,
  FS: 3n << 13n,
  MPRV: 1n << 17n,
  SUM: 1n << 18n,
  MXR: 1n << 19n,
  TVM: 1n << 20n,
  TW: 1n << 21n,
  TSR: 1n << 22n,
  UXL: 3n << 32n,
  SXL: 3n << 34n,
  SD: 1n << 63n,
} as const;

/** menvcfg.ADUE: the walker sets A and D itself (Svadu); clear: it faults (Svade). */
export const MENVCFG_ADUE = 1n << 61n;
/** menvcfg.STCE: stimecmp makes the supervisor's timer interrupt (Sstc). */
export const MENVCFG_STCE = 1n << 63n;

/** Bit numbers of interrupts in mip and mie. */
export const INTERRUPT = { SSI: 1, MSI: 3, STI: 5, MTI: 7, SEI: 9, MEI: 11 } as const;

/** Exception codes (privileged ISA, table of mcause values). */
export const CAUSE = {
  fetchAccess: 1,
  illegalInstruction: 2,
  breakpoint: 3,
  loadMisaligned: 4,
  loadAccess: 5,
  storeMisaligned: 6,
  storeAccess: 7,
  ecallUser: 8,
  ecallSupervisor: 9,
  ecallMachine: 11,
  fetchPage: 12,
  loadPage: 13,
  storePage: 15,
} as const;
