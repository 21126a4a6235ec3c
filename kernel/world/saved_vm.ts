/**
 * What a checkpoint keeps of a VM beside its machine's image, its memory and its disks' contents: how it was
 * made, so that it can be made again, and what was under way between its worlds (S17; issue 5, "One
 * checkpoint format": "configuration, identity").
 *
 * Invariants: a value that is read back is complete and within every limit of the machine, or refused by
 * name; nothing here is the guest's own state.
 */
import { FormatError } from "../base/errors.ts";
import { Shape } from "../base/shape.ts";
import { PAGE_BYTES } from "../base/units.ts";
import type { CheckpointHead } from "../checkpoint/checkpoint_format.ts";
import {
  APPEND_MAXIMUM,
  CACHE_ELEMENTS_MAXIMUM,
  DRIVES_MAXIMUM,
  GUEST_MEMORY_MAXIMUM,
  GUEST_MEMORY_MINIMUM,
  HARTS_MAXIMUM,
  TLB_ENTRIES_MAXIMUM,
  TLB_ENTRIES_MINIMUM,
  VM_NAME_MAXIMUM,
  WASM_PAGE_BYTES,
} from "../limits.ts";
import type { ClockKind } from "../machine/clock.ts";
import { isMachineVersion, MACHINE_VERSION, MACHINE_VERSION_OLDEST } from "../machine/version.ts";
import { UNTAKEN_MAXIMUM } from "./byte_input.ts";
import { EXEC_UNFINISHED_MAXIMUM } from "./exec_protocol.ts";
import type { DiskShape, MachineConfig } from "./machine_port.ts";
import type { ConsoleDevice } from "./vm_console.ts";
import type { AgentPlace } from "./vm_exec.ts";

/** Version of this description. */
export const SAVED_VM_VERSION = 1;

/** A file that the VM's guest was started from: read again when the guest resets itself. */
export interface SavedSource {
  readonly role: "kernel" | "initrd" | "bios";
  readonly path: string;
}

/** A VM as a checkpoint describes it. */
export interface SavedVm {
  readonly name: string;
  /** All that determines its machine but images. */
  readonly machine: Omit<MachineConfig, "kernel" | "initrd" | "bios"> & {
    /** "image": the firmware is a file, among the sources. */
    readonly bios: "builtin" | "none" | "image";
  };
  /** Missing: the image was given as bytes, and a guest that resets itself cannot start again. */
  readonly sources: readonly SavedSource[];
  readonly console: ConsoleDevice;
  readonly network: "none" | "loopback";
  readonly onReset: "restart" | "end";
  /** Name under which translations of its code are kept. */
  readonly translations: string;
  /** The host's wall clock at the stop, in nanoseconds since 1970. */
  readonly wallNanoseconds: bigint;
  /** What was typed and not taken by the guest. */
  readonly typed: Uint8Array;
  /** The connection to the guest's agent. */
  readonly agent: AgentPlace;
}

/** The value that a checkpoint keeps. */
export function encodeSavedVm(vm: SavedVm): Record<string, unknown> {
  const { machine, wallNanoseconds, ...same } = vm;
  const { startWallNanoseconds, tlbEntries, cacheElements, disks, ...rest } = machine;
  return {
    version: SAVED_VM_VERSION,
    ...same,
    wallNanoseconds: `${wallNanoseconds}`,
    machine: {
      ...rest,
      startWallNanoseconds: `${startWallNanoseconds}`,
      tlbEntries: tlbEntries ?? null,
      cacheElements: cacheElements ?? null,
      disks: disks.map(({ sectors, readOnly }) => ({ sectors, readOnly })),
    },
  };
}

