/**
 * The slow path of loads, stores and fetches: what happens when a software TLB has no entry. Walks,
 * fills, splits accesses that cross a page, asks page traces, talks to the bus (design.md, "One
 * mechanism"; X1). Generates `loadSlow`, `storeSlow`, `readAddress`, `writeAddress`, `askRead`,
 * `writeTraced`, `fetchSlow`, `fetchHalf`, `dropCode`, `dmaWrote`.
 *
 * Invariants: a store that faults on either of its pages has written nothing; a store to a page with a
 * write trace reaches the trace's service before memory changes and the tables and code that depend on
 * it after.
 */
import { control32, count, hart32, setControl32, setHart32 } from "../memory/block_access.ts";
import { CAUSE } from "../memory/hart_layout.ts";
import { RECORD_BYTES } from "../memory/memory_plan.ts";
import { PAGE_FLAG, READ_TRACES, WRITE_TRACES } from "../memory/page_flags.ts";
import { logStore } from "../memory/store_log.ts";
import {
  emitFill,
  emitNoteWritable,
  emitTranslate,
  entryOffset,
  tlbOffset,
  walkOvertaken,
} from "../mmu/cache_group.ts";
import {
  askedWriteTraces,
  askReadTraces,
  askWriteTraces,
  hostAddress,
  inRam,
  pageOf,
  setFault,
  TRACE_KIND,
} from "../mmu/mmu_code.ts";
import { ACCESS, PTE } from "../mmu/pte.ts";
import { emitCountStore } from "../mmu/table_tracker.ts";
import {
  call,
  type Expression,
  type FunctionBuilder,
  i32,
  type I32Value,
  i64,
  type Local,
} from "../wasm/mod.ts";
import type { CpuCode } from "./cpu_code.ts";

type I64 = Expression<"i64">;
type I32 = Expression<"i32">;

/** Generates the functions of this file. */
export function emitMemoryAccess(code: CpuCode): void {
  emitLoadSlow(code);
  emitStoreSlow(code);
  emitAddresses(code);
  emitAskRead(code);
  emitWriteTraced(code);
  emitFetch(code);
  emitDropCode(code);
  emitDmaWrote(code);
}

/** Loads 1, 2, 4 or 8 bytes from a host address, zero-extended. */
function loadSized(f: FunctionBuilder, host: I32, size: I32): Local<"i64"> {
  const value = f.local("i64");
  f.if(i32.eq(size, 8), () => f.set(value, i64.load(host)), () => {
    f.if(i32.eq(size, 4), () => f.set(value, i64.load32U(host)), () => {
      f.if(
        i32.eq(size, 2),
        () => f.set(value, i64.load16U(host)),
        () => f.set(value, i64.load8U(host)),
      );
    });
  });
  return value;
}

function storeSized(code: CpuCode, f: FunctionBuilder, host: I32, size: I32, value: I64): void {
  logStore(f, code.check?.store, host, size, value);
  f.if(i32.eq(size, 8), () => f.store64(host, 0, value), () => {
    f.if(i32.eq(size, 4), () => f.store32(host, 0, value), () => {
      f.if(i32.eq(size, 2), () => f.store16(host, 0, value), () => f.store8(host, 0, value));
    });
  });
}

const crossesPage = (address: I64, size: I32) =>
  i32.gtU(i32.add(i32.and(i32.wrap(address), 4095), size), 4096);

/** Gives the entry of an address when its tag matches, whatever the alignment. */
function probe(
  code: CpuCode,
  f: FunctionBuilder,
  kind: 0 | 1,
  address: Local<"i64">,
  hit: (host: I32) => void,
): void {
  const entry = f.let(i32.add(control32("element"), entryOffset(f, code.plan, address)));
  const offset = tlbOffset(code.mmuCode, kind);
  f.if(i64.eq(i64.load(entry, offset), i64.and(address, -4096)), () => {
    hit(i32.add(i32.wrap(address), i32.load(entry, offset + 8)));
  });
}

