/**
 * Makes regions of hot places: grows them, writes their functions, and links functions into modules. It
 * needs nothing of a VM but the layout of its memory, so it works on any thread.
 *
 * Invariant: all modules of regions have the same types and imports with the same numbers, so that a
 * function written for one may be linked into any other with the same layout.
 */
import { assert } from "../base/assert.ts";
import { REGION_TYPE } from "../cpu/region_entry.ts";
import { FLOAT_FUNCTIONS, type FloatFunctionName } from "../cpu/softfloat/names.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { LOG_STORE_PARAMETERS } from "../memory/store_log.ts";
import {
  type FinishedFunction,
  type FunctionReference,
  ModuleBuilder,
  type WasmType,
} from "../wasm/mod.ts";
import { growRegion, type Instruction, PAGE_HALVES, type RegionCode } from "./region.ts";
import { writeRegion } from "./region_code.ts";
import type { RegionImports } from "./region_ops.ts";
import type { Batch, CodePart, MadeBatch, MadeRegion, Order } from "./translation.ts";
import { placeKey } from "./translation.ts";

/** A function and the slot of the table that it is to have. */
export interface Linked {
  readonly slot: number;
  readonly finished: FinishedFunction;
}

/** Makes regions for memories of one layout. */
export class RegionMaker {
  readonly #imports: RegionImports;
  readonly #typeIndex: number;

  /** @param checks whether the regions are for the tier `check` */
  constructor(private readonly plan: MemoryPlan, private readonly checks = false) {
    const { imports, typeIndex } = this.#newModule();
    this.#imports = imports;
    this.#typeIndex = typeIndex;
  }

  /** The regions of a batch, each with its order. Orders whose place is in an earlier region have none. */
  make(batch: Batch): { readonly order: Order; readonly region: MadeRegion }[] {
    const taken = new Set<number>();
    return batch.orders.flatMap((order) => {
      if (taken.has(placeKey(order.pages, order.start))) return [];
      const code = this.#grow(order, batch);
      if (code === undefined) return [];
      const region = this.write(code, (page) => batch.code.get(order.pages[page]!)!.halves);
      for (const at of region.entries) taken.add(placeKey(order.pages, at));
      return [{ order, region }];
    });
  }

  /** Writes the function of a region. `halves` is the code of a page by its number in the region. */
  write(code: RegionCode, halves: (page: number) => Uint16Array): MadeRegion {
    const { finished, entries } = writeRegion({
      plan: this.plan,
      imports: this.#imports,
      typeIndex: this.#typeIndex,
      code,
    });
    const instructions = [...code.blocks.values()].flatMap((block) => block.instructions);
    const parts = partsOf(instructions, halves);
    return { finished, entries, parts, instructions: instructions.length };
  }

  /** A module with the functions in their slots. */
  link(functions: readonly Linked[]): Uint8Array<ArrayBuffer> {
    return this.linkWithPlaces(functions).bytes;
  }

  /** The same, and where in it the bodies of the functions start. */
  linkWithPlaces(functions: readonly Linked[]): ReturnType<ModuleBuilder["buildWithPlaces"]> {
    const { module } = this.#newModule();
    for (const { slot, finished } of functions) {
      const { parameters, result } = REGION_TYPE;
      const reference = module.declare(`region${slot}`, parameters, result);
      module.defineFinished(reference, finished);
      module.element(slot, reference);
    }
    return module.buildWithPlaces();
  }

  /** Makes a batch and compiles it. */
  compile(
    batch: Batch,
  ): { readonly made: MadeBatch; readonly regions: readonly MadeRegion[] } {
    const made = this.make(batch);
    const regions = made.map(({ region }) => region);
    if (made.length === 0) {
      return { made: { kept: undefined, module: undefined, translations: [], bytes: 0 }, regions };
    }
    const bytes = this.link(
      made.map(({ order, region }) => ({ slot: order.slot, finished: region.finished })),
    );
    const translations = made.map(({ order, region: { parts, entries, instructions } }) => ({
      slot: order.slot,
      parts,
      entries,
      instructions,
    }));
    const module = new WebAssembly.Module(bytes);
    return { made: { kept: undefined, module, translations, bytes: bytes.length }, regions };
  }

  #newModule() {
    const { plan } = this;
    const memory = { minimum: plan.wasmPages, maximum: plan.wasmPages, shared: true };
    const module = new ModuleBuilder(memory, true);
    const imports = declareImports(module, this.checks);
    return {
      module,
      imports,
      typeIndex: module.typeIndex(REGION_TYPE.parameters, REGION_TYPE.result),
    };
  }

  #grow({ start, pages, near }: Order, { code }: Batch): RegionCode | undefined {
    return growRegion(
      {
        pageOf: (index) => {
          const page = pages[index];
          return page !== undefined && code.has(page) ? page : undefined;
        },
        half: (page, slot) => code.get(page)!.halves[slot]!,
        wasNear: (page, slot) => (code.get(page)!.near[slot >> 3]! >> (slot & 7) & 1) !== 0,
      },
      start,
      near,
    );
  }
}

/** The code of instructions, those that lie in a row together. */
function partsOf(
  instructions: readonly Instruction[],
  halves: (page: number) => Uint16Array,
): CodePart[] {
  const parts: CodePart[] = [];
  let first = 0;
  let end = -1;
  const finish = () => {
    for (let at = first; at < end;) {
      const page = Math.floor(at / PAGE_HALVES);
      const next = Math.min(end, (page + 1) * PAGE_HALVES);
      const inPage = at % PAGE_HALVES;
      parts.push({ page, first: inPage, code: halves(page).slice(inPage, inPage + next - at) });
      at = next;
    }
  };
  for (const { at, length } of [...instructions].sort((a, b) => a.at - b.at)) {
    if (at !== end) {
      finish();
      first = at;
    }
    end = at + length / 2;
  }
  finish();
  assert(parts.length > 0, "a region has code");
  return parts;
}

function declareImports(module: ModuleBuilder, checks: boolean): RegionImports {
  const float = {} as Record<FloatFunctionName, FunctionReference>;
  for (const [name, [parameters, result]] of Object.entries(FLOAT_FUNCTIONS)) {
    float[name as FloatFunctionName] = module.import(
      name,
      parameters as readonly WasmType[],
      result as WasmType,
    );
  }
  return {
    csrRead: module.import("csrRead", ["i32", "i32"], "i64"),
    csrWrite: module.import("csrWrite", ["i32", "i64"], undefined),
    float,
    ...(checks && { logStore: module.import("logStore", LOG_STORE_PARAMETERS, undefined) }),
  };
}
