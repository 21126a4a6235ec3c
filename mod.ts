/**
 * Chronovisor as a library: the kernel with the built-in drivers and guests.
 *
 * ```ts
 * import { VMKernel } from "./mod.ts";
 *
 * await using kernel = await VMKernel.start();
 * const vm = await kernel.powerOn({ guest: "debian", memory: "512M" });
 * const { status, text } = await vm.exec("uname -a");
 * console.log(status, text);
 * await vm.powerOff();
 * ```
 *
 * @module
 */
import { type GuestProvider, type Host, Kernel } from "./kernel/mod.ts";
import { importLate } from "./kernel/host/late_import.ts";

export * from "./kernel/mod.ts";

/** Options of `VMKernel.start`; all have defaults. */
export interface VMKernelOptions {
  /** Knows guests by name; by default the guests of this repository. */
  readonly guests?: GuestProvider;
  /** The host to run on; Deno's by default. */
  readonly host?: Host;
  /** Module of the VM world; by default the one with the built-in drivers. */
  readonly world?: URL;
  /** Called with a line about long work in progress, such as fetching a guest. */
  readonly progress?: (line: string) => void;
  /** Called with a line about a failure that guests survive, such as that of the translator. */
  readonly warn?: (line: string) => void;
  /** Folder where translations of guest code are kept for later runs; none are by default. */
  readonly translations?: string;
  /** Folder where checkpoints are kept; without it there are none. */
  readonly checkpoints?: string;
  /**
   * Folder where the modules of worlds are kept in bundles for later runs: a VM then starts sooner and is
   * smaller. They are made behind the first run; none are by default.
   */
  readonly worlds?: string;
}

/** The kernel with the built-in drivers and guests. */
export class VMKernel extends Kernel {
  /** Starts a kernel. It holds no resources until a VM is powered on. */
  static start(options: VMKernelOptions = {}): Promise<VMKernel> {
    const world = new URL("./drivers/vm_world.ts", import.meta.url);
    const { worlds: folder, ...rest } = options;
    const root = new URL("./", import.meta.url);
    const keptWorlds = folder === undefined
      ? {}
      : { keptWorlds: { folder, root, make: makeWorlds } };
    return Promise.resolve(new VMKernel({ world, guests: builtinGuests, ...keptWorlds, ...rest }));
  }
}

/** Bundles worlds; what does is loaded when there is no bundle. */
async function makeWorlds(folder: string): Promise<void> {
  const maker = await importLate<typeof import("./tools/worlds/make_worlds.ts")>(
    "./tools/worlds/make_worlds.ts",
    import.meta.url,
  );
  await maker.makeWorlds(folder);
}

/** The guests of this repository; their code is loaded when the first is asked for. */
const builtinGuests: GuestProvider = {
  resolve: async (name, request) => {
    const { resolveGuest } = await importLate<typeof import("./tools/guests/mod.ts")>(
      "./tools/guests/mod.ts",
      import.meta.url,
    );
    return await resolveGuest(name, request);
  },
};
