/**
 * Where everything lies in a VM's WebAssembly memory ("Guest RAM lies at a fixed offset", design.md).
 *
 *     0        null page: address 0 is never valid
 *     4 KiB    block of the current hart        HART_BLOCK
 *     8 KiB    control block                    CONTROL_BLOCK
 *     12 KiB   CSR index table                  CSR_INDEX
 *     16 KiB   home blocks of the harts, device state, cache elements, decoded pages, page flags,
 *              nondeterminism buffer
 *     ram      guest RAM: guest page n is frame n
 *
 * Invariant: areas do not overlap, and the guest's RAM starts at a multiple of 64 KiB.
 */
import { assert } from "../base/assert.ts";
import {
  CACHE_ELEMENTS_MAXIMUM,
  RAM_START,
  TLB_ENTRIES_MAXIMUM,
  TLB_ENTRIES_MINIMUM,
  WASM_PAGE_BYTES,
} from "../limits.ts";
import { CONTROL, CONTROL_BLOCK_BYTES } from "./control_layout.ts";
import { HART, HART_BLOCK_BYTES } from "./hart_layout.ts";
import { NONDET_ENTRY_BYTES } from "./nondet_buffer.ts";

/** Address of the block of the hart that is running. */
export const HART_BLOCK = 0x1000;
/** Address of the control block. */
export const CONTROL_BLOCK = 0x2000;
/** Address of the table that maps a CSR number to its case in generated code (one byte each). */
export const CSR_INDEX = 0x3000;
/** Instruction slots of a decoded page: one for each halfword, and two that mark its end. */
export const DECODED_SLOTS = 2050;
/** Bytes of a predecoded record. */
export const RECORD_BYTES = 16;
/** Bytes of a decoded page. */
export const DECODED_PAGE_BYTES = DECODED_SLOTS * RECORD_BYTES;
/** Bytes for the table that the generated decoder reads (cpu/decoder_table.ts). */
export const DECODER_TABLE_BYTES = 8192;
/** Instructions that may begin in a page: one at each halfword. */
export const PAGE_SLOTS = 2048;
/** Bytes of one TLB entry. */
export const TLB_ENTRY_BYTES = 16;
/** Masks of MemoryPlan.pageElements, a power of two. */
export const PAGE_ELEMENT_MASKS = 8192;
/** Page caches: two for each register. */
export const PAGE_CACHES = 64;
/** Bytes of a page cache: virtual page (i64, -1 when empty), addend (i32). */
export const PAGE_CACHE_BYTES = 16;
/** Entries of a cache element's jump cache, a power of two. */
export const JUMP_ENTRIES = 8192;
/** Bits that tell which virtual pages the jump cache of an element leads to. */
export const JUMP_PAGES = 2048;
/**
 * Bytes of a jump-cache entry: virtual address (i64, -1 when empty), table slot of the region (u32), entry
 * number (u16) and halfword of the entry in its region (u16).
 */
export const JUMP_ENTRY_BYTES = 16;
/** Counters of how often places were looked up that are no entry of a region, a power of two. */
export const HOT_COUNTERS = 8192;
/** Bytes of the marks of what was executed, a power of two (cpu/execution_marks.ts). */
export const EXECUTION_MARKS = 262144;
/** Bytes of a cache element's header in the directory. */
export const ELEMENT_HEADER_BYTES = 32;
/** Most page-table pages tracked at once; more empty all caches. */
export const TRACKERS = 8192;
/** Offset in a tracker of the bits of used slots, one for each entry of the table. */
export const TRACKER_SLOTS_OFFSET = 32;
/** Bytes of a tracker of a table page, see table_tracker.ts. */
export const TRACKER_BYTES = TRACKER_SLOTS_OFFSET + 512 / 8;

/** Most entries of the nondeterminism buffer: 16 MiB. */
const NONDET_ENTRIES_MAXIMUM = 1 << 20;

/** Sizes that a plan is made of. */
export interface MemoryPlanOptions {
  /** Bytes of guest RAM, a multiple of 4096. */
  readonly ramBytes: number;
  /** Number of harts, 1 to 8. */
  readonly harts: number;
  /** Bytes for the states of devices. */
  readonly deviceStateBytes: number;
  /** Entries of each TLB, a power of two from 16 to 4096. */
  readonly tlbEntries: number;
  /** Number of cache elements, 1 to 64. */
  readonly cacheElements: number;
  /** Number of decoded pages kept, at most 65534. */
  readonly decodedPages: number;
  /** Whether what is executed is marked; not by default. */
  readonly marksExecution?: boolean;
  /** Entries of the nondeterminism buffer; 0 where time is a function of icount alone (no exact clock). */
  readonly nondetEntries: number;
}

