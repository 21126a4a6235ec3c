/**
 * What a VM is to be, as a user says it, and what that means: parsed once, checked once, then only
 * typed values.
 *
 * Invariant: a `VmSpec` is complete and within every limit of the machine; `parsePowerOn` refuses
 * everything else with a `ConfigError` that says what was expected.
 */
import { ConfigError } from "./base/errors.ts";
import { formatSize, parseSize } from "./base/units.ts";
import {
  APPEND_MAXIMUM,
  CACHE_ELEMENTS_MAXIMUM,
  DRIVES_MAXIMUM,
  GUEST_MEMORY_DEFAULT,
  GUEST_MEMORY_MAXIMUM,
  GUEST_MEMORY_MINIMUM,
  HARTS_MAXIMUM,
  TLB_ENTRIES_MAXIMUM,
  TLB_ENTRIES_MINIMUM,
  VM_NAME_MAXIMUM,
  WASM_PAGE_BYTES,
} from "./limits.ts";
import type { ClockKind } from "./machine/clock.ts";
import { DISK_FORMATS, type DiskFormat } from "./storage/disk_format.ts";
import type { RecordOptions } from "./world/recording_session.ts";
import type { ConsoleDevice } from "./world/vm_console.ts";

/** An image: the path of a file, or its bytes. */
export type ImageSource = string | URL | Uint8Array<ArrayBuffer>;

/** A disk: the path of an image, writable unless it says otherwise. */
export type DriveOption = string | {
  /** Path of the image. */
  readonly path: string;
  /** Whether the guest may not write. */
  readonly readOnly?: boolean;
  /**
   * Format of the image; told by what is in it by default. Say "raw" where guests that are not trusted write
   * to a raw image: they can make it look like another format (docs/disks.md).
   */
  readonly format?: DiskFormat;
};

/** How to make a VM. Everything has a default except what to start: `guest`, `kernel` or `bios`. */
export interface PowerOnOptions {
  /** Name of a guest that the guest provider knows. */
  readonly guest?: string;
  /** Packages to add to the guest, if it can take any. */
  readonly packages?: readonly string[];
  /** The kernel: ELF, Linux Image (also gzip'd) or raw bytes. */
  readonly kernel?: ImageSource;
  /** Initial RAM disk. */
  readonly initrd?: ImageSource;
  /** Kernel command line; added after the guest's own. */
  readonly append?: string;
  /** Firmware: "builtin" (default), "none" to start in M-mode, or an image. */
  readonly bios?: "builtin" | "none" | ImageSource;
  /** Guest memory: bytes or a size such as "512M" (default), up to 3G. */
  readonly memory?: string | number;
  /** Harts, 1 (default) to 8. */
  readonly harts?: number;
  /** Disks, at most 5. */
  readonly drives?: readonly DriveOption[];
  /**
   * "host" (default): guest time follows the host's; "exact": the same, and each read of it is the host's
   * time; "virtual": retired instructions make time.
   */
  readonly clock?: ClockKind;
  /** Seed of all randomness in the VM; random with the host clock, 0 with the virtual one. */
  readonly seed?: number;
  /** Which tiers execute; "auto" by default. "check" runs translated code twice and compares: slow. */
  readonly tier?: "auto" | "interpreter" | "translator" | "check";
  /** Entries of each software TLB, a power of two; 1024 by default. */
  readonly tlbEntries?: number;
  /** Address spaces and views whose translations are kept at once; 32 by default. */
  readonly cacheElements?: number;
  /** Which device is the terminal; "uart" by default. */
  readonly console?: ConsoleDevice;
  /** What becomes of network frames: dropped ("none", default) or sent back ("loopback"). */
  readonly network?: "none" | "loopback";
  /** A guest that resets itself starts again ("restart", default), or that is its end. */
  readonly onReset?: "restart" | "end";
  /** Whether to trace every instruction; slow. */
  readonly trace?: boolean;
  /** Folder to record it in, or how to record it; not recorded by default. */
  readonly record?: string | RecordOptions;
  /** What a replay of the recording shows: the terminal (default), or what `exec` and `spawn` printed. */
  readonly shows?: "console" | "command";
  /** Whether it stands still until a debugger takes hold of it (`VM.debug`). */
  readonly waitsForDebugger?: boolean;
  /** Name of the VM, for messages; the guest's name or "vm" with a number by default. */
  readonly name?: string;
}

