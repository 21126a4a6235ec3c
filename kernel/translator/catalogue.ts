/**
 * The translations of a VM by the code that they start with, so that the same code at another place, or
 * put back to where it was, or met again by another run, needs no new translation.
 *
 * Invariant: translations that were placed and lie nowhere now are forgotten when there are too many, so that a guest that makes code all the time cannot fill the host's memory.
 */
import type { KeptShapes } from "./kept_shapes.ts";
import { PAGE_HALVES } from "./region.ts";
import { codeAt, codeKey, type KnownEntry, type Translation } from "./translation.ts";

/** Most translations that lie nowhere. */
const UNPLACED_MAXIMUM = 2048;

const NOTHING: readonly KnownEntry[] = [];

/** Finds translations by their code. */
export class Catalogue {
  readonly #byCode = new Map<number, KnownEntry[]>();
  /** Translations that lie nowhere, oldest first. */
  readonly #unplaced = new Set<Translation>();
  #kept: KeptShapes | undefined;

  /** @param forgotten called for each translation that was forgotten */
  constructor(private readonly forgotten: (translation: Translation) => void) {}

  /** Adds a translation, which can be found at all its entries from now on. */
  add(translation: Translation): void {
    for (const at of translation.entries) {
      const key = codeKey(at % PAGE_HALVES, codeAt(translation, at));
      const known = this.#byCode.get(key);
      if (known === undefined) this.#byCode.set(key, [{ translation, at }]);
      else known.push({ translation, at });
    }
  }

  /** Adds regions of earlier runs, once. */
  keep(kept: KeptShapes): void {
    this.#kept = kept;
  }

  /** Translations that may be entered at a halfword of a page where this code lies. */
  find(slot: number, half: number): readonly KnownEntry[] {
    const key = codeKey(slot, half);
    const made = this.#byCode.get(key) ?? NOTHING;
    const kept = this.#kept?.find(key) ?? NOTHING;
    return kept.length === 0 ? made : [...kept, ...made];
  }

  /** The translation whose function has a slot, for messages: slow. */
  inSlot(slot: number): Translation | undefined {
    const kept = this.#kept?.inSlot(slot);
    if (kept !== undefined) return kept;
    for (const known of this.#byCode.values()) {
      const found = known.find(({ translation }) => translation.slot === slot);
      if (found !== undefined) return found.translation;
    }
    return undefined;
  }

  /** A translation lies somewhere now. */
  placed(translation: Translation): void {
    this.#unplaced.delete(translation);
  }

  /** A translation lies nowhere any more. */
  unplaced(translation: Translation): void {
    this.#unplaced.add(translation);
    if (this.#unplaced.size <= UNPLACED_MAXIMUM) return;
    const [oldest] = this.#unplaced;
    this.#forget(oldest!);
  }

  #forget(translation: Translation): void {
    this.#unplaced.delete(translation);
    if (this.#kept?.forget(translation)) return this.forgotten(translation);
    for (const at of translation.entries) {
      const key = codeKey(at % PAGE_HALVES, codeAt(translation, at));
      const left = this.#byCode.get(key)?.filter((known) => known.translation !== translation);
      if (left === undefined || left.length === 0) this.#byCode.delete(key);
      else this.#byCode.set(key, left);
    }
    this.forgotten(translation);
  }
}
