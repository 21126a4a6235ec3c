/**
 * A hart without a board, for tests of single instructions: words are put at the start of RAM, registers
 * are set, a number of instructions is executed.
 */
import { type Bus, Core } from "../../kernel/cpu/core.ts";
import { generateCore } from "../../kernel/cpu/core_code.ts";
import type { MemoryPlan } from "../../kernel/memory/memory_plan.ts";
import { PRIVILEGE } from "../../kernel/memory/hart_layout.ts";
import type { HART } from "../../kernel/memory/hart_layout.ts";

/** First address of RAM. */
export const RAM = 0x8000_0000;

/** What a test may want to differ. */
export interface BareOptions {
  /** Bytes of RAM; 16 MiB when it is left out. */
  readonly ramBytes?: number;
  readonly harts?: number;
  readonly decodedPages?: number;
  /** Entries of the nondeterminism buffer: with any, the clock is exact. */
  readonly nondetEntries?: number;
  /** What answers outside RAM; nothing does when it is left out. */
  readonly bus?: Bus;
}

/** A core without regions. */
const coreWithout = (plan: MemoryPlan) => new WebAssembly.Module(generateCore(plan, 0));

/** A hart in machine mode at the start of RAM. */
export class BareCore {
  readonly core: Core;

  constructor(options: BareOptions = {}) {
    this.core = new Core(
      {
        ramBytes: options.ramBytes ?? 16 << 20,
        harts: options.harts ?? 1,
        deviceStateBytes: 64,
        tlbEntries: 64,
        cacheElements: 4,
        decodedPages: options.decodedPages ?? 64,
        nondetEntries: options.nondetEntries ?? 0,
      },
      options.bus ?? { read: () => undefined, write: () => false },
      coreWithout,
    );
    this.reset();
  }

  /** Puts the hart back to its start. RAM keeps its content. */
  reset(): void {
    this.core.resetHart(0);
    this.core.setRegister(0, "pc", BigInt(RAM));
    this.core.exports.flushAll();
  }

  /** Writes instruction words to an address. */
  load(words: readonly number[], address = RAM): void {
    const view = new DataView(this.core.buffer, this.core.plan.ram, this.core.plan.ramBytes);
    words.forEach((word, i) => view.setUint32(address - RAM + 4 * i, word >>> 0, true));
    this.core.exports.dmaWrote(BigInt(address), words.length * 4);
  }

  /** Executes a number of instructions. */
  run(instructions: number): void {
    this.core.setControl("runEnd", BigInt(instructions));
    this.core.setControl("budget", BigInt(instructions));
    this.core.exports.run();
  }

  /** An integer register. */
  x(index: number): bigint {
    return this.core.register(0, "x", index);
  }

  /** Sets an integer register. */
  setX(index: number, value: bigint): void {
    this.core.setRegister(0, "x", BigInt.asUintN(64, value), index);
  }

  /** Any 64-bit field of the hart. */
  get(field: keyof typeof HART.fields): bigint {
    return this.core.register(0, field);
  }

  /** Sets a 64-bit field of the hart. */
  set(field: keyof typeof HART.fields, value: bigint): void {
    this.core.setRegister(0, field, BigInt.asUintN(64, value));
  }

  /** Privilege of the hart. */
  get privilege(): number {
    return this.core.word(0, "privilege");
  }

  /** Enters a privilege mode with everything in memory open to it. */
  enter(mode: keyof typeof PRIVILEGE): void {
    this.core.setWord(0, "privilege", PRIVILEGE[mode]);
    this.set("pmpcfg", 0x1fn);
    this.set("pmpaddr", (1n << 54n) - 1n);
    this.core.exports.flushAll();
  }

  /** Reads 64 bits of RAM. */
  memory(address: number): bigint {
    return new DataView(this.core.buffer, this.core.plan.ram).getBigUint64(address - RAM, true);
  }

  /** Writes 64 bits of RAM as a device would. */
  setMemory(address: number, value: bigint): void {
    const view = new DataView(this.core.buffer, this.core.plan.ram);
    view.setBigUint64(address - RAM, BigInt.asUintN(64, value), true);
    this.core.exports.dmaWrote(BigInt(address), 8);
  }
}
