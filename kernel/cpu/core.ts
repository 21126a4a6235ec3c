/**
 * The core of a VM: its WebAssembly memory with the generated hart in it, and what TypeScript needs to
 * run and inspect it. Everything a guest instruction can do without a device happens in here.
 *
 * Invariant: the block at HART_BLOCK belongs to the hart made current by `switchTo`; the others lie in
 * their homes. `run` is never re-entered.
 */
import { assert } from "../base/assert.ts";
import { CONTROL } from "../memory/control_layout.ts";
import { WASM_PAGE_BYTES } from "../limits.ts";
import { HART, HART_BLOCK_BYTES, MENVCFG_ADUE, PRIVILEGE } from "../memory/hart_layout.ts";
import {
  CONTROL_BLOCK,
  HART_BLOCK,
  type MemoryPlan,
  type MemoryPlanOptions,
  newMemory,
  planMemory,
} from "../memory/memory_plan.ts";
import { PageFlags } from "../memory/page_flags.ts";
import { PageHash } from "../memory/page_hash.ts";
import { TRACE_KIND, TRACE_KINDS } from "../mmu/mmu_code.ts";
import { forgetWritable } from "../mmu/tlb_place.ts";
import { DecodedPages } from "./decoded_pages.ts";
import { Points } from "./points.ts";

/** mstatus.UXL and SXL: both 64 bits, for good. */
const XLEN_64 = 2n;

/** What the board offers to loads and stores outside RAM. */
export interface Bus {
  /** Reads 1, 2 or 4 bytes; undefined when nothing is there. */
  read(address: number, size: number): number | undefined;
  /** Writes 1, 2 or 4 bytes; false when nothing is there. */
  write(address: number, size: number, value: number): boolean;
}

/** What the translator tier does for the run. */
export interface RegionService {
  /** The place at the hart's pc is hot: 1 when the jump cache now leads to a region there. */
  hotPlace(): number;
  /** Bytes of a guest page that holds code of regions are written. */
  regionWritten(page: number, offset: number, size: number): void;
}

/**
 * Told of a trap before it is taken: its code, whether it is an interrupt, and the trap value. The hart's pc,
 * privilege and CSRs are still those before it. It changes nothing.
 */
export type TrapObserver = (code: number, isInterrupt: boolean, value: bigint) => void;

/** What the tier `check` does around each region. */
export interface RegionCheck {
  /** A region is about to run at the hart's pc. */
  begin(): void;
  /** It has run: its slot, its packed entry and its REGION_END. Throws when the interpreter disagrees. */
  end(slot: number, entry: number, end: number): void;
  /** A store is about to happen: host address, bytes, and the value's words. */
  store(host: number, size: number, low: number, high: number): void;
}

/** Where results come from that no count of instructions determines. */
export interface NondetService {
  /** The host's time in guest ticks; only asked with an exact clock. */
  hostTicks(): number;
  /** 16 bits of entropy. */
  entropy16(): number;
  /** The nondeterminism buffer is full, or has no entry of this kind next: see ExactCode. */
  exchange(kind: number): number;
}

/** Functions of the generated module. */
export interface CoreExports {
  run(): number;
  /** The same without regions, its stores written down; only in the tier `check`. */
  runPlainly?(): number;
  flushAll(): void;
  /** Guest page that a fetch from the address (two words) would come from, or -1; see mmu/peek.ts. */
  peekFetch(low: number, high: number): number;
  dropWrites(page: number): void;
  dropAllWrites(): void;
  /** (flags that stay, flags that come, of eight pages each); see mmu_code.ts. */
  sweepFlags(stay: bigint, come: bigint): void;
  dropReads(page: number): void;
  dropJumps(): void;
  dmaWrote(gpa: bigint, size: number): void;
  translate(address: bigint, access: number, size: number): bigint;
  csrRead(number: number, writes: number): bigint;
  csrWrite(number: number, value: bigint): void;
  selectElement(): void;
  takeInterrupt(): void;
  trap(cause: bigint, value: bigint): void;
  loadSlow(address: bigint, size: number): bigint;
  storeSlow(address: bigint, size: number, value: bigint): void;
  pmpCheck(address: bigint, size: number, permission: number, privilege: number): number;
}