/** Reads what `encodeSavedVm` gave. Throws FormatError that names what is wrong; `where` is the checkpoint. */
export function decodeSavedVm(value: unknown, where: string): SavedVm {
  const vm = new Shape(value, `${where}: VM`);
  const version = vm.field("version").whole(1);
  if (version !== SAVED_VM_VERSION) {
    throw new FormatError(
      `${where} describes its VM in version ${version}; this program reads ${SAVED_VM_VERSION}`,
    );
  }
  return {
    name: vm.field("name").text(VM_NAME_MAXIMUM),
    machine: machineOf(vm.field("machine"), where),
    sources: vm.field("sources").list(3, (source) => ({
      role: source.field("role").oneOf(["kernel", "initrd", "bios"]),
      path: source.field("path").text(),
    })),
    console: vm.field("console").oneOf(["uart", "virtio"]),
    network: vm.field("network").oneOf(["none", "loopback"]),
    onReset: vm.field("onReset").oneOf(["restart", "end"]),
    translations: vm.field("translations").matching(/^[0-9a-f]{8,64}\.regions$/, "a file's name"),
    wallNanoseconds: vm.field("wallNanoseconds").digits(),
    typed: vm.field("typed").bytes(UNTAKEN_MAXIMUM),
    agent: agentOf(vm.field("agent")),
  };
}

/** Compares a VM with the head of its checkpoint. Throws FormatError that names what differs. */
export function checkAgainstHead(
  { machine: { memoryBytes, machineVersion } }: SavedVm,
  head: Pick<CheckpointHead, "memoryPages" | "machineVersion">,
  where: string,
): void {
  const pairs = [
    ["memoryBytes", memoryBytes, head.memoryPages * PAGE_BYTES],
    ["machineVersion", machineVersion, head.machineVersion],
  ] as const;
  for (const [name, has, expected] of pairs) {
    if (has === expected) continue;
    throw new FormatError(
      `${where}: VM.machine.${name} is ${has}: expected ${expected}, as its head says`,
    );
  }
}

function machineOf(machine: Shape, where: string): SavedVm["machine"] {
  const machineVersion = machine.field("machineVersion").whole(1);
  if (!isMachineVersion(machineVersion)) {
    throw new FormatError(
      `${where} is of machine version ${machineVersion}; this program makes versions ` +
        `${MACHINE_VERSION_OLDEST} to ${MACHINE_VERSION}`,
    );
  }
  return {
    machineVersion,
    memoryBytes: wholePages(
      machine.field("memoryBytes").whole(GUEST_MEMORY_MINIMUM, GUEST_MEMORY_MAXIMUM),
      where,
    ),
    harts: machine.field("harts").whole(1, HARTS_MAXIMUM),
    append: machine.field("append").text(APPEND_MAXIMUM),
    bios: machine.field("bios").oneOf(["builtin", "none", "image"]),
    disks: machine.field("disks").list(DRIVES_MAXIMUM, diskOf),
    clock: machine.field("clock").oneOf<ClockKind>(["host", "virtual", "exact"]),
    tier: machine.field("tier").oneOf(["auto", "interpreter", "translator", "check"]),
    tlbEntries: machine.optional(
      "tlbEntries",
      (it) => powerOfTwo(it.whole(TLB_ENTRIES_MINIMUM, TLB_ENTRIES_MAXIMUM), where),
    ),
    cacheElements: machine.optional("cacheElements", (it) => it.whole(1, CACHE_ELEMENTS_MAXIMUM)),
    seed: machine.field("seed").whole(0),
    startWallNanoseconds: machine.field("startWallNanoseconds").digits(),
    trace: machine.field("trace").flag(),
  };
}

function wholePages(memoryBytes: number, where: string): number {
  if (memoryBytes % WASM_PAGE_BYTES === 0) return memoryBytes;
  throw new FormatError(
    `${where}: VM.machine.memoryBytes is ${memoryBytes}: expected a multiple of ${WASM_PAGE_BYTES}`,
  );
}

function powerOfTwo(tlbEntries: number, where: string): number {
  if (Number.isInteger(Math.log2(tlbEntries))) return tlbEntries;
  throw new FormatError(
    `${where}: VM.machine.tlbEntries is ${tlbEntries}: expected a power of two`,
  );
}

function diskOf(disk: Shape): DiskShape {
  return { sectors: disk.field("sectors").whole(1), readOnly: disk.field("readOnly").flag() };
}

function agentOf(agent: Shape): AgentPlace {
  return {
    version: agent.field("version").whole(0, 999_999_999),
    nextCommand: agent.field("nextCommand").whole(1, 999_999_999),
    rest: agent.field("rest").bytes(EXEC_UNFINISHED_MAXIMUM),
    untaken: agent.field("untaken").bytes(UNTAKEN_MAXIMUM),
  };
}
