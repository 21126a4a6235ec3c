/**
 * Cache elements: one set of software TLBs for each address space and view (S12.1 to S12.3), their
 * eviction, and what drops entries from them; which ones, the table tracker says. Generates the functions
 * that select, fill and drop. A TLB entry is 16 bytes: tag (i64, virtual page or -1), addend (i32), guest page (i32).
 *
 * Invariants: an element's entries agree with the guest's page tables at all times, because the store
 * that edits a valid entry of a traced table page drops them before the next instruction; an entry comes
 * only from a walk whose marks still stand; a page with a write trace has no write entry in any element.
 */
import {
  control32,
  control64,
  controlAddress,
  count,
  hart32,
  hart64,
  setControl32,
  setControl64,
} from "../memory/block_access.ts";
import { MSTATUS, PRIVILEGE } from "../memory/hart_layout.ts";
import {
  ELEMENT_HEADER_BYTES,
  JUMP_ENTRIES,
  JUMP_ENTRY_BYTES,
  JUMP_PAGES,
  PAGE_ELEMENT_MASKS,
  TLB_ENTRY_BYTES,
} from "../memory/memory_plan.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { call, type Expression, type FunctionBuilder, i32, i64, type Local } from "../wasm/mod.ts";
import { emitDropJumps, emitDropJumpsNear, REGION_REACH } from "./jump_cache.ts";
import { ATTENTION, inRam, type MmuCode, pageOf, raiseAttention } from "./mmu_code.ts";
import { emitTrackerLimit } from "./table_tracker.ts";
import { tlbOffsetOf, WRITABLE_AT_ONE, WRITABLE_AT_SEVERAL, WRITABLE_BEFORE } from "./tlb_place.ts";

/** Offsets in an element's header. */
const HEADER = { satp: 0, view: 8, stamp: 16, valid: 24 } as const;

/**
 * Byte offset of the entry of a virtual address in one TLB of an element. Stacks, heaps and mappings like to
 * begin at the same low bits, so that higher ones take part.
 */
export function entryOffset(
  f: FunctionBuilder,
  plan: MemoryPlan,
  address: Expression<"i64">,
): Expression<"i32"> {
  const mask = (plan.tlbEntries - 1) * TLB_ENTRY_BYTES;
  const page = f.let(i32.wrap(i64.shrU(address, 8)));
  return i32.and(i32.xor(page, i32.shrU(page, 10)), mask);
}

/** The same for generated code. */
export function tlbOffset(code: MmuCode, kind: 0 | 1 | 2): number {
  return tlbOffsetOf(code.plan, kind);
}

/** Generates the functions of this file. */
export function emitCacheGroup(code: MmuCode): void {
  emitSelect(code);
  emitFlushAll(code);
  emitDrops(code);
  emitDropAllWrites(code);
  emitDropPage(code);
  emitDropRange(code);
  emitDropElements(code);
}

const header = (code: MmuCode, index: Expression<"i32">) =>
  i32.add(code.plan.elementDirectory, i32.mul(index, ELEMENT_HEADER_BYTES));

const tables = (code: MmuCode, index: Expression<"i32">) =>
  i32.add(code.plan.elements, i32.mul(index, code.plan.elementBytes));

/** Offset in MemoryPlan.pageElements of the mask of a virtual page. */
function elementsOf(address: Expression<"i64">): Expression<"i32"> {
  // Pages of one process lie close together, those of several at the same places.
  const hash = i64.xor(i64.shrU(address, 12), i64.shrU(address, 25));
  return i32.shl(i32.and(i32.wrap(hash), PAGE_ELEMENT_MASKS - 1), 3);
}

