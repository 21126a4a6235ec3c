/**
 * VMs whose guests are ready to run commands: booted once, and made from the checkpoint of that moment ever
 * after (issue 5, "Forks and identity"; S16, N6).
 *
 *     no checkpoint   boot ─► agent says hello ─► quiet ─► freeze (1 ms) ─► the VM is handed out ─► saver keeps it beside
 *     checkpoint      clone of it, with an identity of its own; the first one teaches what all use first
 *
 * Invariants: a checkpoint is taken before any command; a VM that is made from one is a clone and never its
 * equal; whatever is wrong with a checkpoint is a warning, and the guest boots; there are never more than
 * CHECKPOINTS_MAXIMUM for long, and making room waits for nobody.
 */
import { ConfigError, FormatError, HostError } from "./base/errors.ts";
import type { CheckpointHead } from "./checkpoint/checkpoint_format.ts";
import type { PowerOnOptions, VmSpec } from "./config.ts";
import type { Host } from "./host/host.ts";
import { ReadyIndex } from "./ready_index.ts";
import type { SavedVms } from "./saved_vms.ts";
import type { EarlyWorld } from "./world/early_world.ts";
import { VmFailure } from "./world/reports.ts";
import type { VM } from "./world/vm.ts";

/** Ready checkpoints that are kept; the oldest go. */
const CHECKPOINTS_MAXIMUM = 8;
/** Milliseconds that the end of the kernel waits for checkpoints to be kept. */
const KEEP_MILLISECONDS = 15_000;
/** Milliseconds between two looks at whether a guest is still busy with its start. */
const LOOK_MILLISECONDS = 20;
/** Looks at most: a guest that is never idle is kept as it is. */
const LOOKS_MAXIMUM = 40;
/** Quiet looks in a row, and instructions that a guest which waits executes between two: for its timers. */
const [QUIET_LOOKS, QUIET_INSTRUCTIONS] = [3, 40_000];

/** How to make a VM that is ready. */
export interface ReadyOptions extends PowerOnOptions {
  /** Whether to boot, and neither to use a checkpoint nor to keep one; false by default. */
  readonly cold?: boolean;
}

/** What the kernel lends. */
export interface ReadyParts {
  readonly host: Host;
  readonly saved: SavedVms;
  /** Boots. */
  readonly powerOn: (options: PowerOnOptions) => Promise<VM>;
  /** What the options say, with what the guest brings. */
  readonly specOf: (options: PowerOnOptions) => Promise<VmSpec>;
  readonly warn: (line: string) => void;
  readonly progress: (line: string) => void;
  /** Counts VMs that began from a checkpoint. */
  readonly warm: { add(): void };
}

/** Makes ready VMs. */
export class ReadyVms {
  readonly #parts: ReadyParts;
  /** What is to be over before the kernel ends. */
  readonly #keeping = new Set<Promise<void>>();

  constructor(parts: ReadyParts) {
    this.#parts = parts;
  }

  /** Makes one; `world` was started for it. Rejects like `Kernel.powerOn`. */
  async make(options: PowerOnOptions, world: EarlyWorld): Promise<VM> {
    const { host, saved, powerOn, specOf } = this.#parts;
    const index = await ReadyIndex.open(host, saved.store.path);
    const spec = await specOf(options);
    const key = await index.keyOf(spec);
    const warm = await this.#clone(key, index, spec, options, world);
    if (warm !== undefined) return warm;
    const vm = await powerOn(options);
    try {
      await vm.untilReady();
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      // It ended before: whoever wants to run a command is told so.
      return vm;
    }
    await this.#settle(vm);
    await this.#keep(vm, key, index);
    return vm;
  }

