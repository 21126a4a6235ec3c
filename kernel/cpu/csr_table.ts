/**
 * TABLE of the control and status registers: number, name, how a read is made and what a write does
 * (privileged ISA, "CSR Listing"; Zicsr, Zicntr, Sstc, Svadu, Zkr). Privilege and read-only come from the
 * number itself (bits 9:8 and 11:10), so no row repeats them.
 *
 * Invariant: WARL fields are legalised on write, so that what is stored is always a legal value.
 */
import {
  hart32,
  hart64,
  hartAddress,
  type HartField64,
  setHart32,
  setHart64,
} from "../memory/block_access.ts";
import {
  INTERRUPT,
  MENVCFG_ADUE,
  MENVCFG_STCE,
  MSTATUS,
  PRIVILEGE,
} from "../memory/hart_layout.ts";
import { ATTENTION, raiseAttention } from "../mmu/mmu_code.ts";
import { PMP_ADDRESS_MASK } from "../mmu/pmp.ts";
import type { CpuCode } from "./cpu_code.ts";
import { budgetLeft, freshSeed, guestTicks } from "./nondeterminism.ts";
import {
  call,
  type Expression,
  type FunctionBuilder,
  i32,
  i64,
  type Label,
  type Local,
} from "../wasm/mod.ts";

type I64 = Expression<"i64">;

/** One register. */
export interface CsrRow {
  readonly number: number;
  readonly name: string;
  /**
   * Branches to `illegal` when an access is refused beyond what the number says; `writes` is not 0 when the
   * instruction is of a kind that writes.
   */
  readonly check?: (f: FunctionBuilder, illegal: Label, writes: Local<"i32">) => void;
  readonly read: (f: FunctionBuilder, code: CpuCode) => I64;
  /** Absent: writes are ignored (WARL with one legal value). */
  readonly write?: (f: FunctionBuilder, value: Local<"i64">, code: CpuCode) => void;
}

const bit = (n: number) => 1n << BigInt(n);

/** mstatus fields that software may write. */
const MSTATUS_WRITABLE = MSTATUS.SIE | MSTATUS.MIE | MSTATUS.SPIE | MSTATUS.MPIE | MSTATUS.SPP |
  MSTATUS.MPP | MSTATUS.FS | MSTATUS.MPRV | MSTATUS.SUM | MSTATUS.MXR | MSTATUS.TVM | MSTATUS.TW |
  MSTATUS.TSR;
const SSTATUS_WRITABLE = MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.FS | MSTATUS.SUM |
  MSTATUS.MXR;
const MIE_WRITABLE = bit(INTERRUPT.SSI) | bit(INTERRUPT.MSI) | bit(INTERRUPT.STI) |
  bit(INTERRUPT.MTI) | bit(INTERRUPT.SEI) | bit(INTERRUPT.MEI);
const SUPERVISOR_INTERRUPTS = bit(INTERRUPT.SSI) | bit(INTERRUPT.STI) | bit(INTERRUPT.SEI);
/** Every exception but an environment call from machine mode can be delegated. */
const DELEGABLE = 0xb3ffn;
/** menvcfg: FIOM, CBIE, CBCFE, CBZE, ADUE, STCE. */
const SENVCFG_WRITABLE = 0xf1n;
/** Low bit of CBIE, whose encoding 0b10 is reserved. */
const CBIE_LOW = 1n << 4n;
const MENVCFG_WRITABLE = SENVCFG_WRITABLE | MENVCFG_ADUE | MENVCFG_STCE;
/** mseccfg: USEED and SSEED open the CSR `seed` to user and supervisor mode. */
const MSECCFG = { USEED: bit(8), SSEED: bit(9) } as const;
/** The number of the CSR `time`. */
export const CSR_TIME = 0xc01;
/** The number of the CSR `seed`. */
export const CSR_SEED = 0x015;
/** RV64 with A, C, D, F, I, M, S, U. */
export const MISA = 0x8000_0000_0014_112dn;