/** Asks the read traces of a page, then fills the read TLB if none stays and PMP is uniform. */
function readTraceAndFill(
  code: CpuCode,
  f: FunctionBuilder,
  address: Local<"i64">,
  gpa: Local<"i64">,
  size: I32Value,
): void {
  const page = f.let(pageOf(code.plan, gpa));
  askReadTraces(code, f, page, i32.and(i32.wrap(gpa), 4095), size);
  const flags = i32.load8U(page, code.plan.pageFlags);
  const fillable = i32.and(i32.eqz(i32.and(flags, READ_TRACES)), control32("pmpUniform"));
  f.if(fillable, () => {
    count(f, "statFillsRead");
    const addend = i32.sub(hostAddress(code.plan, gpa), i32.wrap(address));
    emitFill(code.mmuCode, f, 0, address, addend, page);
  });
}

function emitLoadSlow(code: CpuCode): void {
  code.module.define(code.functions.loadSlow, (f) => {
    const [address, size] = f.parameters;
    count(f, "statSlowLoads");
    f.if(crossesPage(address, size), () => emitSplitLoad(code, f, address, size));
    probe(code, f, 0, address, (host) => f.return(loadSized(f, host, size)));
    const gpa = emitTranslate(code.mmuCode, f, address, ACCESS.load, size, () => {
      f.return(i64.const(0));
    });
    f.if(inRam(code.plan, gpa), () => {
      readTraceAndFill(code, f, address, gpa, size);
      f.return(loadSized(f, hostAddress(code.plan, gpa), size));
    });
    emitBusLoad(code, f, address, gpa, size);
  }, true);
}

/** A load that lies on two pages is made of bytes; the second page's fault names its first byte. */
function emitSplitLoad(
  code: CpuCode,
  f: FunctionBuilder,
  address: Local<"i64">,
  size: Local<"i32">,
): void {
  const value = f.let(i64.const(0));
  const index = f.let(i64.const(0));
  f.loop((next) => {
    const byte = f.let(call(code.functions.loadSlow, i64.add(address, index), 1));
    f.if(control32("faultCause"), () => f.return(i64.const(0)));
    f.set(value, i64.or(value, i64.shl(byte, i64.shl(index, 3))));
    f.set(index, i64.add(index, 1));
    f.brIf(next, i64.ltU(index, i64.extendI32U(size)));
  });
  f.return(value);
}

/** Bus accesses are 1, 2 or 4 bytes; eight are two, low word first. Misaligned ones are refused. */
function emitBusLoad(
  code: CpuCode,
  f: FunctionBuilder,
  address: Local<"i64">,
  gpa: Local<"i64">,
  size: Local<"i32">,
): void {
  f.block((refused) => {
    emitBusChecks(f, gpa, size, refused);
    const at = f.let(i32.wrap(gpa));
    const value = f.local("i64");
    f.if(i32.eq(size, 8), () => {
      f.set(value, i64.extendI32U(call(code.imports.busRead, at, 4)));
      f.set(
        value,
        i64.or(
          value,
          i64.shl(i64.extendI32U(call(code.imports.busRead, i32.add(at, 4), 4)), 32),
        ),
      );
    }, () => f.set(value, i64.extendI32U(call(code.imports.busRead, at, size))));
    f.brIf(refused, control32("busError"));
    f.return(value);
  });
  setControl32(f, "busError", 0);
  setFault(f, CAUSE.loadAccess, address);
  f.return(i64.const(0));
}

function emitBusChecks(
  f: FunctionBuilder,
  gpa: Local<"i64">,
  size: Local<"i32">,
  refused: { depth: number },
): void {
  f.brIf(refused, i64.gtU(gpa, 0xffff_fff8));
  f.brIf(refused, i32.and(i32.wrap(gpa), i32.sub(size, 1)));
}

