/**
 * Makes the regions of one VM in the compile world, and remembers them for later runs of its guest.
 *
 * Invariant: the VM's course does not depend on when, or whether, anything here is done.
 */
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { encodeRegions, layoutOf } from "../translator/kept_regions.ts";
import { RegionMaker } from "../translator/region_maker.ts";
import type { MadeBatch, MadeRegion } from "../translator/translation.ts";
import type { RegionWarmer } from "./region_warmer.ts";
import type { KeptTranslations, SharedTranslations } from "./shared_translations.ts";
import {
  type FromCompileWorld,
  KEPT_SLOTS,
  type ToCompileWorld,
  type VmIntroduction,
} from "./translation_protocol.ts";

/** Regions are kept again when so great a part of them is new. */
const NEW_PART = 1 / 50;

/** One machine of the VM: a guest that resets itself begins another. */
interface Life {
  readonly number: number;
  readonly plan: MemoryPlan;
  readonly maker: RegionMaker;
  readonly warmer: RegionWarmer;
  readonly sent: Int32Array;
}

/** Serves one VM. */
export class TranslationServer {
  readonly #port: MessagePort;
  readonly #keeps: boolean;
  readonly #kept: KeptTranslations | undefined;
  #life: Life | undefined;
  #regions: MadeRegion[] = [];
  #fresh = 0;

  constructor(
    { port, keep, kept, remembered }: VmIntroduction,
    private readonly shared: SharedTranslations,
  ) {
    this.#port = port;
    this.#keeps = keep;
    port.onmessage = ({ data }: MessageEvent<ToCompileWorld>) => this.#received(data);
    this.#kept = shared.kept(kept, remembered);
  }

  /** The regions for later runs as bytes; undefined when there is little new. */
  keep(): Uint8Array<ArrayBuffer> | undefined {
    if (this.#life === undefined || this.#fresh <= this.#regions.length * NEW_PART) {
      return undefined;
    }
    this.#fresh = 0;
    return encodeRegions(this.#life.plan, this.#regions);
  }

  #received(got: ToCompileWorld): void {
    if (got.kind === "begin") return this.#begin(got);
    const { maker, warmer } = this.#life!;
    const { made, regions } = maker.compile(got.batch);
    // At once, which garbage collection would do late.
    for (const { halves, near } of got.batch.code.values()) {
      halves.buffer.transfer(0);
      near.buffer.transfer(0);
    }
    this.#remember(regions);
    warmer.warmNow(made);
    this.#send(made);
  }

  #begin({ plan, life, sent }: Extract<ToCompileWorld, { kind: "begin" }>): void {
    this.#life = {
      number: life,
      plan,
      maker: new RegionMaker(plan),
      warmer: this.shared.warmer(plan),
      sent: new Int32Array(sent),
    };
    const kept = this.#kept;
    if (kept === undefined || kept.layout !== layoutOf(plan)) return;
    if (this.#regions.length === 0) this.#regions = [...kept.regions];
    this.#send(kept.batch);
    void kept.warm(this.#life.warmer);
  }

  #remember(regions: readonly MadeRegion[]): void {
    if (!this.#keeps) return;
    this.#fresh += regions.length;
    this.#regions.push(...regions);
    if (this.#regions.length > KEPT_SLOTS) {
      this.#regions.splice(0, this.#regions.length - KEPT_SLOTS);
    }
  }

  #send(made: MadeBatch): void {
    const { number, sent } = this.#life!;
    const answer: FromCompileWorld = { life: number, made };
    Atomics.add(sent, 0, 1);
    this.#port.postMessage(answer);
  }
}