const has = (value: I64, mask: bigint) => i64.ne(i64.and(value, mask), 0);
const recheck = (f: FunctionBuilder) => raiseAttention(f, ATTENTION.refetch);

/** Makes two-bit fields legal in which 0b10 is reserved: the high bit stays only with the low one. */
function withoutReserved(f: FunctionBuilder, value: I64, lowBits: bigint): I64 {
  const given = f.let(value);
  const lowClear = i64.and(i64.xor(given, -1), lowBits);
  return i64.and(given, i64.xor(i64.shl(lowClear, 1), -1));
}

/** A register that keeps the masked value written. */
function plain(number: number, name: string, field: HartField64, mask = -1n, index = 0): CsrRow {
  return {
    number,
    name,
    read: () => hart64(field, index),
    write: (f, value) => setHart64(f, field, i64.and(value, mask), index),
  };
}

/** A register that reads as a constant and ignores writes. */
function constant(number: number, name: string, value: bigint): CsrRow {
  return { number, name, read: () => i64.const(value) };
}

/** mstatus as software sees it: SD summarises FS; the register widths are constants. */
function status(mask: bigint): (f: FunctionBuilder) => I64 {
  return (f) => {
    const value = f.let(hart64("mstatus"));
    const dirty = i64.select(i64.eq(i64.and(value, MSTATUS.FS), MSTATUS.FS), MSTATUS.SD, 0);
    return i64.or(i64.and(value, mask), dirty);
  };
}

function writeStatus(mask: bigint): (f: FunctionBuilder, value: Local<"i64">) => void {
  return (f, value) => {
    const old = f.let(hart64("mstatus"));
    const changed = f.let(i64.or(i64.and(old, ~mask), i64.and(value, mask)));
    // MPP = 2 names no privilege mode: the field keeps its value.
    f.if(i64.eq(i64.and(changed, MSTATUS.MPP), 2n << 11n), () => {
      f.set(changed, i64.or(i64.and(changed, ~MSTATUS.MPP), i64.and(old, MSTATUS.MPP)));
    });
    setHart64(f, "mstatus", changed);
    recheck(f);
  };
}

/** Trap vectors: only direct (0) and vectored (1) modes exist; other writes are ignored. */
function vector(number: number, name: string, field: "mtvec" | "stvec"): CsrRow {
  return {
    number,
    name,
    read: () => hart64(field),
    write: (f, value) => f.if(i64.ltU(i64.and(value, 3), 2), () => setHart64(f, field, value)),
  };
}

const floatOn = (f: FunctionBuilder, illegal: Label) =>
  f.brIf(illegal, i64.eqz(i64.and(hart64("mstatus"), MSTATUS.FS)));

const dirtyFloat = (f: FunctionBuilder) =>
  setHart64(f, "mstatus", i64.or(hart64("mstatus"), MSTATUS.FS));

const FLOAT_ROWS: CsrRow[] = [
  {
    number: 0x001,
    name: "fflags",
    check: floatOn,
    read: () => i64.extendI32U(hart32("fflags")),
    write: (f, value) => {
      setHart32(f, "fflags", i32.and(i32.wrap(value), 31));
      dirtyFloat(f);
    },
  },
  {
    number: 0x002,
    name: "frm",
    check: floatOn,
    read: () => i64.extendI32U(hart32("frm")),
    write: (f, value) => {
      setHart32(f, "frm", i32.and(i32.wrap(value), 7));
      dirtyFloat(f);
    },
  },
  {
    number: 0x003,
    name: "fcsr",
    check: floatOn,
    read: () => i64.extendI32U(i32.or(hart32("fflags"), i32.shl(hart32("frm"), 5))),
    write: (f, value) => {
      setHart32(f, "fflags", i32.and(i32.wrap(value), 31));
      setHart32(f, "frm", i32.and(i32.shrU(i32.wrap(value), 5), 7));
      dirtyFloat(f);
    },
  },
];