  /** Waits a moment for what a guest still does behind its agent's hello: each clone would do it again. */
  async #settle(vm: VM): Promise<void> {
    let before = vm.icount;
    for (let look = 0, quiet = 0; look < LOOKS_MAXIMUM && quiet < QUIET_LOOKS; look++) {
      await this.#parts.host.timers.delay(LOOK_MILLISECONDS);
      quiet = vm.icount - before < QUIET_INSTRUCTIONS ? quiet + 1 : 0;
      before = vm.icount;
    }
  }

  /** Waits until what is being kept is kept, for a while. */
  async stop(): Promise<void> {
    if (this.#keeping.size === 0) return;
    const { host, progress } = this.#parts;
    progress("keeping the guest as it is after its start, for next time");
    const kept = new AbortController();
    void Promise.all(this.#keeping).then(() => kept.abort());
    await host.timers.delay(KEEP_MILLISECONDS, kept.signal);
  }

  async #clone(
    key: string,
    index: ReadyIndex,
    { name }: VmSpec,
    options: PowerOnOptions,
    world: EarlyWorld,
  ): Promise<VM | undefined> {
    const { saved, warn, warm } = this.#parts;
    const id = this.#find(key, index);
    if (id === undefined) return undefined;
    try {
      const vm = await saved.clone(id, {
        name,
        ...options.tier && { tier: options.tier },
        learn: "once",
      }, {
        guest: options.guest,
        world,
        damaged: () => this.#drop(id),
      });
      warm.add();
      index.write();
      return vm;
    } catch (error) {
      const isDamaged = error instanceof FormatError || error instanceof VmFailure;
      if (!isDamaged && !isExpected(error)) throw error;
      warn(`Cannot start from the checkpoint of a booted guest, so it boots: ${error.message}`);
      // It may be deleted just now, or the host may be short of something: that is no fault of it.
      if (isDamaged) await this.#discard(id);
      index.note(key, undefined);
      return undefined;
    }
  }

  #find(key: string, index: ReadyIndex): string | undefined {
    const { saved: { store }, warn } = this.#parts;
    const known = store.entry(index.idOf(key) ?? "");
    // The index is only a hint, and what it names may be anybody's.
    if (known?.problem !== undefined) {
      warn(`Cannot start from the checkpoint of a booted guest: ${known.problem}`);
    } else if (known?.head?.kind === "ready" && known.head.key === key) return known.id;
    const found = store.find({ kind: "ready", key })?.id;
    index.note(key, found);
    return found;
  }

  /** Keeps a VM; resolves as soon as the VM may go on. */
  async #keep(vm: VM, key: string, index: ReadyIndex): Promise<void> {
    const { host, saved, warn } = this.#parts;
    const { path } = saved.store;
    const failed = (error: Error) => warn(`Cannot keep the booted guest: ${error.message}`);
    try {
      host.files.ensureFolder(path, true);
      // Of several that boot at once, one is kept.
      const lock = host.files.tryLock(`${path}/ready.lock`, { exclusive: true });
      if (lock === undefined) return;
      const taken = Promise.withResolvers<void>();
      const purpose = { kind: "ready", key, taken: taken.resolve } as const;
      const keeping: Promise<void> = saved.checkpoint(vm, {}, purpose)
        .then((head) => this.#kept(head, key, index))
        .catch((error) => isExpected(error) ? failed(error) : Promise.reject(error))
        .finally(() => {
          lock.release();
          taken.resolve();
        });
      this.#hold(keeping);
      await taken.promise;
    } catch (error) {
      if (!isExpected(error)) throw error;
      failed(error);
    }
  }

  async #kept({ id }: CheckpointHead, key: string, index: ReadyIndex): Promise<void> {
    const { saved: { store } } = this.#parts;
    index.note(key, id);
    index.write();
    const ready = store.list().flatMap(({ head }) => head?.kind === "ready" ? [head] : []);
    const old = ready.filter((head, i) =>
      head.id !== id && (head.key === key || i < ready.length - CHECKPOINTS_MAXIMUM)
    );
    if (old.length > 0) await store.tryDelete(old.map((head) => head.id));
  }

  #hold(work: Promise<void>): void {
    const over = work.finally(() => this.#keeping.delete(over));
    this.#keeping.add(over);
  }

  /** Drops a checkpoint that a VM runs from. */
  #drop(id: string): void {
    this.#hold(this.#discard(id));
  }

  /** Drops a checkpoint that is of no use; if that cannot be done now, whoever uses it next tries again. */
  async #discard(id: string): Promise<void> {
    try {
      await this.#parts.saved.store.tryDelete([id]);
    } catch (error) {
      if (!isExpected(error)) throw error;
      this.#parts.warn(`Cannot delete checkpoint ${id}: ${error.message}`);
    }
  }
}

function isExpected(error: unknown): error is Error {
  return error instanceof HostError || error instanceof FormatError ||
    error instanceof ConfigError;
}
