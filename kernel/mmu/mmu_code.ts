/**
 * What the generated parts of address translation share: the module being built, the memory plan, the
 * imported services, and references to functions that are defined in the other files of this folder.
 */
import { control32, setControl32, setControl64 } from "../memory/block_access.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import {
  PAGE_FLAG,
  READ_TRACES,
  SERVICE_WRITE_TRACES,
  type TracedAccess,
} from "../memory/page_flags.ts";
import type { LogStore } from "../memory/store_log.ts";
import {
  type Expression,
  type FunctionBuilder,
  type FunctionReference,
  i32,
  type I32Value,
  i64,
  type I64Value,
  type Local,
  type ModuleBuilder,
} from "../wasm/mod.ts";

/** Attention bits: why a run must look up from its instructions. */
export const ATTENTION = {
  /** TypeScript wants to look: leave the run. */
  stop: 1,
  /** Cached translations were dropped: look the next instruction up again. */
  refetch: 2,
  /** With `stop`: also where only a fetch raised it, behind the instruction that was fetched. */
  behind: 4,
} as const;

/** First argument of `traceHit`. */
export const TRACE_KIND = {
  read: 0,
  write: 1,
  fetch: 2,
  walkRead: 3,
  walkWrite: 4,
  /** No access: it would be good to have an absent page. */
  hint: 5,
} as const;

/** What each of them says that is an access. */
export const TRACE_KINDS: readonly {
  readonly isWrite: boolean;
  readonly by: TracedAccess["by"];
}[] = [
  { isWrite: false, by: "instruction" },
  { isWrite: true, by: "instruction" },
  { isWrite: false, by: "fetch" },
  { isWrite: false, by: "walk" },
  { isWrite: true, by: "walk" },
];

/** Functions of address translation that other generated code calls. */
export interface MmuFunctions {
  /** (virtual address, ACCESS, bytes) → guest-physical address, or -1 with a fault set. */
  readonly translate: FunctionReference<readonly ["i64", "i32", "i32"], "i64">;
  /** (guest-physical address, bytes, permission PTE-style R1 W2 X4, privilege) → allowed. */
  readonly pmpCheck: FunctionReference<readonly ["i64", "i32", "i32", "i32"], "i32">;
  /** Makes the cache element of the current address space and view current. */
  readonly selectElement: FunctionReference<readonly [], undefined>;
  /** (low, high word of a virtual address) → guest page that a fetch would come from, or -1. */
  readonly peekFetch: FunctionReference<readonly ["i32", "i32"], "i32">;
  /** Empties every cache element and forgets the traced table pages. */
  readonly flushAll: FunctionReference<readonly [], undefined>;
  /** Drops write entries of a guest page. */
  readonly dropWrites: FunctionReference<readonly ["i32"], undefined>;
  /** Empties the write TLBs of all elements. */
  readonly dropAllWrites: FunctionReference<readonly [], undefined>;
  /** (guest page): it is about to be written, which ends its first-write traces. */
  readonly firstWrite: FunctionReference<readonly ["i32"], undefined>;
  /** (flags that stay, flags that come; of eight pages each): changes the traces of all pages. */
  readonly sweepFlags: FunctionReference<readonly ["i64", "i64"], undefined>;
  /** Drops read and fetch entries of a guest page. */
  readonly dropReads: FunctionReference<readonly ["i32"], undefined>;
  /** Empties the jump cache of every element. */
  readonly dropJumps: FunctionReference<readonly [], undefined>;
  /** (virtual page, elements, guest-physical address that it led to): drops the entries of a page. */
  readonly dropPage: FunctionReference<readonly ["i64", "i64", "i64"], undefined>;
  /** (first address, log2 of bytes, elements): drops the entries of a range. */
  readonly dropRange: FunctionReference<readonly ["i64", "i64", "i64"], undefined>;
  /** (elements): drops all their entries. */
  readonly dropElements: FunctionReference<readonly ["i64"], undefined>;
  /** (guest page, place in the tree) → tracker: marks a page table (the T bit). */
  readonly markTable: FunctionReference<readonly ["i32", "i64"], "i32">;
  /** (host address of a table entry, its value before): drops what came from an entry that changed. */
  readonly dropEntry: FunctionReference<readonly ["i32", "i64"], undefined>;
  /** (guest page): ends the tracking of a table page, with what depended on it. */
  readonly dropTable: FunctionReference<readonly ["i32"], undefined>;
  /** (element): takes it out of what depends on tables. */
  readonly forgetElement: FunctionReference<readonly ["i32"], undefined>;
  /** Ends the tracking of all tables, when nothing is cached. */
  readonly forgetTables: FunctionReference<readonly [], undefined>;
}