/** What a guest provider is asked besides the name. */
export interface GuestRequest {
  /** Packages to add. */
  readonly packages: readonly string[];
  /** Called with a line about long work in progress. */
  readonly progress?: (line: string) => void;
}

/** What starts a named guest. */
export type ResolvedGuest = Pick<
  PowerOnOptions,
  "kernel" | "initrd" | "append" | "bios" | "memory" | "harts" | "drives" | "console"
>;

/** Knows guests by name. */
export interface GuestProvider {
  /** Finds or makes what starts a guest. Rejects with `ConfigError` when it has no such guest. */
  resolve(name: string, request: GuestRequest): Promise<ResolvedGuest>;
}

/** A disk, parsed. */
export interface DriveSpec {
  /** Path of the image. */
  readonly path: string;
  /** Whether the guest may not write. */
  readonly readOnly: boolean;
  /** Format of the image; undefined: what it looks like. */
  readonly format: DiskFormat | undefined;
}

/** A VM, completely described. */
export interface VmSpec {
  /** Name, for messages. */
  readonly name: string;
  /** The kernel image, if any. */
  readonly kernel: ImageSource | undefined;
  /** The initial RAM disk, if any. */
  readonly initrd: ImageSource | undefined;
  /** Kernel command line. */
  readonly append: string;
  /** Firmware. */
  readonly bios: "builtin" | "none" | ImageSource;
  /** Bytes of guest memory. */
  readonly memoryBytes: number;
  /** Harts. */
  readonly harts: number;
  /** Disks. */
  readonly drives: readonly DriveSpec[];
  /** Whose time the guest sees. */
  readonly clock: ClockKind;
  /** Seed, if the user chose one. */
  readonly seed: number | undefined;
  /** Which tiers execute. */
  readonly tier: "auto" | "interpreter" | "translator" | "check";
  /** Entries of each software TLB, if the user chose. */
  readonly tlbEntries: number | undefined;
  /** Number of cache elements, if the user chose. */
  readonly cacheElements: number | undefined;
  /** Which device is the terminal. */
  readonly console: ConsoleDevice;
  /** What becomes of network frames. */
  readonly network: "none" | "loopback";
  /** What a reset of the guest's means. */
  readonly onReset: "restart" | "end";
  /** Whether to trace. */
  readonly trace: boolean;
  /** How to record, if at all. */
  readonly record: RecordOptions | undefined;
}

/**
 * Checks what a user asked for against what the guest brings, and completes it. Throws `ConfigError`.
 */
export function parsePowerOn(
  options: PowerOnOptions,
  guest: ResolvedGuest,
  defaultName: string,
): VmSpec {
  const kernel = options.kernel ?? guest.kernel;
  const bios = options.bios ?? guest.bios ?? "builtin";
  if (kernel === undefined && (bios === "builtin" || bios === "none")) {
    throw new ConfigError(
      "Nothing to start: expected a guest's name, a kernel or a firmware image",
    );
  }
  return {
    name: vmName(options.name ?? options.guest ?? defaultName),
    kernel,
    initrd: options.initrd ?? guest.initrd,
    append: commandLine([guest.append, options.append].filter((part) => part).join(" ")),
    bios,
    memoryBytes: memoryBytes(options.memory ?? guest.memory ?? GUEST_MEMORY_DEFAULT),
    harts: integer("harts", options.harts ?? guest.harts ?? 1, 1, HARTS_MAXIMUM),
    drives: drives([...guest.drives ?? [], ...options.drives ?? []]),
    clock: choice("clock", options.clock ?? "host", ["host", "virtual", "exact"]),
    seed: options.seed === undefined
      ? undefined
      : integer("seed", options.seed, 0, Number.MAX_SAFE_INTEGER),
    tier: choice("tier", options.tier ?? "auto", ["auto", "interpreter", "translator", "check"]),
    tlbEntries: tlbEntries(options.tlbEntries),
    cacheElements: options.cacheElements === undefined
      ? undefined
      : integer("cacheElements", options.cacheElements, 1, CACHE_ELEMENTS_MAXIMUM),
    console: choice("console", options.console ?? guest.console ?? "uart", ["uart", "virtio"]),
    network: choice("network", options.network ?? "none", ["none", "loopback"]),
    onReset: choice("onReset", options.onReset ?? "restart", ["restart", "end"]),
    trace: options.trace ?? false,
    record: recordOptions(options.record),
  };
}

