/**
 * What the generated parts of the hart share: the module, the memory plan, imported services in
 * TypeScript, and references to functions defined in the other files of this folder.
 */
import { declareMmuFunctions, type MmuCode, type MmuFunctions } from "../mmu/mmu_code.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { LOG_STORE_PARAMETERS, type LogStore } from "../memory/store_log.ts";
import type { FunctionReference, ModuleBuilder } from "../wasm/mod.ts";
import { emitSoftFloat } from "./softfloat/mod.ts";
import type { FloatFunctionName } from "./softfloat/names.ts";
import { hartAddress } from "../memory/block_access.ts";

/** Services in TypeScript that the hart's generated code imports. */
export interface CpuImports {
  /** (TRACE_KIND, guest page, offset in page, bytes): a page trace was hit. */
  readonly traceHit: FunctionReference<readonly ["i32", "i32", "i32", "i32"], undefined>;
  /** (guest page): a frozen page is about to be written. */
  readonly pageThaws: FunctionReference<readonly ["i32"], undefined>;
  /** (guest-physical address, bytes 1, 2 or 4) → value; sets `busError` when no device answers. */
  readonly busRead: FunctionReference<readonly ["i32", "i32"], "i32">;
  /** (guest-physical address, bytes 1, 2 or 4, value); sets `busError` when no device answers. */
  readonly busWrite: FunctionReference<readonly ["i32", "i32", "i32"], undefined>;
  /** (guest page) → address of its decoded page, made when there is none. */
  readonly decodedPage: FunctionReference<readonly ["i32"], "i32">;
  /** The place at the hart's pc is hot: 1 when the jump cache now leads to a region there. */
  readonly hotPlace: FunctionReference<readonly [], "i32">;
  /** (guest page, first byte, bytes): code of a region was written. */
  readonly regionWritten: FunctionReference<readonly ["i32", "i32", "i32"], undefined>;
  /** (0 or a marker's bits, low and high word of the address) → 1: the run is to end before it. */
  readonly wantsStop: FunctionReference<readonly ["i32", "i32", "i32"], "i32">;
  /** (cause without its top bit, 1 for an interrupt, trap value): a trap is about to be taken. */
  readonly trapTaken: FunctionReference<readonly ["i32", "i32", "i64"], undefined>;
  /** → 16 bits of entropy. */
  readonly entropy16: FunctionReference<readonly [], "i32">;
}

/** What a hart with an exact clock has besides. */
export interface ExactCode {
  /** Imported: → the host's time in guest ticks, which is what the hardware's counter would be. */
  readonly hostTicks: FunctionReference<readonly [], "f64">;
  /**
   * Imported: (one of NONDET_KIND) → 1 when there is room for an entry, or an entry of the kind, which there
   * was not before; 0 when the instruction is to be abandoned.
   */
  readonly exchange: FunctionReference<readonly ["i32"], "i32">;
  /** → what a read of `time` gives, or a fault ABANDONED. */
  readonly time: FunctionReference<readonly [], "i64">;
  /** → what an access to `seed` gives, or a fault ABANDONED. */
  readonly seed: FunctionReference<readonly [], "i64">;
}

/** Services of the tier `check`, which runs each region a second time in the interpreter. */
export interface CheckImports {
  /** A region is about to run at the hart's pc. */
  readonly begin: FunctionReference<readonly [], undefined>;
  /** (slot, packed entry as in REGION_TYPE, REGION_END): it has run. */
  readonly end: FunctionReference<readonly ["i32", "i32", "i32"], undefined>;
  readonly store: LogStore;
}

/** Functions of the hart that other generated code calls. */
export interface CpuFunctions {
  /** (address of a record, its decoded page): decodes the instruction there and some behind it. */
  readonly decodeRun: FunctionReference<readonly ["i32", "i32"], undefined>;
  /** (instruction bits): decodes an instruction that lies on two pages into the straddle records. */
  readonly decodeStraddle: FunctionReference<readonly ["i32"], undefined>;
  /** (address of a record, its decoded page): decodes the instruction behind a point into those. */
  readonly decodePoint: FunctionReference<readonly ["i32", "i32"], undefined>;
  /** (virtual address, bytes) → zero-extended value; a fault is set when it failed. */
  readonly loadSlow: FunctionReference<readonly ["i64", "i32"], "i64">;
  /** (virtual address, bytes, value). */
  readonly storeSlow: FunctionReference<readonly ["i64", "i32", "i64"], undefined>;
  /** (virtual address, bytes) → host address of aligned RAM that may be read, or 0 with a fault. */
  readonly readAddress: FunctionReference<readonly ["i64", "i32"], "i32">;
  /** (virtual address, bytes) → host address of aligned RAM that may be written, or 0 with a fault. */
  readonly writeAddress: FunctionReference<readonly ["i64", "i32"], "i32">;
  /** (host address, bytes, value): writes where `writeAddress` led, with traces. */
  readonly writeTraced: FunctionReference<readonly ["i32", "i32", "i64"], undefined>;
  /** (host address, bytes): asks the read traces of what an atomic is about to read there. */
  readonly askRead: FunctionReference<readonly ["i32", "i32"], undefined>;
  /** (virtual address) → decoded page, or 0 with a fault. */
  readonly fetchSlow: FunctionReference<readonly ["i64"], "i32">;
  /** (virtual address of the second half) → its 16 bits; a fault is set when it failed. */
  readonly fetchHalf: FunctionReference<readonly ["i64"], "i32">;
  /** (guest page, first byte, bytes): forgets decoded instructions there. */
  readonly dropCode: FunctionReference<readonly ["i32", "i32", "i32"], undefined>;
  /** (guest-physical address, bytes): a device wrote guest memory. */
  readonly dmaWrote: FunctionReference<readonly ["i64", "i32"], undefined>;
  /** (CSR number, 1 when the instruction writes) → value; an illegal-instruction fault when refused. */
  readonly csrRead: FunctionReference<readonly ["i32", "i32"], "i64">;
  /** (CSR number, value). */
  readonly csrWrite: FunctionReference<readonly ["i32", "i64"], undefined>;
  /** (cause, trap value): enters the trap handler; the hart's pc is the instruction's. */
  readonly trap: FunctionReference<readonly ["i64", "i64"], undefined>;
  readonly machineReturn: FunctionReference<readonly [], undefined>;
  readonly supervisorReturn: FunctionReference<readonly [], undefined>;
  /** Takes the most urgent enabled interrupt, if any. */
  readonly takeInterrupt: FunctionReference<readonly [], undefined>;
}

