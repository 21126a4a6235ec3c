/**
 * The page-table tracker (S12.4 to S12.8, S21.1 to S21.9): for each table page that a walk met, which of
 * its slots led to cached translations and which cache elements hold them. Generates the functions that
 * mark table pages, and that drop what depended on an entry when a store changes it.
 *
 * Invariants: a page is marked before an entry of it is read, and while it is, each store to it comes here
 * before the next instruction; a slot whose bit is clear, and a page without a tracker, has no dependent in
 * any element. When tracking ends is never visible to the guest: whatever depended on the page goes first.
 */
import { control32, control64, count, setControl32 } from "../memory/block_access.ts";
import { TRACKER_BYTES, TRACKER_SLOTS_OFFSET, TRACKERS } from "../memory/memory_plan.ts";
import { PAGE_FLAG } from "../memory/page_flags.ts";
import { type Expression, type FunctionBuilder, i32, i64, type Local } from "../wasm/mod.ts";
import { ATTENTION, inRam, type MmuCode, pageOf, raiseAttention } from "./mmu_code.ts";
import { PPN_MASK, PTE, PTE_PPN_SHIFT } from "./pte.ts";

/** Offsets in a tracker; its bits of used slots lie behind them. */
const TRACKER = { page: 0, stores: 4, place: 8, dependents: 16, nextFree: 24 } as const;
const FREE = -1;

/**
 * Where a table page lies in the tree: virtual address of its first entry | log2 of what an entry covers;
 * of a root, whose first entry has address 0, this bit. A page met at several places has `SEVERAL`.
 */
const ROOT = 1 << 11;
const SHIFT_MASK = 0xff;
const PLACE_MASK = 0xfff;
const SEVERAL = -1;

/** So many stores without a walk in between, and the page holds data, not tables. */
const STORES_OF_DATA = 128;

/** Generates the functions of this file. */
export function emitTableTracker(code: MmuCode): void {
  emitMarkTable(code);
  emitDropEntry(code);
  emitDropTable(code);
  emitForgetElement(code);
  emitForgetTables(code);
}

/** Place in the tree of the table met at a level of a walk: see `ROOT`. */
export function placeOfTable(
  address: Expression<"i64">,
  shift: Expression<"i64">,
  isRoot: Expression<"i32">,
): Expression<"i64"> {
  const first = i64.and(address, i64.shl(-1, i64.add(shift, 9)));
  return i64.or(shift, i64.select(isRoot, i64.const(BigInt(ROOT)), first));
}

/** Notes that a walk goes through a slot of a tracked table, so that the element under way depends on it. */
export function emitUseSlot(
  f: FunctionBuilder,
  tracker: Expression<"i32">,
  slot: Expression<"i32">,
): void {
  const at = f.let(i32.add(tracker, i32.shrU(slot, 3)));
  const bit = i32.shl(1, i32.and(slot, 7));
  f.store8(at, TRACKER_SLOTS_OFFSET, i32.or(i32.load8U(at, TRACKER_SLOTS_OFFSET), bit));
}

const trackerAt = (code: MmuCode, index: Expression<"i32">) =>
  i32.add(code.plan.trackers, i32.mul(index, TRACKER_BYTES));

/** The tracker of a page that has the table flag. */
const trackerOf = (code: MmuCode, page: Expression<"i32">) =>
  trackerAt(code, i32.load16U(i32.shl(page, 1), code.plan.trackerIndex));

const isTable = (code: MmuCode, page: Expression<"i32">) =>
  i32.and(i32.load8U(page, code.plan.pageFlags), PAGE_FLAG.table);