/** Checks the name of a VM. Throws `ConfigError`. */
export function vmName(name: string): string {
  if (name.length <= VM_NAME_MAXIMUM) return name;
  throw new ConfigError(
    `The name "${name.slice(0, 40)}…" has ${name.length} characters: expected at most ` +
      VM_NAME_MAXIMUM,
  );
}

function commandLine(append: string): string {
  if (append.length <= APPEND_MAXIMUM) return append;
  throw new ConfigError(
    `The kernel's command line has ${append.length} characters: expected at most ${APPEND_MAXIMUM}`,
  );
}

function recordOptions(asked: PowerOnOptions["record"]): RecordOptions | undefined {
  if (asked === undefined) return undefined;
  const options = typeof asked === "string" ? { folder: asked } : asked;
  if (options.folder === "") throw new ConfigError("record: expected the name of a folder");
  choice("record.sync", options.sync ?? "periodic", ["none", "periodic", "every"]);
  return options;
}

function memoryBytes(asked: string | number): number {
  const bytes = typeof asked === "number" ? asked : parseSize(asked);
  const named = typeof asked === "number" ? formatSize(asked) : asked;
  if (
    !Number.isSafeInteger(bytes) || bytes < GUEST_MEMORY_MINIMUM || bytes > GUEST_MEMORY_MAXIMUM
  ) {
    throw new ConfigError(
      `Cannot give a VM ${named} of memory: expected ${formatSize(GUEST_MEMORY_MINIMUM)} to ` +
        formatSize(GUEST_MEMORY_MAXIMUM),
    );
  }
  if (bytes % WASM_PAGE_BYTES !== 0) {
    throw new ConfigError(`Cannot give a VM ${named} of memory: expected a multiple of 64K`);
  }
  return bytes;
}

function tlbEntries(asked: number | undefined): number | undefined {
  if (asked === undefined) return undefined;
  integer("tlbEntries", asked, TLB_ENTRIES_MINIMUM, TLB_ENTRIES_MAXIMUM);
  if (Number.isInteger(Math.log2(asked))) return asked;
  throw new ConfigError(`tlbEntries is ${asked}: expected a power of two`);
}

function integer(name: string, value: number, least: number, most: number): number {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw new ConfigError(`${name} is ${value}: expected a whole number from ${least} to ${most}`);
}

function choice<T extends string>(name: string, value: T, choices: readonly T[]): T {
  if (choices.includes(value)) return value;
  throw new ConfigError(`${name} is "${value}": expected ${choices.join(" or ")}`);
}

function drives(asked: readonly DriveOption[]): DriveSpec[] {
  if (asked.length > DRIVES_MAXIMUM) {
    throw new ConfigError(
      `${asked.length} drives are too many: the board has ${DRIVES_MAXIMUM} slots`,
    );
  }
  return asked.map((drive) => {
    const { path, readOnly = false, format } = typeof drive === "string" ? { path: drive } : drive;
    if (format !== undefined) choice(`format of "${path}"`, format, DISK_FORMATS);
    return { path, readOnly, format };
  });
}