function emitStoreSlow(code: CpuCode): void {
  code.module.define(code.functions.storeSlow, (f) => {
    const [address, size, value] = f.parameters;
    count(f, "statSlowStores");
    f.if(crossesPage(address, size), () => emitSplitStore(code, f, address, size, value));
    probe(code, f, 1, address, (host) => {
      storeSized(code, f, host, size, value);
      f.return();
    });
    const gpa = emitTranslate(code.mmuCode, f, address, ACCESS.store, size, () => f.return());
    f.if(inRam(code.plan, gpa), () => {
      emitFirstStore(code, f, gpa);
      emitWriteFill(code, f, address, gpa);
      f.call(code.functions.writeTraced, hostAddress(code.plan, gpa), size, value);
      f.return();
    });
    f.block((refused) => {
      emitBusChecks(f, gpa, size, refused);
      const at = f.let(i32.wrap(gpa));
      f.if(i32.eq(size, 8), () => {
        f.call(code.imports.busWrite, at, 4, i32.wrap(value));
        f.call(code.imports.busWrite, i32.add(at, 4), 4, i32.wrap(i64.shrU(value, 32)));
      }, () => f.call(code.imports.busWrite, at, size, i32.wrap(value)));
      f.brIf(refused, control32("busError"));
      f.return();
    });
    setControl32(f, "busError", 0);
    setFault(f, CAUSE.storeAccess, address);
  }, true);
}

/** Both pages are translated before the first byte is written, so that a fault leaves no half store. */
function emitSplitStore(
  code: CpuCode,
  f: FunctionBuilder,
  address: Local<"i64">,
  size: Local<"i32">,
  value: Local<"i64">,
): void {
  const last = f.let(i64.and(i64.add(address, 7), -4096));
  emitTranslate(code.mmuCode, f, address, ACCESS.store, 1, () => f.return());
  emitTranslate(code.mmuCode, f, last, ACCESS.store, 1, () => f.return());
  const index = f.let(i64.const(0));
  f.loop((next) => {
    const byte = i64.shrU(value, i64.shl(index, 3));
    f.call(code.functions.storeSlow, i64.add(address, index), 1, i64.and(byte, 0xff));
    f.if(control32("faultCause"), () => f.return());
    f.set(index, i64.add(index, 1));
    f.brIf(next, i64.ltU(index, i64.extendI32U(size)));
  });
  f.return();
}

/** Where only the first write of a page is traced, this is it: the page may be in write TLBs afterwards. */
function emitFirstStore(code: CpuCode, f: FunctionBuilder, gpa: Local<"i64">): void {
  const page = f.let(pageOf(code.plan, gpa));
  const flags = f.let(i32.load8U(page, code.plan.pageFlags));
  f.if(i32.and(flags, control32("firstWriteTraces")), () => {
    f.if(i32.eqz(askedWriteTraces(flags)), () => f.call(code.mmu.firstWrite, page));
  });
}

/** Fills the write TLB if no write trace is on the page and PMP is uniform. */
function emitWriteFill(
  code: CpuCode,
  f: FunctionBuilder,
  address: Local<"i64">,
  gpa: Local<"i64">,
): void {
  const page = f.let(pageOf(code.plan, gpa));
  const traced = i32.and(i32.load8U(page, code.plan.pageFlags), WRITE_TRACES);
  f.if(i32.and(i32.eqz(traced), control32("pmpUniform")), () => {
    count(f, "statFillsWrite");
    emitNoteWritable(code.mmuCode, f, page, address);
    const addend = i32.sub(hostAddress(code.plan, gpa), i32.wrap(address));
    emitFill(code.mmuCode, f, 1, address, addend, page);
  });
}

/** Host addresses for LR and AMO: RAM only, as the board's devices take no atomics. */
function emitAddresses(code: CpuCode): void {
  for (
    const [target, kind, access, refusal] of [
      [code.functions.readAddress, 0, ACCESS.load, CAUSE.loadAccess],
      [code.functions.writeAddress, 1, ACCESS.store, CAUSE.storeAccess],
    ] as const
  ) {
    code.module.define(target, (f) => {
      const [address, size] = f.parameters;
      probe(code, f, kind, address, (host) => f.return(host));
      const gpa = emitTranslate(code.mmuCode, f, address, access, size, () => f.return(0));
      f.if(i32.eqz(inRam(code.plan, gpa)), () => {
        setFault(f, refusal, address);
        f.return(0);
      });
      if (kind === 0) readTraceAndFill(code, f, address, gpa, size);
      else emitWriteFill(code, f, address, gpa);
      f.return(hostAddress(code.plan, gpa));
    });
  }
}