/** (page, place in the tree) → its tracker. A walk marks at most five pages; there is room for them. */
function emitMarkTable(code: MmuCode): void {
  code.module.define(code.functions.markTable, (f) => {
    const [page, place] = f.parameters;
    const tracker = f.local("i32");
    const own = i64.shl(1, i64.extendI32U(control32("elementIndex")));
    f.if(
      isTable(code, page),
      () => {
        f.set(tracker, trackerOf(code, page));
        f.if(i64.ne(i64.load(tracker, TRACKER.place), place), () => {
          f.store64(tracker, TRACKER.place, SEVERAL);
        });
      },
      () => emitNewTracker(code, f, { page, place, tracker }),
      "likely",
    );
    f.store32(tracker, TRACKER.stores, 0);
    const dependents = i64.load(tracker, TRACKER.dependents);
    f.store64(tracker, TRACKER.dependents, i64.or(dependents, own));
    f.return(tracker);
  });
}

function emitNewTracker(
  code: MmuCode,
  f: FunctionBuilder,
  { page, place, tracker }: {
    readonly page: Local<"i32">;
    readonly place: Local<"i64">;
    readonly tracker: Local<"i32">;
  },
): void {
  count(f, "statTablesTracked");
  const index = f.let(i32.sub(control32("trackerFree"), 1));
  f.if(i32.geS(index, 0), () => {
    setControl32(f, "trackerFree", i32.load(trackerAt(code, index), TRACKER.nextFree));
  }, () => {
    f.set(index, control32("trackersUsed"));
    setControl32(f, "trackersUsed", i32.add(index, 1));
  });
  f.set(tracker, trackerAt(code, index));
  f.fill(tracker, 0, TRACKER_BYTES);
  f.store32(tracker, TRACKER.page, page);
  f.store64(tracker, TRACKER.place, place);
  f.store16(i32.shl(page, 1), code.plan.trackerIndex, index);
  setControl32(f, "tablePages", i32.add(control32("tablePages"), 1));
  const flags = i32.load8U(page, code.plan.pageFlags);
  f.store8(page, code.plan.pageFlags, i32.or(flags, PAGE_FLAG.table));
  f.call(code.functions.dropWrites, page);
}

/** Ends the tracking of a page that nothing depends on. */
function emitForget(code: MmuCode, f: FunctionBuilder, tracker: Local<"i32">): void {
  const page = f.let(i32.load(tracker, TRACKER.page));
  const flags = i32.and(i32.load8U(page, code.plan.pageFlags), 0xff & ~PAGE_FLAG.table);
  f.store8(page, code.plan.pageFlags, flags);
  f.store32(tracker, TRACKER.page, FREE);
  f.store32(tracker, TRACKER.nextFree, control32("trackerFree"));
  const index = i32.load16U(i32.shl(page, 1), code.plan.trackerIndex);
  setControl32(f, "trackerFree", i32.add(index, 1));
  setControl32(f, "tablePages", i32.sub(control32("tablePages"), 1));
  count(f, "statTablesEnded");
}

/**
 * A store changed a valid entry of a traced table (S21.3 to S21.5): drops what came from it, in every
 * element that depends on the table.
 */
function emitDropEntry(code: MmuCode): void {
  code.module.define(code.functions.dropEntry, (f) => {
    const [host, before] = f.parameters;
    const offset = f.let(i32.sub(host, code.plan.ram));
    const slot = f.let(i32.and(i32.shrU(offset, 3), 511));
    const tracker = f.let(trackerOf(code, i32.shrU(offset, 12)));
    const at = f.let(i32.add(tracker, i32.shrU(slot, 3)));
    const bits = f.let(i32.load8U(at, TRACKER_SLOTS_OFFSET));
    const bit = f.let(i32.shl(1, i32.and(slot, 7)));
    f.if(i32.eqz(i32.and(bits, bit)), () => {
      count(f, "statUnusedEdits");
      f.return();
    });
    f.store8(at, TRACKER_SLOTS_OFFSET, i32.xor(bits, bit));
    count(f, "statEntryDrops");
    setControl32(f, "pageCachesStale", 1);
    const dropped = f.let(control64("statDependentsDropped"));
    emitDropSlot(code, f, { tracker, slot, before });
    f.if(i64.eq(dropped, control64("statDependentsDropped")), () => count(f, "statFalseDrops"));
    // The page of the instruction under way may be mapped otherwise now, cached or not.
    raiseAttention(f, ATTENTION.refetch);
  });
}

