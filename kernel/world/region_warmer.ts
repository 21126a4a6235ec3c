/**
 * Has the host compile the functions of a module in the compile world: hosts do so when a function is
 * first called, and the code belongs to the module on all threads. Each function is called in an
 * instance with a memory of its own, where there is no budget, so that it returns at once.
 *
 * Invariant: no VM is touched; a function that is not called here is only compiled later.
 */
import { FLOAT_FUNCTIONS } from "../cpu/softfloat/names.ts";
import { hostTimers } from "../host/timers.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import type { MadeBatch } from "../translator/translation.ts";
import { KEPT_SLOTS } from "./translation_protocol.ts";

/** Functions compiled before other work gets its turn. */
const AT_A_TIME = 64;

/** A region's function, see REGION_TYPE. */
type Region = (packed: number, address: bigint, slot: number) => number;

/** Calls functions of modules that were made for one layout of memory. */
export class RegionWarmer {
  readonly #memory: WebAssembly.Memory;
  readonly #table = new WebAssembly.Table({ initial: 2 * KEPT_SLOTS, element: "anyfunc" });
  readonly #imports: WebAssembly.ModuleImports;

  constructor(plan: MemoryPlan) {
    const pages = plan.wasmPages;
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const names = ["csrRead", "csrWrite", ...Object.keys(FLOAT_FUNCTIONS)];
    const never = () => {
      throw new Error("a region without a budget called a function");
    };
    this.#imports = Object.fromEntries(names.map((name) => [name, never]));
  }

  /** Compiles all functions of a module of regions that are kept, some at a time. */
  async warm(module: WebAssembly.Module, count: number): Promise<void> {
    this.#instantiate(module, count);
    for (let slot = 1; slot <= count; slot++) {
      this.#call(slot);
      if (slot % AT_A_TIME === 0) await hostTimers.yieldToOthers();
    }
  }

  /** Compiles all functions of a batch. */
  warmNow({ module, translations }: MadeBatch): void {
    if (module === undefined) return;
    this.#instantiate(module, Math.max(...translations.map(({ slot }) => slot)));
    for (const { slot } of translations) this.#call(slot);
  }

  #instantiate(module: WebAssembly.Module, last: number): void {
    const table = this.#table;
    if (last >= table.length) table.grow(2 * last - table.length);
    new WebAssembly.Instance(module, { env: { memory: this.#memory, table, ...this.#imports } });
  }

  #call(slot: number): void {
    // Another module that is warmed meanwhile may have had the slot.
    const region = this.#table.get(slot) as Region | null;
    region?.(0, 0n, slot);
    this.#table.set(slot, null);
  }
}