/** An atomic reads where it may write: what wants to see reads is asked as well. */
function emitAskRead(code: CpuCode): void {
  code.module.define(code.functions.askRead, (f) => {
    const [host, size] = f.parameters;
    const offset = f.let(i32.sub(host, code.plan.ram));
    askReadTraces(code, f, i32.shrU(offset, 12), i32.and(offset, 4095), size);
  });
}

/** Writes RAM within one page: services first, then memory, then tables and code that depend on it. */
function emitWriteTraced(code: CpuCode): void {
  code.module.define(code.functions.writeTraced, (f) => {
    const [host, size, value] = f.parameters;
    const page = f.let(i32.shrU(i32.sub(host, code.plan.ram), 12));
    const offset = f.let(i32.and(i32.sub(host, code.plan.ram), 4095));
    const flags = f.let(i32.load8U(page, code.plan.pageFlags));
    askWriteTraces(code.mmuCode, f, { page, flags, offset, size, value });
    f.if(i32.and(flags, PAGE_FLAG.table), () => {
      count(f, "statTableWrites");
      emitTableStore(code, f, { host, size, value });
      emitCountStore(code.mmuCode, f, page);
    }, () => storeSized(code, f, host, size, value));
    f.if(i32.and(flags, PAGE_FLAG.code), () => {
      count(f, "statCodeWrites");
      f.call(code.functions.dropCode, page, offset, size);
    });
  });
}

/**
 * A store to a traced page table. An entry that was not valid was never cached, so only a change of
 * a valid one drops anything (S21.4, S21.5).
 */
function emitTableStore(
  code: CpuCode,
  f: FunctionBuilder,
  store: { host: Local<"i32">; size: Local<"i32">; value: Local<"i64"> },
): void {
  const { host, size, value } = store;
  const first = f.let(i32.and(host, -8));
  const last = f.let(i32.and(i32.sub(i32.add(host, size), 1), -8));
  const before = f.let(i64.load(first));
  const beforeLast = f.let(i64.load(last));
  storeSized(code, f, host, size, value);
  const changed = (old: I64, at: I32) =>
    i32.and(i64.ne(i64.and(old, PTE.V), 0), i64.ne(old, i64.load(at)));
  f.if(changed(before, first), () => f.call(code.mmu.dropEntry, first, before));
  f.if(
    i32.and(i32.ne(first, last), changed(beforeLast, last)),
    () => f.call(code.mmu.dropEntry, last, beforeLast),
  );
}

function emitFetch(code: CpuCode): void {
  code.module.define(code.functions.fetchSlow, (f) => {
    const [address] = f.parameters;
    const { gpa, page } = emitFetchTranslate(code, f, address);
    const uniform = f.let(control32("pmpUniform"));
    f.if(i32.eqz(uniform), () => emitSecondHalf(code, f, address, gpa), undefined, "unlikely");
    const decoded = f.let(call(code.imports.decodedPage, page));
    // Making room for it empties all caches. The run stays in this page, so the tables are marked anew.
    f.if(
      walkOvertaken(),
      () => emitTranslate(code.mmuCode, f, address, ACCESS.fetch, 2, () => f.return(0)),
      undefined,
      "unlikely",
    );
    const traced = i32.and(i32.load8U(page, code.plan.pageFlags), READ_TRACES);
    f.if(i32.and(uniform, i32.eqz(traced)), () => {
      count(f, "statFillsFetch");
      emitFill(code.mmuCode, f, 2, address, decoded, page);
    });
    f.return(decoded);
  });
  code.module.define(code.functions.fetchHalf, (f) => {
    const [address] = f.parameters;
    const { gpa } = emitFetchTranslate(code, f, address);
    f.return(i32.load16U(hostAddress(code.plan, gpa)));
  });
}