/** The bits of a bus access: a device is not trusted to answer with no more than it was asked for. */
function sizeMask(size: number): number {
  return size === 4 ? 0xffffffff : (1 << size * 8) - 1;
}

/** One VM's memory and harts. */
export class Core {
  readonly plan: MemoryPlan;
  readonly memory: WebAssembly.Memory;
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly longs: BigUint64Array;
  readonly flags: PageFlags;
  readonly decodedPages: DecodedPages;
  readonly exports: CoreExports;
  /** The functions that modules of regions import. */
  readonly functions: WebAssembly.ModuleImports;
  /** The functions of regions; imported by every module of the translator tier. */
  readonly table = new WebAssembly.Table({ initial: 64, element: "anyfunc" });
  /** Who makes regions; nobody by default. */
  regions: RegionService = { hotPlace: () => 0, regionWritten: () => {} };
  /** Where results come from that no count of instructions determines; all zero by default. */
  nondeterminism: NondetService = { hostTicks: () => 0, entropy16: () => 0, exchange: () => 0 };
  /** Who checks regions, in a core that was made for it. */
  check: RegionCheck = { begin: () => {}, end: () => {}, store: () => {} };
  /** Where instructions ask before they are executed. */
  readonly points: Points;
  /** Who is told of the traps that the control word `observedTraps` names. */
  trapObserver: TrapObserver = () => {};
  #current = 0;
  #hash: PageHash | undefined;