interface ChangedSlot {
  readonly tracker: Local<"i32">;
  readonly slot: Local<"i32">;
  /** The entry as it was. */
  readonly before: Local<"i64">;
}

function emitDropSlot(code: MmuCode, f: FunctionBuilder, changed: ChangedSlot): void {
  const { tracker, slot, before } = changed;
  const place = f.let(i64.load(tracker, TRACKER.place));
  const dependents = f.let(i64.load(tracker, TRACKER.dependents));
  f.if(i64.eq(place, SEVERAL), () => f.call(code.functions.dropElements, dependents), () => {
    const shift = f.let(i64.and(place, SHIFT_MASK));
    const below = i64.shl(i64.extendI32U(slot), shift);
    const address = f.let(i64.add(i64.and(place, ~BigInt(PLACE_MASK)), below));
    f.if(i64.ne(i64.and(place, ROOT), 0), () => {
      // The upper half of what a root maps lies at the end of the 64-bit space.
      const unused = f.let(i64.sub(55, shift));
      f.set(address, i64.shrS(i64.shl(address, unused), unused));
    });
    const gpa = f.let(i64.shl(i64.and(i64.shrU(before, PTE_PPN_SHIFT), PPN_MASK), 12));
    const isLeaf = i32.or(
      i64.eq(shift, 12),
      i64.ne(i64.and(before, PTE.R | PTE.W | PTE.X), 0),
    );
    f.if(i64.eq(shift, 12), () => {
      f.call(code.functions.dropPage, address, dependents, gpa);
    }, () => {
      f.if(isLeaf, () => f.call(code.functions.dropRange, address, shift, dependents), () => {
        emitDropBelow(code, f, { address, shift, dependents, gpa });
      });
    });
  });
}

/** An entry no longer leads to the table at `gpa`: what came through both goes. */
function emitDropBelow(
  code: MmuCode,
  f: FunctionBuilder,
  { address, shift, dependents, gpa }: {
    readonly address: Local<"i64">;
    readonly shift: Local<"i64">;
    readonly dependents: Local<"i64">;
    readonly gpa: Local<"i64">;
  },
): void {
  f.block((done) => {
    // What was below a table that is no longer tracked went when its tracking ended.
    f.brIf(done, i32.eqz(inRam(code.plan, gpa)));
    const below = f.let(pageOf(code.plan, gpa));
    f.brIf(done, i32.eqz(isTable(code, below)));
    const tracker = f.let(trackerOf(code, below));
    f.if(hasUsedSlots(f, tracker), () => {
      f.call(code.functions.dropRange, address, shift, dependents);
    });
    const place = i64.or(address, i64.sub(shift, 9));
    f.brIf(done, i64.ne(i64.load(tracker, TRACKER.place), place));
    const others = i64.xor(dependents, -1);
    const left = f.let(i64.and(i64.load(tracker, TRACKER.dependents), others));
    f.store64(tracker, TRACKER.dependents, left);
    f.if(i64.eqz(left), () => emitForget(code, f, tracker));
  });
}

function hasUsedSlots(f: FunctionBuilder, tracker: Local<"i32">): Expression<"i32"> {
  const used = f.let(i64.load(tracker, TRACKER_SLOTS_OFFSET));
  for (let byte = 8; byte < 64; byte += 8) {
    f.set(used, i64.or(used, i64.load(tracker, TRACKER_SLOTS_OFFSET + byte)));
  }
  return i32.eqz(i64.eqz(used));
}