/** Services in TypeScript that generated code imports. */
export interface MmuImports {
  /** (TRACE_KIND, guest page, offset in page, bytes): a trace was hit. */
  readonly traceHit: FunctionReference<readonly ["i32", "i32", "i32", "i32"], undefined>;
  /** (guest page): a frozen page is about to be written. */
  readonly pageThaws: FunctionReference<readonly ["i32"], undefined>;
}

/** Context that the emitters of this folder are given. */
export interface MmuCode {
  readonly module: ModuleBuilder;
  readonly plan: MemoryPlan;
  readonly functions: MmuFunctions;
  readonly imports: MmuImports;
  /** Drops decoded instructions in (guest page, first byte, bytes). */
  readonly dropCode: FunctionReference<readonly ["i32", "i32", "i32"], undefined>;
  /** Where stores are written down in the tier `check`. */
  readonly logStore: LogStore | undefined;
}

/** Declares the functions of this folder. */
export function declareMmuFunctions(module: ModuleBuilder): MmuFunctions {
  return {
    translate: module.declare("translate", ["i64", "i32", "i32"], "i64"),
    pmpCheck: module.declare("pmpCheck", ["i64", "i32", "i32", "i32"], "i32"),
    selectElement: module.declare("selectElement", [], undefined),
    peekFetch: module.declare("peekFetch", ["i32", "i32"], "i32"),
    flushAll: module.declare("flushAll", [], undefined),
    dropWrites: module.declare("dropWrites", ["i32"], undefined),
    dropAllWrites: module.declare("dropAllWrites", [], undefined),
    firstWrite: module.declare("firstWrite", ["i32"], undefined),
    sweepFlags: module.declare("sweepFlags", ["i64", "i64"], undefined),
    dropReads: module.declare("dropReads", ["i32"], undefined),
    dropJumps: module.declare("dropJumps", [], undefined),
    dropPage: module.declare("dropPage", ["i64", "i64", "i64"], undefined),
    dropRange: module.declare("dropRange", ["i64", "i64", "i64"], undefined),
    dropElements: module.declare("dropElements", ["i64"], undefined),
    markTable: module.declare("markTable", ["i32", "i64"], "i32"),
    dropEntry: module.declare("dropEntry", ["i32", "i64"], undefined),
    dropTable: module.declare("dropTable", ["i32"], undefined),
    forgetElement: module.declare("forgetElement", ["i32"], undefined),
    forgetTables: module.declare("forgetTables", [], undefined),
  };
}

/** Sets the fault that the instruction under way will trap with. */
export function setFault(f: FunctionBuilder, cause: I32Value, value: I64Value): void {
  setControl32(f, "faultCause", cause);
  setControl64(f, "faultValue", value);
}

/** Asks the run to look up after this instruction. */
export function raiseAttention(f: FunctionBuilder, bits: number): void {
  setControl32(f, "attention", i32.or(control32("attention"), bits));
}

/** Whether a guest-physical address lies in RAM. */
export function inRam(plan: MemoryPlan, gpa: Expression<"i64">): Expression<"i32"> {
  return i64.ltU(i64.sub(gpa, plan.ramStart), plan.ramBytes);
}

