/**
 * Guest time and entropy as instructions read them (unprivileged ISA, "Zicntr" and "Entropy Source"; S20).
 * Without an exact clock, time is a function of icount and entropy is the machine's own. With one, both
 * come from outside: through the nondeterminism buffer when recording and replaying, of which generated
 * code only leaves for `exchange` when the buffer is full or empty.
 *
 * Invariants: these functions run behind all checks of permission, so what traps makes no entry; an entry
 * is made, or taken, exactly when the instruction completes; an instruction that cannot have its result is
 * abandoned without a trace.
 */
import {
  control32,
  control64,
  count,
  hart32,
  setControl32,
  setControl64,
} from "../memory/block_access.ts";
import {
  ABANDONED,
  NONDET_ENTRY,
  NONDET_ENTRY_BYTES,
  NONDET_KIND,
  NONDET_MODE,
} from "../memory/nondet_buffer.ts";
import { setFault } from "../mmu/mmu_code.ts";
import { machineIcount } from "../mmu/walk.ts";
import { call, type Expression, type FunctionBuilder, i32, i64, type Local } from "../wasm/mod.ts";
import type { CpuCode, ExactCode } from "./cpu_code.ts";

type I64 = Expression<"i64">;
type Builder = FunctionBuilder<readonly []>;

/** seed.OPST = ES16: the low 16 bits are entropy. */
const ENTROPY_READY = 0x8000_0000;

/** What the run may still execute, the instruction under way included. */
export const budgetLeft = (): I64 => i64.add(control64("budget"), control64("budgetAside"));

/** Guest time in ticks: a function of icount between anchors (design.md, "Time"). */
export function guestTicks(): I64 {
  const since = i64.sub(machineIcount(budgetLeft()), control64("timeAnchorIcount"));
  return i64.add(
    control64("timeAnchorTicks"),
    i64.shrU(i64.mul(since, control64("timeRate")), 24),
  );
}

/** A value of `seed` that was never read before; its upper half is zero. */
export function freshSeed(f: FunctionBuilder, { imports }: CpuCode): I64 {
  const bits = f.let(i32.and(call(imports.entropy16), 0xffff));
  return i64.extendI32U(i32.or(bits, ENTROPY_READY));
}

/** Does `body` when the instruction under way was abandoned. */
export function ifAbandoned({ exact }: CpuCode, f: FunctionBuilder, body: () => void): void {
  if (exact === undefined) return;
  const end = () => {
    setControl32(f, "faultCause", 0);
    body();
  };
  f.if(i32.eq(control32("faultCause"), ABANDONED), end, undefined, "unlikely");
}

/** Generates the reads of an exact clock and of the entropy beside it. */
export function emitNondeterminism(code: CpuCode): void {
  const { exact, module, plan } = code;
  if (exact === undefined) return;
  const buffer = plan.nondetBuffer;
  module.define(exact.time, (f) => {
    f.if(inMode("replay"), () => {
      const time = takeEntry(exact, buffer, f, NONDET_KIND.time);
      setControl64(f, "timeFloor", time);
      f.return(time);
    });
    f.if(inMode("look"), () => f.return(leastTime(f)));
    f.if(inMode("record"), () => {
      const time = putEntry(exact, buffer, f, NONDET_KIND.time, () => hostTime(exact, f));
      setControl64(f, "timeFloor", time);
      f.return(time);
    });
    const time = hostTime(exact, f);
    setControl64(f, "timeFloor", time);
    f.return(time);
  });
  module.define(exact.seed, (f) => {
    f.if(inMode("replay"), () => f.return(takeEntry(exact, buffer, f, NONDET_KIND.seed)));
    f.if(inMode("record"), () => {
      f.return(putEntry(exact, buffer, f, NONDET_KIND.seed, () => freshSeed(f, code)));
    });
    f.return(freshSeed(f, code));
  });
}

const inMode = (mode: keyof typeof NONDET_MODE) =>
  i32.eq(control32("nondetMode"), NONDET_MODE[mode]);

/** Time for whom asks no host: the clock's, or what was read last when that is ahead. */
function leastTime(f: Builder): Local<"i64"> {
  return laterOf(f, guestTicks(), control64("timeFloor"));
}

function hostTime({ hostTicks }: ExactCode, f: Builder): Local<"i64"> {
  return laterOf(f, leastTime(f), i64.truncF64U(call(hostTicks)));
}

function laterOf(f: Builder, first: I64, second: I64): Local<"i64"> {
  const a = f.let(first);
  const b = f.let(second);
  return f.let(i64.select(i64.gtU(a, b), a, b));
}

/** Abandons the instruction under way: `exchange` has kept the reason. */
function abandon(f: Builder): void {
  setFault(f, ABANDONED, 0);
  f.return(i64.const(0));
}

const entryAt = (index: Local<"i32">) => i32.mul(index, NONDET_ENTRY_BYTES);

/** Makes an entry of a value, which is only asked for when there is room; gives the value. */
function putEntry(
  { exchange }: ExactCode,
  buffer: number,
  f: Builder,
  kind: number,
  fresh: () => I64,
): Local<"i64"> {
  f.if(
    i32.eq(control32("nondetNext"), control32("nondetEnd")),
    () => f.if(i32.eqz(call(exchange, kind)), () => abandon(f)),
    undefined,
    "unlikely",
  );
  const value = f.let(fresh());
  const next = f.let(control32("nondetNext"));
  const entry = f.let(entryAt(next));
  f.store64(entry, buffer + NONDET_ENTRY.value, value);
  f.store32(entry, buffer + NONDET_ENTRY.kind, kind);
  f.store32(entry, buffer + NONDET_ENTRY.hart, hart32("hartid"));
  advance(f, next);
  return value;
}

/** Takes the next entry, which must be of this kind and hart; gives its value. */
function takeEntry(
  { exchange }: ExactCode,
  buffer: number,
  f: Builder,
  kind: number,
): Local<"i64"> {
  const entry = f.let(entryAt(f.let(control32("nondetNext"))));
  const fits = i32.and(
    i32.ne(control32("nondetNext"), control32("nondetEnd")),
    i32.and(
      i32.eq(i32.load(entry, buffer + NONDET_ENTRY.kind), kind),
      i32.eq(i32.load(entry, buffer + NONDET_ENTRY.hart), hart32("hartid")),
    ),
  );
  f.if(
    i32.eqz(fits),
    () => {
      f.if(i32.eqz(call(exchange, kind)), () => abandon(f));
      f.set(entry, entryAt(f.let(control32("nondetNext"))));
    },
    undefined,
    "unlikely",
  );
  const value = f.let(i64.load(entry, buffer + NONDET_ENTRY.value));
  advance(f, f.let(control32("nondetNext")));
  return value;
}

function advance(f: Builder, next: Local<"i32">): void {
  setControl32(f, "nondetNext", i32.add(next, 1));
  count(f, "statNondetEntries");
}