/** The view: privilege of fetches, privilege of data, and SUM and MXR where they matter. */
function emitView(f: FunctionBuilder): { satp: Local<"i64">; view: Local<"i64"> } {
  const status = f.let(hart64("mstatus"));
  const privilege = f.let(i64.extendI32U(hart32("privilege")));
  const data = f.let(privilege);
  f.if(i64.ne(i64.and(status, MSTATUS.MPRV), 0), () => {
    f.set(data, i64.and(i64.shrU(status, 11), 3));
  });
  // PMP and menvcfg belong to the hart, so that harts do not share elements.
  const owner = i64.shl(i64.extendI32U(hart32("hartid")), 8);
  const view = f.let(i64.or(i64.or(privilege, i64.shl(data, 2)), owner));
  f.if(i64.eq(data, PRIVILEGE.supervisor), () => {
    f.set(view, i64.or(view, i64.and(status, MSTATUS.SUM)));
  });
  f.set(view, i64.or(view, i64.and(status, MSTATUS.MXR)));
  const satp = f.let(hart64("satp"));
  f.if(
    i32.and(i64.eq(privilege, PRIVILEGE.machine), i64.eq(data, PRIVILEGE.machine)),
    () => f.set(satp, 0),
  );
  return { satp, view };
}

function emitSelect(code: MmuCode): void {
  code.module.define(code.functions.selectElement, (f) => {
    const { satp, view } = emitView(f);
    const matches = (at: Expression<"i32">) =>
      i32.and(
        i32.and(
          i64.eq(i64.load(at, HEADER.satp), satp),
          i64.eq(i64.load(at, HEADER.view), view),
        ),
        i32.load(at, HEADER.valid),
      );
    const current = f.let(header(code, control32("elementIndex")));
    f.if(matches(current), () => f.return());
    count(f, "statElementSwitches");
    setControl32(f, "pageCachesStale", 1);
    const stamp = f.let(i64.add(control64("elementStamp"), 1));
    setControl64(f, "elementStamp", stamp);
    const index = f.let(i32.const(0));
    const victim = f.let(i32.const(0));
    const oldest = f.let(i64.const(0x7fff_ffff_ffff_ffffn));
    const at = f.local("i32");
    f.loop((next) => {
      f.set(at, header(code, index));
      f.if(matches(at), () => {
        f.store64(at, HEADER.stamp, stamp);
        setControl32(f, "elementIndex", index);
        setControl32(f, "element", tables(code, index));
        setControl32(f, "elementUsed", 1);
        count(f, "statElementHits");
        f.return();
      });
      const age = i64.select(i32.load(at, HEADER.valid), i64.load(at, HEADER.stamp), -1);
      f.if(i64.ltS(age, oldest), () => {
        f.set(victim, index);
        f.set(oldest, age);
      });
      f.set(index, i32.add(index, 1));
      f.brIf(next, i32.ltU(index, code.plan.cacheElements));
    });
    f.set(at, header(code, victim));
    f.if(i32.load(at, HEADER.valid), () => emitEvict(code, f, victim));
    f.store64(at, HEADER.satp, satp);
    f.store64(at, HEADER.view, view);
    f.store64(at, HEADER.stamp, stamp);
    f.store32(at, HEADER.valid, 1);
    setControl32(f, "elementIndex", victim);
    setControl32(f, "element", tables(code, victim));
    f.fill(control32("element"), 0xff, code.plan.elementBytes);
    setControl32(f, "elementUsed", 0);
  }, true);
}

/** An element goes to another address space: nothing may lead to what it held (S12.8). */
function emitEvict(code: MmuCode, f: FunctionBuilder, victim: Local<"i32">): void {
  count(f, "statElementEvictions");
  f.call(code.functions.forgetElement, victim);
  const others = f.let(i64.xor(i64.shl(1, i64.extendI32U(victim)), -1));
  const mask = f.let(i32.const(0));
  f.loop((next) => {
    const left = i64.and(i64.load(mask, code.plan.pageElements), others);
    f.store64(mask, code.plan.pageElements, left);
    f.set(mask, i32.add(mask, 8));
    f.brIf(next, i32.ltU(mask, PAGE_ELEMENT_MASKS * 8));
  });
}