/** Host address of a guest-physical address that lies in RAM. */
export function hostAddress(plan: MemoryPlan, gpa: Expression<"i64">): Expression<"i32"> {
  return i32.wrap(i64.add(gpa, plan.ram - plan.ramStart));
}

/** Guest page number of a guest-physical address that lies in RAM. */
export function pageOf(plan: MemoryPlan, gpa: Expression<"i64">): Expression<"i32"> {
  return i32.wrap(i64.shrU(i64.sub(gpa, plan.ramStart), 12));
}

/** Asks the read traces of a guest page about bytes of it that are about to be read. */
export function askReadTraces(
  code: Pick<MmuCode, "plan" | "imports">,
  f: FunctionBuilder,
  page: Expression<"i32">,
  offset: Expression<"i32">,
  size: I32Value,
  kind: number = TRACE_KIND.read,
): void {
  f.if(
    i32.and(i32.load8U(page, code.plan.pageFlags), READ_TRACES),
    () => {
      f.call(code.imports.traceHit, kind, page, offset, size);
    },
    undefined,
    "unlikely",
  );
}

/** Traces of a page, given by its flags, that TypeScript wants to be asked about before a write. */
export function askedWriteTraces(flags: Expression<"i32">): Expression<"i32"> {
  const asked = i32.xor(control32("firstWriteTraces"), SERVICE_WRITE_TRACES);
  return i32.and(flags, asked);
}

/** Asks the write traces of a guest page with some flags about bytes of it that are about to be written. */
export function askWriteTraces(
  code: Pick<MmuCode, "functions" | "imports">,
  f: FunctionBuilder,
  { page, flags, offset, size, value, kind = TRACE_KIND.write }: {
    readonly page: Local<"i32">;
    readonly flags: Local<"i32">;
    readonly offset: Expression<"i32">;
    readonly size: I32Value;
    readonly value: Expression<"i64">;
    readonly kind?: number;
  },
): void {
  f.if(
    i32.and(flags, SERVICE_WRITE_TRACES),
    () => {
      f.if(askedWriteTraces(flags), () => {
        setControl64(f, "storeValue", value);
        f.call(code.imports.traceHit, kind, page, offset, size);
      });
      f.call(code.functions.firstWrite, page);
    },
    undefined,
    "unlikely",
  );
}

/** The first write of a page ends its traces `clean` and `frozen`, where these are served (S13, X1). */
export function emitFirstWrite(code: MmuCode): void {
  code.module.define(code.functions.firstWrite, (f) => {
    const [page] = f.parameters;
    const flags = i32.load8U(page, code.plan.pageFlags);
    const ended = f.let(i32.and(flags, control32("firstWriteTraces")));
    f.if(i32.and(ended, PAGE_FLAG.frozen), () => f.call(code.imports.pageThaws, page));
    f.store8(page, code.plan.pageFlags, i32.and(flags, i32.xor(ended, -1)));
  });
}

/** Bytes of a round of `sweepFlags`: page flags begin and end at multiples of it. */
const SWEEP_BYTES = 64;

/** The traces of all pages at once: a VM may stand still for it, with hundreds of thousands of pages. */
export function emitSweepFlags(code: MmuCode): void {
  const { pageFlags, ramPages } = code.plan;
  code.module.define(code.functions.sweepFlags, (f) => {
    const [stay, come] = f.parameters;
    const at = f.let(i32.const(pageFlags));
    const end = pageFlags + Math.ceil(ramPages / SWEEP_BYTES) * SWEEP_BYTES;
    f.loop((next) => {
      for (let offset = 0; offset < SWEEP_BYTES; offset += 8) {
        f.store64(at, offset, i64.or(i64.and(i64.load(at, offset), stay), come));
      }
      f.set(at, i32.add(at, SWEEP_BYTES));
      f.brIf(next, i32.ltU(at, end));
    });
  }, true);
}