/** Counters below machine mode are opened by mcounteren, and for U by scounteren as well. */
function counterEnabled(index: number): (f: FunctionBuilder, illegal: Label) => void {
  return (f, illegal) => {
    const closed = (field: HartField64) => i32.eqz(has(hart64(field), bit(index)));
    f.brIf(
      illegal,
      i32.and(i32.ltU(hart32("privilege"), PRIVILEGE.machine), closed("mcounteren")),
    );
    f.brIf(illegal, i32.and(i32.eqz(hart32("privilege")), closed("scounteren")));
  };
}

/** Instructions executed by this hart before the current one (`executed` runs ahead by the budget). */
const executedNow = () => i64.sub(hart64("executed"), budgetLeft());
const cycles = () => i64.add(executedNow(), hart64("cycleOffset"));
const retired = () =>
  i64.add(i64.sub(executedNow(), hart64("notRetired")), hart64("instretOffset"));

const COUNTER_ROWS: CsrRow[] = [
  { number: 0xc00, name: "cycle", check: counterEnabled(0), read: cycles },
  {
    number: CSR_TIME,
    name: "time",
    check: counterEnabled(1),
    read: (_, { exact }) => exact === undefined ? guestTicks() : call(exact.time),
  },
  { number: 0xc02, name: "instret", check: counterEnabled(2), read: retired },
  {
    number: 0xb00,
    name: "mcycle",
    read: cycles,
    write: (f, value) => setHart64(f, "cycleOffset", i64.sub(value, executedNow())),
  },
  {
    number: 0xb02,
    name: "minstret",
    read: retired,
    // The write counts as retired before its value takes effect, hence the one.
    write: (f, value) =>
      setHart64(
        f,
        "instretOffset",
        i64.sub(value, i64.add(i64.sub(executedNow(), hart64("notRetired")), 1)),
      ),
  },
  ...Array.from({ length: 29 }, (_, i): CsrRow[] => [
    {
      number: 0xc03 + i,
      name: `hpmcounter${3 + i}`,
      check: counterEnabled(3 + i),
      read: () => i64.const(0),
    },
    constant(0xb03 + i, `mhpmcounter${3 + i}`, 0n),
    constant(0x323 + i, `mhpmevent${3 + i}`, 0n),
  ]).flat(),
];

const pendingAll = () => i64.or(hart64("mipLines"), hart64("mipSoftware"));

const INTERRUPT_ROWS: CsrRow[] = [
  {
    number: 0x304,
    name: "mie",
    read: () => hart64("mie"),
    write: (f, value) => {
      setHart64(f, "mie", i64.and(value, MIE_WRITABLE));
      recheck(f);
    },
  },
  {
    number: 0x104,
    name: "sie",
    read: () => i64.and(hart64("mie"), hart64("mideleg")),
    write: (f, value) => {
      const delegated = f.let(hart64("mideleg"));
      const kept = i64.and(hart64("mie"), i64.xor(delegated, -1));
      const added = i64.and(i64.and(value, delegated), MIE_WRITABLE);
      setHart64(f, "mie", i64.or(kept, added));
      recheck(f);
    },
  },
  {
    number: 0x344,
    name: "mip",
    read: pendingAll,
    write: (f, value) => {
      // With Sstc on, STIP follows stimecmp and cannot be written.
      const writable = i64.select(
        has(hart64("menvcfg"), MENVCFG_STCE),
        SUPERVISOR_INTERRUPTS & ~bit(INTERRUPT.STI),
        SUPERVISOR_INTERRUPTS,
      );
      setHart64(f, "mipSoftware", i64.and(value, writable));
      recheck(f);
    },
  },
  {
    number: 0x144,
    name: "sip",
    read: () => i64.and(pendingAll(), hart64("mideleg")),
    write: (f, value) => {
      const writable = f.let(i64.and(hart64("mideleg"), bit(INTERRUPT.SSI)));
      const kept = i64.and(hart64("mipSoftware"), i64.xor(writable, -1));
      setHart64(f, "mipSoftware", i64.or(kept, i64.and(value, writable)));
      recheck(f);
    },
  },
  {
    number: 0x303,
    name: "mideleg",
    read: () => hart64("mideleg"),
    write: (f, value) => {
      setHart64(f, "mideleg", i64.and(value, SUPERVISOR_INTERRUPTS));
      recheck(f);
    },
  },
  {
    number: 0x14d,
    name: "stimecmp",
    check: (f, illegal) => {
      const closed = i32.or(
        i32.eqz(has(hart64("menvcfg"), MENVCFG_STCE)),
        i32.eqz(has(hart64("mcounteren"), 2n)),
      );
      f.brIf(illegal, i32.and(i32.ne(hart32("privilege"), PRIVILEGE.machine), closed));
    },
    read: () => hart64("stimecmp"),
    write: (f, value) => {
      setHart64(f, "stimecmp", value);
      // The deadline that bounds the run changes, and only the turn-taker computes deadlines.
      raiseAttention(f, ATTENTION.stop);
    },
  },
];