/** Translates two bytes to be fetched and asks the read traces of their page; returns 0 on a fault. */
function emitFetchTranslate(
  code: CpuCode,
  f: FunctionBuilder,
  address: Local<"i64">,
): { gpa: Local<"i64">; page: Local<"i32"> } {
  const gpa = emitTranslate(code.mmuCode, f, address, ACCESS.fetch, 2, () => f.return(0));
  f.if(i32.eqz(inRam(code.plan, gpa)), () => {
    setFault(f, CAUSE.fetchAccess, address);
    f.return(0);
  });
  const page = f.let(pageOf(code.plan, gpa));
  askReadTraces(code, f, page, i32.and(i32.wrap(gpa), 4095), 2, TRACE_KIND.fetch);
  return { gpa, page };
}

/** Where PMP has no one answer for the page, the second half of a long instruction is checked too. */
function emitSecondHalf(
  code: CpuCode,
  f: FunctionBuilder,
  address: Local<"i64">,
  gpa: Local<"i64">,
): void {
  const long = i32.eq(i32.and(i32.load8U(hostAddress(code.plan, gpa)), 3), 3);
  // One that lies on two pages is fetched in halves anyway.
  const inside = i32.ne(i32.and(i32.wrap(gpa), 4095), 4094);
  f.if(i32.and(long, inside), () => {
    emitTranslate(code.mmuCode, f, i64.add(address, 2), ACCESS.fetch, 2, () => f.return(0));
  });
}

/** An instruction that starts two bytes before the range may reach into it. */
function emitDropCode(code: CpuCode): void {
  code.module.define(code.functions.dropCode, (f) => {
    const [page, offset, size] = f.parameters;
    f.if(
      i32.load8U(page, code.plan.pageRegions),
      () => f.call(code.imports.regionWritten, page, offset, size),
      undefined,
      "unlikely",
    );
    const number = f.let(i32.load16U(i32.shl(page, 1), code.plan.decodedIndex));
    f.if(i32.eqz(number), () => f.return());
    const decoded = f.let(call(code.imports.decodedPage, page));
    const from = i32.select(i32.ltU(offset, 2), 0, i32.sub(offset, 2));
    const slot = f.let(i32.shrU(from, 1));
    const end = f.let(i32.shrU(i32.sub(i32.add(offset, size), 1), 1));
    f.loop((next) => {
      f.store32(i32.add(decoded, i32.mul(slot, RECORD_BYTES)), 0, 0);
      f.set(slot, i32.add(slot, 1));
      f.brIf(next, i32.leU(slot, end));
    });
  });
}

/** A device's write to reserved bytes ends the reservation (Zalrsc); eight bytes may be reserved. */
function emitDropReservation(
  code: CpuCode,
  f: FunctionBuilder,
  gpa: Local<"i64">,
  end: Local<"i64">,
): void {
  const reserved = f.let(i64.extendI32U(hart32("reservation")));
  f.if(i32.eqz(i64.eqz(reserved)), () => {
    const from = f.let(i64.add(reserved, code.plan.ramStart - 1));
    const meets = i32.and(i64.ltU(from, end), i64.gtU(i64.add(from, 8), gpa));
    f.if(meets, () => setHart32(f, "reservation", 0));
  });
}

/** DMA: reservation, tables and code of the pages written; the services' traces were asked by the DMA port. */
function emitDmaWrote(code: CpuCode): void {
  code.module.define(code.functions.dmaWrote, (f) => {
    const [gpa, size] = f.parameters;
    const end = f.let(i64.add(gpa, i64.extendI32U(size)));
    emitDropReservation(code, f, gpa, end);
    const at = f.let(gpa);
    f.block((done) => {
      f.loop((next) => {
        f.brIf(done, i64.geU(at, end));
        const page = f.let(pageOf(code.plan, at));
        const flags = f.let(i32.load8U(page, code.plan.pageFlags));
        const pageEnd = f.let(i64.add(i64.and(at, -4096), 4096));
        const bytes = i32.wrap(i64.sub(i64.select(i64.ltU(end, pageEnd), end, pageEnd), at));
        f.if(
          i32.and(flags, PAGE_FLAG.code),
          () => f.call(code.functions.dropCode, page, i32.and(i32.wrap(at), 4095), bytes),
        );
        f.if(i32.and(flags, PAGE_FLAG.table), () => f.call(code.mmu.dropTable, page));
        f.set(at, pageEnd);
        f.br(next);
      });
    });
  }, true);
}
