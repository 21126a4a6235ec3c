/**
 * What a machine's memory layout and generated code depend on, worked out without the machine: the kernel
 * world makes both ahead of a VM world (S19: a resume takes milliseconds).
 *
 * Invariant: nothing here asks which drivers there are, so that the layout is known before they are loaded.
 */
import { DEVICE_STATE_BYTES } from "../limits.ts";
import type { MemoryPlanOptions } from "../memory/memory_plan.ts";
import { NONDET_ENTRIES_DEFAULT } from "../memory/nondet_buffer.ts";
import {
  CHECK_DEFAULTS,
  firstLook,
  TRANSLATOR_DEFAULTS,
  type TranslatorOptions,
} from "../translator/heat.ts";
import type { ClockKind } from "./clock.ts";

const DEFAULT_TLB_ENTRIES = 2048;
const DEFAULT_ELEMENTS = 32;
const DEFAULT_DECODED_PAGES = 768;

/** Tiers that may execute. */
export type MachineTier = "interpreter" | "translator" | "check";

/** The part of a machine's configuration that its layout depends on. */
export interface LayoutConfig {
  readonly memoryBytes: number;
  /** 1 to 8. */
  readonly harts: number;
  readonly clock: ClockKind;
  /** Entries of the nondeterminism buffer that an exact clock has. */
  readonly nondetEntries?: number | undefined;
  readonly tlbEntries?: number | undefined;
  readonly cacheElements?: number | undefined;
  readonly decodedPages?: number | undefined;
  /** Whether what is executed is marked, for a debugger's way back; not by default. */
  readonly marksExecution?: boolean | undefined;
}

/** The part that its generated code depends on besides. */
export interface CodeConfig {
  /** The translator by default. */
  readonly tier?: MachineTier | undefined;
  readonly translator?: TranslatorOptions | undefined;
}

/** What `generateCore` makes a module from, but for the plan. */
export interface CoreMake {
  /** Heat that makes a place hot; 0 when there is no translator tier. */
  readonly heat: number;
  /** Whether each region is checked. */
  readonly checks: boolean;
}

/** The sizes of a machine's memory. */
export function planOptions(config: LayoutConfig): MemoryPlanOptions {
  return {
    ramBytes: config.memoryBytes,
    harts: config.harts,
    deviceStateBytes: DEVICE_STATE_BYTES,
    tlbEntries: config.tlbEntries ?? DEFAULT_TLB_ENTRIES,
    cacheElements: config.cacheElements ?? DEFAULT_ELEMENTS,
    decodedPages: config.decodedPages ?? DEFAULT_DECODED_PAGES,
    ...config.marksExecution && { marksExecution: true },
    nondetEntries: config.clock === "exact" ? config.nondetEntries ?? NONDET_ENTRIES_DEFAULT : 0,
  };
}

/** When the translator of a machine acts. */
export function translatorOptions({ tier, translator }: CodeConfig): TranslatorOptions {
  return translator ?? (tier === "check" ? CHECK_DEFAULTS : TRANSLATOR_DEFAULTS);
}

/** How a machine's module is made; `keeps` tells whether regions of earlier runs are to be expected. */
export function coreMake(config: CodeConfig, keeps: boolean): CoreMake {
  const heat = firstLook(translatorOptions(config), keeps);
  return { heat: config.tier === "interpreter" ? 0 : heat, checks: config.tier === "check" };
}