function translationRow(): CsrRow {
  return {
    number: 0x180,
    name: "satp",
    check: (f, illegal) => {
      const trapped = i32.and(
        i32.eq(hart32("privilege"), PRIVILEGE.supervisor),
        has(hart64("mstatus"), MSTATUS.TVM),
      );
      f.brIf(illegal, trapped);
    },
    read: () => hart64("satp"),
    write: (f, value) => {
      const mode = f.let(i32.wrap(i64.shrU(value, 60)));
      const known = i32.or(i32.eqz(mode), i32.leU(i32.sub(mode, 8), 2));
      f.if(known, () => {
        setHart64(f, "satp", value);
        recheck(f);
      });
    },
  };
}

/** The R bits of the eight entries in a pmpcfg register. */
const PMP_READ_BITS = 0x0101_0101_0101_0101n;

/** pmpcfg: locked bytes keep their value; bits 6:5 are zero. */
function pmpConfig(index: number): CsrRow {
  return {
    number: 0x3a0 + 2 * index,
    name: `pmpcfg${2 * index}`,
    read: () => hart64("pmpcfg", index),
    write: (f, value, code) => {
      const old = f.let(hart64("pmpcfg", index));
      // Spreads each byte's lock bit over its byte.
      const lock = f.let(i64.shrU(i64.and(old, 0x8080_8080_8080_8080n), 7));
      const locked = f.let(i64.mul(lock, 0xff));
      // W without R is reserved.
      const legal = withoutReserved(f, i64.and(value, 0x9f9f_9f9f_9f9f_9f9fn), PMP_READ_BITS);
      const fresh = i64.and(legal, i64.xor(locked, -1));
      setHart64(f, "pmpcfg", i64.or(i64.and(old, locked), fresh), index);
      f.call(code.mmu.flushAll);
    },
  };
}

/** pmpaddr: ignored when its entry is locked, or when the next one is locked and in TOR mode. */
function pmpAddress(index: number): CsrRow {
  const config = (i: number) => i32.load8U(0, hartAddress("pmpcfg") + i);
  return {
    number: 0x3b0 + index,
    name: `pmpaddr${index}`,
    read: () => hart64("pmpaddr", index),
    write: (f, value, code) => {
      const locked = f.let(i32.and(config(index), 0x80));
      if (index < 15) {
        const next = i32.eq(i32.and(config(index + 1), 0x98), 0x88);
        f.set(locked, i32.or(locked, next));
      }
      f.if(i32.eqz(locked), () => {
        setHart64(f, "pmpaddr", i64.and(value, PMP_ADDRESS_MASK), index);
        f.call(code.mmu.flushAll);
      });
    },
  };
}

const TRAP_ROWS: CsrRow[] = [
  vector(0x305, "mtvec", "mtvec"),
  vector(0x105, "stvec", "stvec"),
  plain(0x340, "mscratch", "mscratch"),
  plain(0x140, "sscratch", "sscratch"),
  plain(0x341, "mepc", "mepc", ~1n),
  plain(0x141, "sepc", "sepc", ~1n),
  plain(0x342, "mcause", "mcause"),
  plain(0x142, "scause", "scause"),
  plain(0x343, "mtval", "mtval"),
  plain(0x143, "stval", "stval"),
  plain(0x302, "medeleg", "medeleg", DELEGABLE),
];

