/**
 * Plays what happens to a running VM's memory from outside, in one thread and by chance: saves behind its
 * back, restores with pages that come later, notes of the pages in use. What is saved must be what memory
 * held, and none of it may be seen by the guest.
 */
import { assert, assertEquals } from "@std/assert";
import type { Prng } from "../../kernel/base/prng.ts";
import { newMemory } from "../../kernel/memory/memory_plan.ts";
import type { Machine, RestoredMemory } from "../../kernel/machine/machine.ts";
import { resumeImage, saveImage } from "../../kernel/machine/machine_image.ts";
import { ActivePages } from "../../kernel/memory/active_pages.ts";
import { CopyAside } from "../../kernel/memory/copy_aside.ts";
import { FrozenPages, NO_PAGE } from "../../kernel/memory/frozen_pages.ts";
import { LAZY_STATE, lazyTableOf } from "../../kernel/memory/lazy_table.ts";
import { LazySource } from "../../kernel/memory/lazy_source.ts";
import type { MemoryPlan } from "../../kernel/memory/memory_plan.ts";
import type { PageFlags } from "../../kernel/memory/page_flags.ts";
import { giveIdleMemory, IDLE_ANSWER } from "../../kernel/world/idle_memory.ts";

const PAGE = 4096;

/** Memory of a VM as a test looks at it. */
export interface Watched {
  readonly buffer: ArrayBufferLike;
  readonly plan: MemoryPlan;
  readonly flags: PageFlags;
}

/** A copy of RAM; what is not loaded yet is what it will be. */
export function copyRam(
  { buffer, plan }: Pick<Watched, "buffer" | "plan">,
  loader?: Loader,
): Uint8Array {
  const ram = new Uint8Array(buffer, plan.ram, plan.ramBytes).slice();
  loader?.complete(ram);
  return ram;
}

/** Asserts that two copies of RAM are equal; names the first page that is not. */
export function assertSameRam(actual: Uint8Array, expected: Uint8Array, message: string): void {
  const words = (bytes: Uint8Array) => new Int32Array(bytes.buffer, 0, bytes.length / 4);
  const [a, b] = [words(actual), words(expected)];
  for (let i = 0; i < b.length; i++) {
    if (a[i] === b[i]) continue;
    const page = Math.floor(i / 1024);
    const values = [a[i], b[i]].map((value) => (value! >>> 0).toString(16));
    throw new Error(`${message}: page ${page} word ${i % 1024} is ${values.join(", expected ")}`);
  }
}

/** Saves of one VM, one behind the other, each read in steps and compared with what memory held. */
export class Saves {
  readonly aside: CopyAside;
  #reader: FrozenPages | undefined;
  #expected: Uint8Array | undefined;
  /** What all saves together say that RAM holds. */
  #image: Uint8Array;
  #seen = new Set<number>();
  #page: Uint8Array = new Uint8Array(PAGE);
  /** Saves that were compared. */
  compared = 0;
  /** A page that the test writes past the traces, to put code there. */
  ignored = -1;

  /**
   * @param slots of the ring
   * @param loader of a machine that was restored: saves follow the one that it was restored from
   */
  constructor(
    private readonly watched: Watched,
    slots: number,
    private readonly loader?: Loader,
  ) {
    const wait = () => assert(this.read(1) > 0, "a reader makes room in a full ring");
    this.aside = new CopyAside({ ...watched, slots, wait });
    this.#image = loader?.copy.slice() ?? new Uint8Array(watched.plan.ramBytes);
    if (loader !== undefined) this.aside.adopt();
  }

  /** Begins a save behind the last one; gives how many pages it has. */
  begin(all: boolean): number {
    this.#expected = copyRam(this.watched, this.loader);
    const area = this.aside.begin({ all });
    const { buffer: memory, plan: { ram } } = this.watched;
    this.#reader = new FrozenPages({ area, memory, ram });
    this.#seen.clear();
    return this.#reader.left();
  }