  /**
   * @param options sizes
   * @param bus the board
   * @param code gives the module that `generateCore` (core_code.ts) makes for the plan, compiled
   * @param memory made for this plan by `newMemory`, zeros outside RAM; its own without it
   * Throws RangeError when the host cannot give that much memory.
   */
  constructor(
    options: MemoryPlanOptions,
    bus: Bus,
    code: (plan: MemoryPlan) => WebAssembly.Module,
    memory?: WebAssembly.Memory,
  ) {
    const plan = this.plan = planMemory(options);
    this.memory = memory ?? newMemory(plan);
    const bytes = this.memory.buffer.byteLength;
    assert(
      bytes === plan.wasmPages * WASM_PAGE_BYTES,
      `a memory of ${bytes} bytes is not the plan's`,
    );
    assert(this.memory.buffer instanceof SharedArrayBuffer, "a VM's memory is shared");
    this.buffer = this.memory.buffer as unknown as SharedArrayBuffer;
    this.bytes = new Uint8Array(this.buffer);
    this.words = new Int32Array(this.buffer, 0, plan.ram >> 2);
    this.longs = new BigUint64Array(this.buffer, 0, plan.ram >> 3);
    this.flags = new PageFlags(this.buffer, plan);
    this.decodedPages = new DecodedPages(this.buffer, plan, this.flags, () => {
      this.exports.flushAll();
    });
    this.points = new Points(this);
    const imports = { ...this.#imports(bus), ...this.#checkImports() };
    const env = { memory: this.memory, table: this.table, ...imports };
    const { exports } = new WebAssembly.Instance(code(plan), { env });
    this.functions = { ...exports as WebAssembly.ModuleImports, logStore: imports.logStore };
    this.exports = exports as unknown as CoreExports;
    const { dropReads, dropWrites, dropAllWrites, flushAll, sweepFlags } = this.exports;
    this.flags.attachDropper({
      dropReads,
      dropWrites,
      dropAllWrites,
      dropAll: flushAll,
      sweep: sweepFlags,
      dropManyWrites: (pages) => {
        dropAllWrites();
        forgetWritable(this.buffer, plan, pages);
      },
    });
    this.setControlWord("element", plan.elements);
    this.setControlWord("pageCachesStale", 1);
    for (let i = 0; i < options.harts; i++) this.resetHart(i);
  }

  /** Hashes of this memory; made when it is first wanted. */
  get hash(): PageHash {
    return this.#hash ??= new PageHash(this.memory, this.plan, this.flags);
  }

  /** Number of the hart whose block is current. */
  get current(): number {
    return this.#current;
  }

  /** Makes a hart current: its block moves to the fixed address. Its reservation is lost. */
  switchTo(hart: number): void {
    if (hart === this.#current) return;
    const home = (index: number) => this.plan.hartHomes + index * HART_BLOCK_BYTES;
    this.bytes.copyWithin(home(this.#current), HART_BLOCK, HART_BLOCK + HART.byteLength);
    this.bytes.copyWithin(HART_BLOCK, home(hart), home(hart) + HART.byteLength);
    this.words[HART_BLOCK + HART.offset.reservation >> 2] = 0;
    this.#current = hart;
  }

  /** Copies of the blocks of all harts, in their order. */
  saveHarts(): Uint8Array<ArrayBuffer> {
    const bytes = HART.byteLength;
    const blocks = new Uint8Array(this.plan.harts * bytes);
    for (let hart = 0; hart < this.plan.harts; hart++) {
      const block = this.hartBlock(hart);
      blocks.set(this.bytes.subarray(block, block + bytes), hart * bytes);
    }
    return blocks;
  }

  /** Puts back what `saveHarts` gave, with a hart as the current one. Cached translations are the caller's. */
  restoreHarts(blocks: Uint8Array, current: number): void {
    const bytes = HART.byteLength;
    assert(blocks.length === this.plan.harts * bytes && current < this.plan.harts);
    this.#current = current;
    for (let hart = 0; hart < this.plan.harts; hart++) {
      this.bytes.set(blocks.subarray(hart * bytes, (hart + 1) * bytes), this.hartBlock(hart));
    }
  }

  /** Address of a hart's block, wherever it lies now. */
  hartBlock(hart: number): number {
    return hart === this.#current ? HART_BLOCK : this.plan.hartHomes + hart * HART_BLOCK_BYTES;
  }

  /** Reads a 64-bit register of a hart. */
  register(hart: number, field: keyof typeof HART.fields, index = 0): bigint {
    return this.longs[(this.hartBlock(hart) + HART.offset[field] >> 3) + index]!;
  }

  /** Writes a 64-bit register of a hart. */
  setRegister(hart: number, field: keyof typeof HART.fields, value: bigint, index = 0): void {
    assert(HART.fields[field][0] === 8);
    this.longs[(this.hartBlock(hart) + HART.offset[field] >> 3) + index] = value;
  }

  /** Reads a 32-bit field of a hart. */
  word(hart: number, field: keyof typeof HART.fields): number {
    return this.words[this.hartBlock(hart) + HART.offset[field] >> 2]!;
  }

  /** Writes a 32-bit field of a hart. */
  setWord(hart: number, field: keyof typeof HART.fields, value: number): void {
    assert(HART.fields[field][0] === 4);
    this.words[this.hartBlock(hart) + HART.offset[field] >> 2] = value;
  }

  /** Reads a 64-bit field of the control block. */
  control(field: keyof typeof CONTROL.fields, index = 0): bigint {
    return this.longs[(CONTROL_BLOCK + CONTROL.offset[field] >> 3) + index]!;
  }

  /** Writes a 64-bit field of the control block. */
  setControl(field: keyof typeof CONTROL.fields, value: bigint): void {
    assert(CONTROL.fields[field][0] === 8);
    this.longs[CONTROL_BLOCK + CONTROL.offset[field] >> 3] = value;
  }

  /** Reads a 32-bit field of the control block. */
  controlWord(field: keyof typeof CONTROL.fields): number {
    return this.words[CONTROL_BLOCK + CONTROL.offset[field] >> 2]!;
  }

  /** Writes a 32-bit field of the control block. */
  setControlWord(field: keyof typeof CONTROL.fields, value: number): void {
    assert(CONTROL.fields[field][0] === 4);
    this.words[CONTROL_BLOCK + CONTROL.offset[field] >> 2] = value;
  }

  /** Notes whether points lie on the virtual pages with a number modulo POINT_PAGES. */
  setPointPage(bit: number, any: boolean): void {
    const at = CONTROL_BLOCK + CONTROL.offset.pointPages + (bit >> 3);
    const mask = 1 << (bit & 7);
    this.bytes[at] = any ? this.bytes[at]! | mask : this.bytes[at]! & ~mask;
  }

  /** Asks the run under way to end after the current instruction, or the next one to end at once. */
  raiseAttention(bits: number): void {
    this.setControlWord("attention", this.controlWord("attention") | bits);
  }

  /** Takes requests back that the run under way, or the next one, was to look at. */
  dropAttention(bits: number): void {
    this.setControlWord("attention", this.controlWord("attention") & ~bits);
  }

  /** Puts a hart into its reset state: machine mode, everything off. */
  resetHart(hart: number): void {
    const block = this.hartBlock(hart);
    this.bytes.fill(0, block, block + HART.byteLength);
    this.setWord(hart, "hartid", hart);
    this.setWord(hart, "privilege", PRIVILEGE.machine);
    this.setRegister(hart, "mstatus", XLEN_64 << 32n | XLEN_64 << 34n);
    this.setRegister(hart, "menvcfg", MENVCFG_ADUE);
    this.setRegister(hart, "stimecmp", (1n << 64n) - 1n);
  }

  #checkImports() {
    return {
      beginCheck: () => this.check.begin(),
      endCheck: (slot: number, entry: number, end: number) => this.check.end(slot, entry, end),
      logStore: (host: number, size: number, low: number, high: number) =>
        this.check.store(host, size, low, high),
    };
  }

  #imports(bus: Bus): WebAssembly.ModuleImports {
    const { plan, flags, decodedPages } = this;
    return {
      traceHit: (kind: number, page: number, offset: number, size: number) => {
        if (kind === TRACE_KIND.hint) return flags.hint(page);
        const gpa = plan.ramStart + page * 4096 + offset;
        const { isWrite, by } = TRACE_KINDS[kind]!;
        const value = isWrite ? this.control("storeValue") : 0n;
        flags.hit(isWrite ? "write" : "read", gpa, size, value, by);
      },
      pageThaws: (page: number) => flags.thaws(page),
      busRead: (address: number, size: number) => {
        const value = bus.read(address >>> 0, size);
        if (value === undefined) this.setControlWord("busError", 1);
        return (value ?? 0) & sizeMask(size);
      },
      busWrite: (address: number, size: number, value: number) => {
        if (!bus.write(address >>> 0, size, (value & sizeMask(size)) >>> 0)) {
          this.setControlWord("busError", 1);
        }
      },
      decodedPage: (page: number) => decodedPages.pageAddress(page),
      hotPlace: () => this.regions.hotPlace(),
      regionWritten: (page: number, offset: number, size: number) => {
        this.regions.regionWritten(page, offset, size);
      },
      wantsStop: (asked: number, low: number, high: number) =>
        this.points.wantsStop(asked, low, high) ? 1 : 0,
      trapTaken: (code: number, isInterrupt: number, value: bigint) =>
        this.trapObserver(code, isInterrupt !== 0, BigInt.asUintN(64, value)),
      hostTicks: () => this.nondeterminism.hostTicks(),
      entropy16: () => this.nondeterminism.entropy16(),
      exchange: (kind: number) => this.nondeterminism.exchange(kind),
    };
  }
}