const MACHINE_ROWS: CsrRow[] = [
  constant(0xf11, "mvendorid", 0n),
  constant(0xf12, "marchid", 0n),
  constant(0xf13, "mimpid", 0n),
  { number: 0xf14, name: "mhartid", read: () => i64.extendI32U(hart32("hartid")) },
  constant(0xf15, "mconfigptr", 0n),
  {
    number: 0x300,
    name: "mstatus",
    read: status(MSTATUS_WRITABLE | MSTATUS.UXL | MSTATUS.SXL),
    write: writeStatus(MSTATUS_WRITABLE),
  },
  {
    number: 0x100,
    name: "sstatus",
    read: status(SSTATUS_WRITABLE | MSTATUS.UXL),
    write: writeStatus(SSTATUS_WRITABLE),
  },
  constant(0x301, "misa", MISA),
  plain(0x306, "mcounteren", "mcounteren", 0xffff_ffffn),
  plain(0x106, "scounteren", "scounteren", 0xffff_ffffn),
  constant(0x320, "mcountinhibit", 0n),
  {
    number: 0x30a,
    name: "menvcfg",
    read: () => hart64("menvcfg"),
    write: (f, value, code) => {
      setHart64(f, "menvcfg", withoutReserved(f, i64.and(value, MENVCFG_WRITABLE), CBIE_LOW));
      // STIP has one source at a time: stimecmp with STCE, software without it.
      const others = ~bit(INTERRUPT.STI);
      f.if(
        has(value, MENVCFG_STCE),
        () => setHart64(f, "mipSoftware", i64.and(hart64("mipSoftware"), others)),
        () => setHart64(f, "mipLines", i64.and(hart64("mipLines"), others)),
      );
      f.call(code.mmu.flushAll);
      raiseAttention(f, ATTENTION.stop);
    },
  },
  {
    number: 0x10a,
    name: "senvcfg",
    read: () => hart64("senvcfg"),
    write: (f, value) =>
      setHart64(f, "senvcfg", withoutReserved(f, i64.and(value, SENVCFG_WRITABLE), CBIE_LOW)),
  },
  translationRow(),
  pmpConfig(0),
  pmpConfig(1),
  ...Array.from({ length: 16 }, (_, i) => pmpAddress(i)),
];

/** Entropy and who may ask for it (unprivileged ISA, "Entropy Source"). */
const ENTROPY_ROWS: CsrRow[] = [
  plain(0x747, "mseccfg", "mseccfg", MSECCFG.USEED | MSECCFG.SSEED),
  {
    number: CSR_SEED,
    name: "seed",
    check: (f, illegal, writes) => {
      // "Must be accessed with a read-write instruction": what is read is gone for all others.
      f.brIf(illegal, i32.eqz(writes));
      const closed = (mode: number, open: bigint) =>
        i32.and(i32.eq(hart32("privilege"), mode), i32.eqz(has(hart64("mseccfg"), open)));
      f.brIf(illegal, closed(PRIVILEGE.supervisor, MSECCFG.SSEED));
      f.brIf(illegal, closed(PRIVILEGE.user, MSECCFG.USEED));
    },
    read: (f, code) => code.exact === undefined ? freshSeed(f, code) : call(code.exact.seed),
  },
];

/** All registers, in a fixed order. */
export const CSR_ROWS: readonly CsrRow[] = [
  ...FLOAT_ROWS,
  ...TRAP_ROWS,
  ...MACHINE_ROWS,
  ...INTERRUPT_ROWS,
  ...COUNTER_ROWS,
  ...ENTROPY_ROWS,
];

/** Number of a register by name. Throws RangeError for a name that does not exist. */
export function csrNumber(name: string): number {
  const row = CSR_ROWS.find((candidate) => candidate.name === name);
  if (row === undefined) throw new RangeError(`no CSR is named ${name}`);
  return row.number;
}

/** Name of a register by number, or undefined. */
export function csrName(number: number): string | undefined {
  return CSR_ROWS.find((candidate) => candidate.number === number)?.name;
}