function emitFlushAll(code: MmuCode): void {
  code.module.define(code.functions.flushAll, (f) => {
    setControl32(f, "pageCachesStale", 1);
    const index = f.let(i32.const(0));
    f.loop((next) => {
      f.if(i32.ne(index, control32("elementIndex")), () => {
        f.store32(header(code, index), HEADER.valid, 0);
      });
      f.set(index, i32.add(index, 1));
      f.brIf(next, i32.ltU(index, code.plan.cacheElements));
    });
    f.if(control32("elementUsed"), () => {
      count(f, "statFlushes");
      f.fill(control32("element"), 0xff, code.plan.elementBytes);
      setControl32(f, "elementUsed", 0);
    });
    f.fill(code.plan.pageElements, 0, PAGE_ELEMENT_MASKS * 8);
    f.call(code.functions.forgetTables);
    setControl32(f, "flushEpoch", i32.add(control32("flushEpoch"), 1));
    raiseAttention(f, ATTENTION.refetch);
  }, true);
}

/** Runs `body` for each entry of one TLB of every valid element. */
function forEachEntry(
  code: MmuCode,
  f: FunctionBuilder,
  kind: 0 | 1 | 2,
  body: (entry: Local<"i32">) => void,
): void {
  const index = f.let(i32.const(0));
  f.loop((nextElement) => {
    f.if(i32.load(header(code, index), HEADER.valid), () => {
      const entry = f.let(i32.add(tables(code, index), tlbOffset(code, kind)));
      const end = f.let(i32.add(entry, code.plan.tlbEntries * TLB_ENTRY_BYTES));
      f.loop((nextEntry) => {
        body(entry);
        f.set(entry, i32.add(entry, TLB_ENTRY_BYTES));
        f.brIf(nextEntry, i32.ltU(entry, end));
      });
    });
    f.set(index, i32.add(index, 1));
    f.brIf(nextElement, i32.ltU(index, code.plan.cacheElements));
  });
}

function emitDrops(code: MmuCode): void {
  const drop = (f: FunctionBuilder, page: Local<"i32">, entry: Local<"i32">) =>
    f.if(i32.eq(i32.load(entry, 12), page), () => f.store64(entry, 0, -1));
  code.module.define(code.functions.dropWrites, (f) => {
    const [page] = f.parameters;
    const known = f.let(i32.shl(page, 3));
    const writable = f.let(i64.load(known, code.plan.pageWritable));
    f.if(i64.eqz(i64.and(writable, ~BigInt(WRITABLE_BEFORE))), () => f.return());
    f.store64(known, code.plan.pageWritable, WRITABLE_BEFORE);
    setControl32(f, "pageCachesStale", 1);
    f.if(i64.eq(writable, WRITABLE_AT_SEVERAL), () => {
      forEachEntry(code, f, 1, (entry) => drop(f, page, entry));
      f.return();
    });
    const address = f.let(i64.sub(writable, WRITABLE_AT_ONE));
    forEachElement(f, i64.load(elementsOf(address), code.plan.pageElements), (index) => {
      const entry = f.let(i32.add(tables(code, index), entryOffset(f, code.plan, address)));
      drop(f, page, f.let(i32.add(entry, tlbOffset(code, 1))));
    });
  }, true);
  code.module.define(code.functions.dropReads, (f) => {
    const [page] = f.parameters;
    setControl32(f, "pageCachesStale", 1);
    forEachEntry(code, f, 0, (entry) => drop(f, page, entry));
    forEachEntry(code, f, 2, (entry) => drop(f, page, entry));
    // A jump stands for fetch entries of all pages of its region.
    f.call(code.functions.dropJumps);
  }, true);
  code.module.define(code.functions.dropJumps, (f) => {
    count(f, "statJumpDrops");
    const index = f.let(i32.const(0));
    f.loop((next) => {
      const at = i32.add(tables(code, index), code.plan.jumpCache);
      f.if(i32.load(header(code, index), HEADER.valid), () => {
        f.fill(at, 0xff, JUMP_ENTRIES * JUMP_ENTRY_BYTES + JUMP_PAGES / 8);
      });
      f.set(index, i32.add(index, 1));
      f.brIf(next, i32.ltU(index, code.plan.cacheElements));
    });
    raiseAttention(f, ATTENTION.refetch);
  }, true);
}