/** Context that the emitters of this folder are given. */
export interface CpuCode {
  readonly module: ModuleBuilder;
  readonly plan: MemoryPlan;
  readonly imports: CpuImports;
  readonly functions: CpuFunctions;
  readonly mmu: MmuFunctions;
  readonly mmuCode: MmuCode;
  readonly float: Record<FloatFunctionName, FunctionReference>;
  /** Heat that makes a place hot; 0 when there is no translator tier. */
  readonly heat: number;
  /** Undefined but in the tier `check`. */
  readonly check: CheckImports | undefined;
  /** Undefined but with an exact clock. */
  readonly exact: ExactCode | undefined;
}

function declareImports(module: ModuleBuilder): CpuImports {
  return {
    traceHit: module.import("traceHit", ["i32", "i32", "i32", "i32"], undefined),
    pageThaws: module.import("pageThaws", ["i32"], undefined),
    busRead: module.import("busRead", ["i32", "i32"], "i32"),
    busWrite: module.import("busWrite", ["i32", "i32", "i32"], undefined),
    decodedPage: module.import("decodedPage", ["i32"], "i32"),
    hotPlace: module.import("hotPlace", [], "i32"),
    regionWritten: module.import("regionWritten", ["i32", "i32", "i32"], undefined),
    wantsStop: module.import("wantsStop", ["i32", "i32", "i32"], "i32"),
    trapTaken: module.import("trapTaken", ["i32", "i32", "i64"], undefined),
    entropy16: module.import("entropy16", [], "i32"),
  };
}

function declareFunctions(module: ModuleBuilder): CpuFunctions {
  return {
    decodeRun: module.declare("decodeRun", ["i32", "i32"], undefined),
    decodeStraddle: module.declare("decodeStraddle", ["i32"], undefined),
    decodePoint: module.declare("decodePoint", ["i32", "i32"], undefined),
    loadSlow: module.declare("loadSlow", ["i64", "i32"], "i64"),
    storeSlow: module.declare("storeSlow", ["i64", "i32", "i64"], undefined),
    readAddress: module.declare("readAddress", ["i64", "i32"], "i32"),
    writeAddress: module.declare("writeAddress", ["i64", "i32"], "i32"),
    writeTraced: module.declare("writeTraced", ["i32", "i32", "i64"], undefined),
    askRead: module.declare("askRead", ["i32", "i32"], undefined),
    fetchSlow: module.declare("fetchSlow", ["i64"], "i32"),
    fetchHalf: module.declare("fetchHalf", ["i64"], "i32"),
    dropCode: module.declare("dropCode", ["i32", "i32", "i32"], undefined),
    dmaWrote: module.declare("dmaWrote", ["i64", "i32"], undefined),
    csrRead: module.declare("csrRead", ["i32", "i32"], "i64"),
    csrWrite: module.declare("csrWrite", ["i32", "i64"], undefined),
    trap: module.declare("trap", ["i64", "i64"], undefined),
    machineReturn: module.declare("machineReturn", [], undefined),
    supervisorReturn: module.declare("supervisorReturn", [], undefined),
    takeInterrupt: module.declare("takeInterrupt", [], undefined),
  };
}

function declareCheck(module: ModuleBuilder): CheckImports {
  return {
    begin: module.import("beginCheck", [], undefined),
    end: module.import("endCheck", ["i32", "i32", "i32"], undefined),
    store: module.import("logStore", LOG_STORE_PARAMETERS, undefined),
  };
}

function declareExact(module: ModuleBuilder): () => ExactCode {
  const hostTicks = module.import("hostTicks", [], "f64");
  const exchange = module.import("exchange", ["i32"], "i32");
  return () => ({
    hostTicks,
    exchange,
    time: module.declare("exactTime", [], "i64"),
    seed: module.declare("exactSeed", [], "i64"),
  });
}

/**
 * Declares everything in a fresh module.
 * @param checks whether regions are checked
 */
export function declareCpu(
  module: ModuleBuilder,
  plan: MemoryPlan,
  heat: number,
  checks: boolean,
): CpuCode {
  const imports = declareImports(module);
  const check = checks ? declareCheck(module) : undefined;
  const exact = plan.nondetEntries > 0 ? declareExact(module) : undefined;
  const float = emitSoftFloat(module, { address: hartAddress("fflags") });
  const functions = declareFunctions(module);
  const mmu = declareMmuFunctions(module);
  const { dropCode } = functions;
  const mmuCode = { module, plan, functions: mmu, imports, dropCode, logStore: check?.store };
  for (const reference of Object.values(float)) module.export(reference);
  for (const name of ["csrRead", "csrWrite"] as const) {
    module.export(functions[name]);
  }
  return { module, plan, imports, functions, mmu, mmuCode, float, heat, check, exact: exact?.() };
}
