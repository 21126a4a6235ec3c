/**
 * The block of VM memory through which TypeScript and generated code talk while a slice runs: budget,
 * requests to stop, faults on their way to a trap, the current cache element, and the machine's clock.
 *
 * Invariant: between slices only the fields named in CLOCK_FIELDS (machine/clock.ts) carry machine state; the
 * rest is derived, empty, or about how a machine is observed (counters, the nondeterminism buffer).
 */
import { fieldTable } from "./field_table.ts";

/** Bits that tell which virtual pages have points. */
export const POINT_PAGES = 2048;

/** Bits of the field `observedTraps`. */
export const TRAPS_OBSERVED = { exceptions: 1, interrupts: 2 } as const;

/** The fields of the control block. */
export const CONTROL = fieldTable({
  /** Instructions the current run may still execute, but for those in `budgetAside`. */
  budget: [8, 1],
  /** Machine icount at which both reach zero: icount = runEnd - budget - budgetAside. */
  runEnd: [8, 1],
  /** Budget kept aside so that the run looks up after the instruction under way. */
  budgetAside: [8, 1],
  /** Guest time at `timeAnchorIcount`, in ticks of 100 ns. */
  timeAnchorTicks: [8, 1],
  timeAnchorIcount: [8, 1],
  /** Ticks per instruction as a fixed-point number with 24 fraction bits. */
  timeRate: [8, 1],
  /** Address and cause of a fault on its way to a trap; the cause is 0 when there is none, see ABANDONED. */
  faultValue: [8, 1],
  /** Virtual address of the walk under way, for its faults. */
  walkAddress: [8, 1],
  /** Where the interpreter's writes to x0 go; never read, so no state of a hart. */
  sink: [8, 1],
  /** Value of a store that a trace is asked about. */
  storeValue: [8, 1],
  faultCause: [4, 1],
  /** Not zero: leave the run after the instruction under way. */
  attention: [4, 1],
  /** Set by the bus when no device answers. */
  busError: [4, 1],
  /** Address of the current cache element's tables. */
  element: [4, 1],
  /** Index of the current cache element. */
  elementIndex: [4, 1],
  /** 1 when the current element received entries since it was last emptied. */
  elementUsed: [4, 1],
  /** 1 when page caches may hold what the current element does not any more: empty them before a region. */
  pageCachesStale: [4, 1],
  /** Counts element uses, for least-recently-used eviction. */
  elementStamp: [8, 1],
  /** Counts how often all caches were emptied; wraps. */
  flushEpoch: [4, 1],
  /** `flushEpoch` when the last walk began: what a later flush has overtaken must not be cached. */
  walkEpoch: [4, 1],
  /** Table pages that are tracked; trackers that were ever used; first free one plus one. */
  tablePages: [4, 1],
  trackersUsed: [4, 1],
  trackerFree: [4, 1],
  /** 1 when supervisor ecalls go to the built-in firmware. */
  builtinFirmware: [4, 1],
  /** Result of a walk: level of the leaf, and the leaf PTE. */
  walkLevel: [4, 1],
  /** 1 while a walk must not be seen: see peek.ts. */
  walkPeeks: [4, 1],
  /** 1 when the whole page of the last PMP check has one answer. */
  pmpUniform: [4, 1],
  walkPte: [8, 1],
  /** Entries into regions from the interpreter. */
  statRegionEntries: [8, 1],
  /** Regions left for an instruction of the interpreter, and for attention. */
  statRegionSteps: [8, 1],
  statRegionChecks: [8, 1],
  /** Instructions left over when a region was entered minus when it was left. */
  statRegionInstructions: [8, 1],
  /** Counters, never observed by the guest. */
  statFillsRead: [8, 1],
  statFillsWrite: [8, 1],
  statFillsFetch: [8, 1],
  statSlowLoads: [8, 1],
  statSlowStores: [8, 1],
  statWalks: [8, 1],
  statFlushes: [8, 1],
  /** Times that the jump caches of all elements were emptied. */
  statJumpDrops: [8, 1],
  /** Table entries that changed and took just their own translations with them. */
  statEntryDrops: [8, 1],
  /** Of those, the ones that nothing depended on any more. */
  statFalseDrops: [8, 1],
  /** Valid table entries that changed without having led to anything cached. */
  statUnusedEdits: [8, 1],
  /** TLB and jump-cache entries that went with table entries; a whole element counts as one. */
  statDependentsDropped: [8, 1],
  /** Drops of all that lay in a range, for an entry above the leaf or a page that is no table any more. */
  statRangeDrops: [8, 1],
  statTablesTracked: [8, 1],
  statTablesEnded: [8, 1],
  statElementEvictions: [8, 1],
  /** Fills by the level of their leaf: 0 without translation, 1 for 4 KiB pages, 2 for 2 MiB, and so on. */
  statFillsByLevel: [8, 6],
  statElementSwitches: [8, 1],
  statElementHits: [8, 1],
  statTableWrites: [8, 1],
  statCodeWrites: [8, 1],
  statInterrupts: [8, 64],
  statExceptions: [8, 64],
  /** One bit for each virtual page modulo POINT_PAGES: 1 when points may lie there (cpu/points.ts). */
  pointPages: [4, POINT_PAGES / 32],
  /** Not zero: markers of replay-only code ask before they are executed (isa/marker.ts). */
  markers: [4, 1],
  /** Not zero: no interrupt is taken; a hart that waits for one still wakes. */
  holdInterrupts: [4, 1],
  /** Which traps are told before they are taken: TRAPS_OBSERVED. */
  observedTraps: [4, 1],
  /** Traces that the first write of a page ends, of those in FIRST_WRITE_TRACES: see page_flags.ts. */
  firstWriteTraces: [4, 1],
  /** Elements with an older stamp have had no write entries since all of these were dropped. */
  writesDropped: [8, 1],
  /** With an exact clock: the last time that a hart read; time never goes back behind it. */
  timeFloor: [8, 1],
  /** One of NONDET_MODE; entries of the nondeterminism buffer in use, see nondet_buffer.ts. */
  nondetMode: [4, 1],
  nondetNext: [4, 1],
  nondetEnd: [4, 1],
  /** Entries put into the nondeterminism buffer, or taken from it. */
  statNondetEntries: [8, 1],
  /** Times that it was handed over full, filled again, and handed over partly filled. */
  statNondetFull: [8, 1],
  statNondetRefills: [8, 1],
  statNondetFlushes: [8, 1],
});

/** Bytes reserved for the control block. */
export const CONTROL_BLOCK_BYTES = 4096;