/** Empties the write TLBs of the elements that were used since the last time. */
function emitDropAllWrites(code: MmuCode): void {
  code.module.define(code.functions.dropAllWrites, (f) => {
    setControl32(f, "pageCachesStale", 1);
    const index = f.let(i32.const(0));
    f.loop((next) => {
      const at = f.let(header(code, index));
      const used = i64.geS(i64.load(at, HEADER.stamp), control64("writesDropped"));
      f.if(i32.and(used, i32.load(at, HEADER.valid)), () => {
        const writes = i32.add(tables(code, index), tlbOffset(code, 1));
        f.fill(writes, 0xff, code.plan.tlbEntries * TLB_ENTRY_BYTES);
      });
      f.set(index, i32.add(index, 1));
      f.brIf(next, i32.ltU(index, code.plan.cacheElements));
    });
    // The current element goes on being used without being selected.
    const stamp = f.let(i64.add(control64("elementStamp"), 1));
    setControl64(f, "elementStamp", stamp);
    setControl64(f, "writesDropped", stamp);
    f.store64(header(code, control32("elementIndex")), HEADER.stamp, stamp);
  }, true);
}

/** Runs `body` for each element whose bit is set in a mask. */
function forEachElement(
  f: FunctionBuilder,
  mask: Expression<"i64">,
  body: (index: Local<"i32">) => void,
): void {
  const left = f.let(mask);
  f.block((done) => {
    f.loop((next) => {
      f.brIf(done, i64.eqz(left));
      body(f.let(i32.wrap(i64.ctz(left))));
      f.set(left, i64.and(left, i64.sub(left, 1)));
      f.br(next);
    });
  });
}

const countDropped = (f: FunctionBuilder) => count(f, "statDependentsDropped");

/** (virtual page, elements, guest-physical page that it led to): drops the entries of one page. */
function emitDropPage(code: MmuCode): void {
  code.module.define(code.functions.dropPage, (f) => {
    const [address, elements, gpa] = f.parameters;
    const hasRegions = f.let(i32.const(0));
    f.if(inRam(code.plan, gpa), () => {
      f.set(hasRegions, i32.load8U(pageOf(code.plan, gpa), code.plan.pageRegions));
    });
    const holders = i64.load(elementsOf(address), code.plan.pageElements);
    forEachElement(f, i64.and(elements, holders), (index) => {
      const at = f.let(i32.add(tables(code, index), entryOffset(f, code.plan, address)));
      for (const kind of [0, 1, 2] as const) {
        const tag = i64.load(at, tlbOffset(code, kind));
        f.if(i64.eq(tag, address), () => {
          f.store64(at, tlbOffset(code, kind), -1);
          countDropped(f);
        });
      }
      f.if(hasRegions, () => emitDropJumpsNear(code, f, tables(code, index), address));
    });
  });
}

/** (first address, log2 of bytes, elements): drops the entries of a naturally aligned range. */
function emitDropRange(code: MmuCode): void {
  code.module.define(code.functions.dropRange, (f) => {
    const [address, shift, elements] = f.parameters;
    count(f, "statRangeDrops");
    forEachElement(f, elements, (index) => {
      const entry = f.let(tables(code, index));
      const end = f.let(i32.add(entry, code.plan.jumpCache));
      f.loop((next) => {
        const tag = f.let(i64.load(entry));
        const inside = i64.eqz(i64.shrU(i64.xor(tag, address), shift));
        f.if(i32.and(inside, i64.ne(tag, -1)), () => {
          f.store64(entry, 0, -1);
          countDropped(f);
        });
        f.set(entry, i32.add(entry, TLB_ENTRY_BYTES));
        f.brIf(next, i32.ltU(entry, end));
      });
      const reach = i64.add(i64.shl(1, shift), 2 * REGION_REACH);
      emitDropJumps(f, end, i64.sub(address, REGION_REACH), reach);
    });
  });
}