  /**
   * Lets the reader read so many pages; gives how many it read. A save that has ended is compared.
   * @param while_ runs when a page was copied, before the reader claims it
   */
  read(pages: number, while_?: (page: Uint8Array) => void): number {
    const reader = this.#reader;
    if (reader === undefined) return 0;
    const into = while_ === undefined ? this.#page : interrupted(this.#page, while_);
    for (let i = 0; i < pages; i++) {
      const page = reader.next(into);
      if (page === NO_PAGE.finished) {
        this.#compare();
        return i;
      }
      assert(page >= 0, `the reader gave ${page}`);
      assert(!this.#seen.has(page), `page ${page} was given twice`);
      this.#seen.add(page);
      this.#image.set(this.#page, page * PAGE);
    }
    return pages;
  }

  /** Reads to the end of the save, if there is one. */
  finish(): void {
    this.read(Infinity);
  }

  /** Gives the save up. */
  abort(fromReader: boolean): void {
    if (fromReader) this.#reader?.abort();
    this.#reader = undefined;
    this.aside.abort();
  }

  #compare(): void {
    this.#reader = undefined;
    this.aside.end();
    if (this.ignored >= 0) {
      const at = this.ignored * PAGE;
      this.#image.set(this.#expected!.subarray(at, at + PAGE), at);
    }
    assertSameRam(this.#image, this.#expected!, "what was saved is what memory held");
    this.compared++;
  }
}

/** Bytes that let somebody act between the copy of a page and whatever comes behind it. */
function interrupted(bytes: Uint8Array, act: (page: Uint8Array) => void): Uint8Array {
  const view = new Uint8Array(bytes.buffer);
  const set = view.set.bind(view);
  view.set = (from, at) => {
    set(from, at);
    act(from as Uint8Array);
  };
  return view;
}

/** Loads the pages of a machine from a copy, in one thread with it. */
export class Loader {
  readonly source: LazySource;
  #ram: Uint8Array;
  /** A page that was begun and is not done. */
  #loading = -1;
  /** Pages that were loaded. */
  loaded = 0;

  /** @param memory of the VM, at whose `ram` RAM lies @param copy what RAM is to hold */
  constructor(
    memory: WebAssembly.Memory,
    plan: MemoryPlan,
    readonly copy: Uint8Array,
    absent: readonly number[],
    private readonly rng: Prng,
  ) {
    this.#ram = new Uint8Array(memory.buffer, plan.ram, plan.ramBytes);
    const later = new Set(absent);
    for (let page = 0; page < plan.ramPages; page++) {
      // What is absent holds anything but what it ought to.
      if (later.has(page)) this.#ram.fill(0xa5, page * PAGE, (page + 1) * PAGE);
      else this.#write(page);
    }
    this.source = LazySource.make(plan.ramPages, absent);
  }