/** Ends the tracking of a table page, and drops what depended on it: it holds data, or DMA wrote to it. */
function emitDropTable(code: MmuCode): void {
  code.module.define(code.functions.dropTable, (f) => {
    const [page] = f.parameters;
    f.if(i32.eqz(isTable(code, page)), () => f.return());
    const tracker = f.let(trackerOf(code, page));
    f.if(hasUsedSlots(f, tracker), () => {
      const place = f.let(i64.load(tracker, TRACKER.place));
      const dependents = f.let(i64.load(tracker, TRACKER.dependents));
      const everywhere = i32.or(
        i64.eq(place, SEVERAL),
        i64.ne(i64.and(place, ROOT), 0),
      );
      f.if(everywhere, () => f.call(code.functions.dropElements, dependents), () => {
        const first = i64.and(place, ~BigInt(PLACE_MASK));
        const shift = i64.add(i64.and(place, SHIFT_MASK), 9);
        f.call(code.functions.dropRange, first, shift, dependents);
      });
    });
    emitForget(code, f, tracker);
    setControl32(f, "pageCachesStale", 1);
    // A walk that has met the page must not be cached.
    setControl32(f, "flushEpoch", i32.add(control32("flushEpoch"), 1));
    raiseAttention(f, ATTENTION.refetch);
  }, true);
}

/** After a store to a tracked page: one that is stored to over and over, and never walked, is no table. */
export function emitCountStore(code: MmuCode, f: FunctionBuilder, page: Local<"i32">): void {
  f.if(isTable(code, page), () => {
    const tracker = f.let(trackerOf(code, page));
    const stores = f.let(i32.add(i32.load(tracker, TRACKER.stores), 1));
    f.store32(tracker, TRACKER.stores, stores);
    f.if(
      i32.geU(stores, STORES_OF_DATA),
      () => f.call(code.functions.dropTable, page),
      undefined,
      "unlikely",
    );
  });
}

/** Runs `body` for each tracker that is in use; `body` may end it. */
function forEachTracker(
  code: MmuCode,
  f: FunctionBuilder,
  body: (tracker: Local<"i32">) => void,
): void {
  const tracker = f.let(i32.const(code.plan.trackers));
  const end = f.let(trackerAt(code, control32("trackersUsed")));
  f.block((done) => {
    f.loop((next) => {
      f.brIf(done, i32.geU(tracker, end));
      f.if(i32.ne(i32.load(tracker, TRACKER.page), FREE), () => body(tracker));
      f.set(tracker, i32.add(tracker, TRACKER_BYTES));
      f.br(next);
    });
  });
}

/** An element is given to another address space: its bits go (S12.8), and tables that only it knew. */
function emitForgetElement(code: MmuCode): void {
  code.module.define(code.functions.forgetElement, (f) => {
    const [index] = f.parameters;
    const others = f.let(i64.xor(i64.shl(1, i64.extendI32U(index)), -1));
    forEachTracker(code, f, (tracker) => {
      const left = f.let(i64.and(i64.load(tracker, TRACKER.dependents), others));
      f.store64(tracker, TRACKER.dependents, left);
      f.if(i64.eqz(left), () => emitForget(code, f, tracker));
    });
  });
}

/** All caches were emptied: nothing depends on any table. */
function emitForgetTables(code: MmuCode): void {
  code.module.define(code.functions.forgetTables, (f) => {
    forEachTracker(code, f, (tracker) => emitForget(code, f, tracker));
    setControl32(f, "trackersUsed", 0);
    setControl32(f, "trackerFree", 0);
  });
}

/** Whether there might not be trackers enough for another walk. */
export function trackersAreShort(): Expression<"i32"> {
  return i32.gtU(control32("tablePages"), TRACKERS - 8);
}

/** Empties everything when there might not be trackers enough for another walk. */
export function emitTrackerLimit(code: MmuCode, f: FunctionBuilder): void {
  f.if(
    trackersAreShort(),
    () => f.call(code.functions.flushAll),
    undefined,
    "unlikely",
  );
}