/** (elements): empties them. */
function emitDropElements(code: MmuCode): void {
  code.module.define(code.functions.dropElements, (f) => {
    const [elements] = f.parameters;
    forEachElement(f, elements, (index) => {
      f.fill(tables(code, index), 0xff, code.plan.elementBytes);
      countDropped(f);
    });
  });
}

/**
 * Whether a table's tracking ended since the last walk began, by a trace's service or to make room: tables
 * that the walk met may have lost their marks then.
 */
export function walkOvertaken(): Expression<"i32"> {
  return i32.ne(control32("walkEpoch"), control32("flushEpoch"));
}

/** Writes a TLB entry of the current element, unless the walk that it comes from was overtaken. */
export function emitFill(
  code: MmuCode,
  f: FunctionBuilder,
  kind: 0 | 1 | 2,
  address: Local<"i64">,
  addend: Expression<"i32">,
  page: Expression<"i32">,
): void {
  f.if(i32.eqz(walkOvertaken()), () => {
    const entry = f.let(
      i32.add(i32.load(0, controlAddress("element")), entryOffset(f, code.plan, address)),
    );
    f.store64(entry, tlbOffset(code, kind), i64.and(address, -4096));
    emitNoteHolder(code, f, address);
    f.store32(entry, tlbOffset(code, kind) + 8, addend);
    f.store32(entry, tlbOffset(code, kind) + 12, page);
    countLevel(f);
  });
}

/** Notes that the current element may hold entries of a virtual page. */
export function emitNoteHolder(code: MmuCode, f: FunctionBuilder, address: Local<"i64">): void {
  const mask = f.let(elementsOf(address));
  const own = i64.shl(1, i64.extendI32U(control32("elementIndex")));
  const before = i64.load(mask, code.plan.pageElements);
  f.store64(mask, code.plan.pageElements, i64.or(before, own));
  setControl32(f, "elementUsed", 1);
}

/** Counts a fill at the level of its leaf: 0 without translation, 1 for 4 KiB pages, and so on. */
function countLevel(f: FunctionBuilder): void {
  const level = i32.divU(i32.sub(control32("walkLevel"), 3), 9);
  const at = f.let(i32.select(control32("walkLevel"), i32.shl(level, 3), 0));
  const counter = controlAddress("statFillsByLevel");
  f.store64(at, counter, i64.add(i64.load(at, counter), 1));
}

/** Notes where a page is going to be in the write TLB of the current element: see MemoryPlan.pageWritable. */
export function emitNoteWritable(
  code: MmuCode,
  f: FunctionBuilder,
  page: Expression<"i32">,
  address: Expression<"i64">,
): void {
  const known = f.let(i32.shl(page, 3));
  const before = f.let(i64.load(known, code.plan.pageWritable));
  const now = f.let(i64.or(i64.and(address, -4096), WRITABLE_AT_ONE));
  f.if(i64.ne(before, now), () => {
    const several = i64.const(BigInt(WRITABLE_AT_SEVERAL));
    const nowhere = i64.eqz(i64.and(before, ~BigInt(WRITABLE_BEFORE)));
    f.store64(known, code.plan.pageWritable, i64.select(nowhere, now, several));
  });
}

/** Calls `translate` and leaves through `onFault` when it faulted; gives the guest-physical address. */
export function emitTranslate(
  code: MmuCode,
  f: FunctionBuilder,
  address: Expression<"i64">,
  access: number,
  size: Expression<"i32"> | number,
  onFault: () => void,
): Local<"i64"> {
  emitTrackerLimit(code, f);
  const gpa = f.let(call(code.functions.translate, address, access, size));
  f.if(control32("faultCause"), onFault, undefined, "unlikely");
  return gpa;
}
