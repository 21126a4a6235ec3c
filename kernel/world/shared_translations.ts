/**
 * What the compile world has once for all VMs of a kernel: regions of earlier runs of the same guest, and what
 * calls functions so that the host compiles them. A hundred forks would have each a hundred times otherwise.
 *
 * Invariant: nothing here is changed by what a VM says.
 */
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { decodeRegions, layoutOf } from "../translator/kept_regions.ts";
import { packShapes } from "../translator/kept_shapes.ts";
import type { MadeBatch, MadeRegion } from "../translator/translation.ts";
import { RegionWarmer } from "./region_warmer.ts";
import type { HandedRegions } from "./translation_protocol.ts";

/** Most layouts of memory whose warmers are remembered. */
const WARMERS_MAXIMUM = 4;

/** Regions of an earlier run, compiled before it is known whether they fit. */
export class KeptTranslations {
  #warmed = false;

  private constructor(
    /** The layout of memory that they were made for. */
    readonly layout: string,
    readonly regions: readonly MadeRegion[],
    /** What a VM is sent. */
    readonly batch: MadeBatch & { readonly module: WebAssembly.Module },
  ) {}

  /** Reads and compiles regions; whatever cannot be read or compiled is no cache. */
  static read(bytes: Uint8Array<ArrayBuffer>): KeptTranslations | undefined {
    try {
      const { layout, regions, module } = decodeRegions(bytes);
      const compiled = new WebAssembly.Module(module);
      const kept = packShapes(regions);
      const batch = { kept, module: compiled, bytes: module.length, translations: [] };
      return new KeptTranslations(layout, regions, batch);
    } catch {
      return undefined;
    }
  }

  /** Has the host compile them, the first time. */
  async warm(warmer: RegionWarmer): Promise<void> {
    if (this.#warmed) return;
    this.#warmed = true;
    await warmer.warm(this.batch.module, this.regions.length);
  }
}

/** Remembers it. */
export class SharedTranslations {
  readonly #kept = new Map<string, KeptTranslations | undefined>();
  readonly #warmers = new Map<string, RegionWarmer>();

  /** The regions that a VM is handed. @param remembered names of those that others may be handed, too */
  kept(
    handed: HandedRegions | undefined,
    remembered: readonly string[],
  ): KeptTranslations | undefined {
    for (const name of this.#kept.keys()) if (!remembered.includes(name)) this.#kept.delete(name);
    if (handed === undefined) return undefined;
    const { name, bytes } = handed;
    if (bytes === undefined) return this.#kept.get(name);
    const kept = KeptTranslations.read(bytes);
    if (remembered.includes(name)) this.#kept.set(name, kept);
    return kept;
  }

  /** Calls functions for a layout of memory. */
  warmer(plan: MemoryPlan): RegionWarmer {
    const layout = layoutOf(plan);
    let warmer = this.#warmers.get(layout);
    if (warmer === undefined) {
      this.#warmers.set(layout, warmer = new RegionWarmer(plan));
      if (this.#warmers.size > WARMERS_MAXIMUM) {
        this.#warmers.delete(this.#warmers.keys().next().value!);
      }
    }
    return warmer;
  }
}