  /** What the machine's wait is: the loader goes on instead. */
  wait = (): void => {
    if (this.#loading >= 0) return this.#end();
    const wanted = this.source.wanted();
    // Sometimes others come first.
    if (wanted !== undefined && this.rng.below(3) > 0) this.#begin(wanted);
    else this.background();
  };

  /** Makes a copy of RAM what RAM is when all is loaded. */
  complete(ram: Uint8Array): void {
    const { states } = lazyTableOf(this.source.table);
    states.forEach((state, page) => {
      if (state === LAZY_STATE.present) return;
      ram.set(this.copy.subarray(page * PAGE, (page + 1) * PAGE), page * PAGE);
    });
  }

  /** Loads a page that nobody wants, or the half of it that is left. */
  background(): void {
    if (this.#loading >= 0) return this.#end();
    const pages = this.#ram.length / PAGE;
    const page = this.source.nextAbsent(this.rng.below(pages)) ?? this.source.nextAbsent(0);
    if (page !== undefined) this.#begin(page);
  }

  #begin(page: number): void {
    assert(this.source.begin(page), "a page is absent once");
    assertEquals(this.source.begin(page), false);
    this.#loading = page;
    if (this.rng.below(2) === 0) this.#end();
  }

  #end(): void {
    this.#write(this.#loading);
    this.source.done(this.#loading);
    this.#loading = -1;
    this.loaded++;
  }

  #write(page: number): void {
    const at = page * PAGE;
    this.#ram.set(this.copy.subarray(at, at + PAGE), at);
  }
}

/** A share of the pages of a VM, by chance. */
export function somePages(rng: Prng, pages: number): number[] {
  const share = rng.pick([0, 3, 10, 10]);
  return Array.from({ length: pages }, (_, page) => page).filter(() => rng.below(10) < share);
}

/**
 * Makes a machine that is what another one is, from an image and from RAM that comes later.
 * @param make gives a machine with a memory; its configuration may differ where guests cannot tell
 */
export function moveMachine(
  machine: Machine,
  rng: Prng,
  make: (restored: RestoredMemory) => Machine,
): { readonly machine: Machine; readonly loader: Loader } {
  const { plan, buffer } = machine.core;
  machine.takeOutputs();
  machine.lazy?.loadAll();
  const image = structuredClone(saveImage(machine));
  const ram = copyRam({ plan, buffer });
  const probe = make({});
  const memory = newMemory(probe.core.plan);
  const absent = somePages(rng, plan.ramPages);
  const loader = new Loader(memory, probe.core.plan, ram, absent, rng);
  const moved = make({ memory, lazy: loader.source.table, wait: loader.wait });
  resumeImage(moved, image);
  return { machine: moved, loader };
}

/** What happens to the memory of one machine, by chance. Its harness calls `between` between runs. */
export class MemoryServices {
  #saves: Saves;
  #active: ActivePages;
  #before: Uint8Array | undefined;
  #loader: Loader | undefined;

  /** @param loader of a machine whose pages are loaded later */
  constructor(private readonly machine: Machine, private readonly rng: Prng, loader?: Loader) {
    const { core, watch } = machine;
    this.#loader = loader;
    this.#saves = new Saves(core, rng.pick([1, 2, 64]), loader);
    this.#active = new ActivePages(watch, core.plan);
  }

  /** Something happens. */
  between(): void {
    const { rng, machine } = this;
    machine.lazy?.settle();
    for (let i = rng.below(20); i > 0; i--) this.#loader?.background();
    switch (rng.below(9)) {
      case 8:
        if (rng.below(3) === 0) this.#leaveMemory();
        break;
      case 0:
      case 1:
        if (!this.#saves.aside.saving) this.#saves.begin(rng.below(3) === 0);
        break;
      case 2:
        this.#saves.finish();
        break;
      case 3:
        if (rng.below(4) === 0) this.#saves.abort(rng.below(2) === 0);
        break;
      case 4:
        if (this.#active.running) this.#endActive();
        else this.#beginActive();
        break;
      default:
        this.#saves.read(rng.pick([1, 10, 300]));
    }
  }

  /** What a machine leaves is zero when it is the host's, and may hold anything where that is not said. */
  #leaveMemory(): void {
    const isZero = this.rng.below(2) === 0;
    giveIdleMemory(this.machine.core, ({ buffer, ranges, answer }) => {
      ranges.forEach(([from, bytes], i) => {
        new Uint8Array(buffer, from, bytes).fill(isZero && i === 0 ? 0 : 0x5a);
      });
      new Int32Array(answer)[0] = isZero ? IDLE_ANSWER.zero : IDLE_ANSWER.kept;
    });
  }

  /** Ends all. */
  stop(): void {
    this.#saves.finish();
    this.#endActive();
    if (this.rng.below(2) === 0) this.#saves.aside.stop();
  }

  #beginActive(): void {
    this.#before = copyRam(this.machine.core, this.#loader);
    this.#active.begin();
  }

  /** What changed was written, and so was touched. */
  #endActive(): void {
    const before = this.#before;
    this.#before = undefined;
    const active = new Set(this.#active.pages);
    assertEquals(active.size, this.#active.end().length, "a page is listed once");
    if (before === undefined) return;
    const now = copyRam(this.machine.core, this.#loader);
    for (const page of active) {
      now.set(before.subarray(page * PAGE, (page + 1) * PAGE), page * PAGE);
    }
    assertSameRam(now, before, "a page that changed is in the list");
  }
}