/** Addresses of all areas. */
export interface MemoryPlan extends MemoryPlanOptions {
  /** Home blocks of harts, HART_BLOCK_BYTES each. */
  readonly hartHomes: number;
  /** States of devices. */
  readonly deviceState: number;
  /** Directory of cache elements. */
  readonly elementDirectory: number;
  /** Tables of cache elements: read, write, fetch TLB each. */
  readonly elements: number;
  /** Bytes of one element's tables. */
  readonly elementBytes: number;
  /** Offset of the jump cache in an element's tables. */
  readonly jumpCache: number;
  /**
   * Offset in an element's tables of one bit for each virtual page modulo JUMP_PAGES: 0 when the jump cache
   * may lead to a region with code there.
   */
  readonly jumpPages: number;
  /**
   * Page caches of the region that runs: for each base register one for reads, one for writes. They lie
   * elsewhere in their page than a hart's registers do in theirs: hosts take a load for one of a store
   * under way when the low 12 bits of their addresses are the same, and wait.
   */
  readonly pageCaches: number;
  /** Heat of places, i32, see region_entry.ts. */
  readonly hotCounters: number;
  /** 1 for each guest page that holds code of a region. */
  readonly pageRegions: number;
  /** Trackers of page-table pages. */
  readonly trackers: number;
  /** Number of the tracker of each guest page that has the table flag, u16. */
  readonly trackerIndex: number;
  /** Decoded-page number plus one for each guest page, u16. */
  readonly decodedIndex: number;
  /** Guest page of each decoded page, u32. */
  readonly decodedOwner: number;
  /** The decoded pages. */
  readonly decoded: number;
  /** Records for an instruction that lies on two pages. */
  readonly straddle: number;
  /** The generated decoder's table. */
  readonly decoderTable: number;
  /** 1 for each halfword of a page at which instructions ask points first, on whatever page. */
  readonly pointSlots: number;
  /**
   * Which cache elements may hold entries of virtual pages with a hash (i64 bit masks): set by fills,
   * emptied with the elements.
   */
  readonly pageElements: number;
  /** Trace flags, one byte for each guest page. */
  readonly pageFlags: number;
  /**
   * Where each guest page may be in write TLBs (i64): at no virtual page (0 it never was, 4 it was), 2 at
   * several, else the one virtual page with bit 0 set.
   */
  readonly pageWritable: number;
  /** Marks of what was executed, or 0 without them. */
  readonly executionMarks: number;
  /** The nondeterminism buffer, see nondet_buffer.ts. */
  readonly nondetBuffer: number;
  /** Guest RAM. */
  readonly ram: number;
  /** Guest pages. */
  readonly ramPages: number;
  /** Guest-physical address of RAM. */
  readonly ramStart: number;
  /** Size of the memory in 64 KiB pages. */
  readonly wasmPages: number;
}

/** Lays out a VM's memory. Throws `Broken` when sizes are out of range: the caller has checked them. */
export function planMemory(options: MemoryPlanOptions): MemoryPlan {
  const { ramBytes, harts, tlbEntries, cacheElements, decodedPages, nondetEntries } = options;
  assert(HART.byteLength <= HART_BLOCK_BYTES && CONTROL.byteLength <= CONTROL_BLOCK_BYTES);
  assert(ramBytes > 0 && ramBytes % 4096 === 0, "RAM is whole pages");
  assert(harts >= 1 && harts <= 8, "1 to 8 harts");
  assert(tlbEntries >= TLB_ENTRIES_MINIMUM && tlbEntries <= TLB_ENTRIES_MAXIMUM);
  assert((tlbEntries & tlbEntries - 1) === 0, "TLBs are indexed by bits");
  assert(cacheElements >= 1 && cacheElements <= CACHE_ELEMENTS_MAXIMUM);
  assert(decodedPages >= 2 && decodedPages < 65535);
  assert(nondetEntries >= 0 && nondetEntries <= NONDET_ENTRIES_MAXIMUM);
  let next = 0x4000;
  const area = (bytes: number, alignment = 64) => {
    const start = Math.ceil(next / alignment) * alignment;
    next = start + bytes;
    return start;
  };
  const ramPages = ramBytes / 4096;
  const jumpCache = 3 * tlbEntries * TLB_ENTRY_BYTES;
  const jumpPages = jumpCache + JUMP_ENTRIES * JUMP_ENTRY_BYTES;
  const elementBytes = jumpPages + JUMP_PAGES / 8;
  const plan = {
    hartHomes: area(harts * HART_BLOCK_BYTES, 4096),
    deviceState: area(options.deviceStateBytes, 4096),
    elementDirectory: area(cacheElements * ELEMENT_HEADER_BYTES),
    elements: area(cacheElements * elementBytes, 4096),
    elementBytes,
    pageCaches: area(4096, 4096) + 4096 - PAGE_CACHES * PAGE_CACHE_BYTES,
    jumpCache,
    jumpPages,
    // One more for what is nobody's.
    hotCounters: area((HOT_COUNTERS + 1) * 4),
    pageRegions: area(ramPages),
    trackers: area(TRACKERS * TRACKER_BYTES),
    trackerIndex: area(ramPages * 2),
    decodedIndex: area(ramPages * 2),
    decodedOwner: area(decodedPages * 4),
    straddle: area(4 * RECORD_BYTES),
    decoderTable: area(DECODER_TABLE_BYTES),
    pointSlots: area(PAGE_SLOTS),
    pageElements: area(PAGE_ELEMENT_MASKS * 8),
    pageFlags: area(ramPages),
    pageWritable: area(ramPages * 8),
    decoded: area(decodedPages * DECODED_PAGE_BYTES, 4096),
    executionMarks: options.marksExecution ? area(EXECUTION_MARKS) : 0,
    nondetBuffer: area(nondetEntries * NONDET_ENTRY_BYTES),
    ram: area(ramBytes, WASM_PAGE_BYTES),
  };
  return {
    ...options,
    ...plan,
    ramPages,
    ramStart: RAM_START,
    wasmPages: Math.ceil(next / WASM_PAGE_BYTES),
  };
}

/** A VM's memory, all zeros. Throws RangeError when the host cannot give that much. */
export function newMemory(plan: MemoryPlan): WebAssembly.Memory {
  const { wasmPages } = plan;
  return new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
}
