/**
 * TABLE: which devices a machine has, by its version (version.ts; docs/decisions/0014). Bus, states and
 * device tree are made from it; where each device lies is in memory_map.ts.
 *
 * Invariant: the board of a version that was ever released stays what it is, instance by instance and in
 * this order: the order is that of the states in an image and of the nodes in the tree.
 */
import { ConfigError } from "../base/errors.ts";
import { assert } from "../base/assert.ts";
import { DRIVES_MAXIMUM, VIRTIO_SLOTS_TAKEN } from "../limits.ts";
import { BOARD, virtioSlot } from "./memory_map.ts";
import { checkMachineVersion, MACHINE_VERSION, MACHINE_VERSION_OLDEST } from "./version.ts";

/** A device of a board. */
export interface BoardEntry {
  /** Name of the instance, unique on the board. */
  readonly name: string;
  readonly driver: string;
  /** Disk number, or -1. */
  readonly disk: number;
  readonly base: number;
  /** Interrupt source; 0: none. */
  readonly irq: number;
}

type Instance = readonly [name: string, driver: string];

/** What a version's board is made of. */
interface BoardTable {
  /** Devices that are always there. */
  readonly fixed: readonly Instance[];
  /** Driver of the disks, which take the first virtio slots. */
  readonly disk: string;
  /** What takes the virtio slots behind the disks. */
  readonly virtio: readonly Instance[];
}

const VERSION_2: BoardTable = {
  fixed: [
    ["plic", "plic"],
    ["clint", "aclint"],
    ["test", "syscon"],
    ["rtc", "goldfish_rtc"],
    ["uart0", "uart16550"],
  ],
  disk: "virtio_blk",
  virtio: [
    ["console0", "virtio_console"],
    ["net0", "virtio_net"],
    ["rng0", "virtio_rng"],
  ],
};

/** With a generation ID, addresses of the VM's own, and disks with a queue for each hart. */
const VERSION_3: BoardTable = {
  ...VERSION_2,
  fixed: [...VERSION_2.fixed, ["vmgenid", "vmgenid"]],
  disk: "virtio_blk_mq",
};

const BOARDS: Readonly<Record<number, BoardTable>> = {
  2: VERSION_2,
  3: VERSION_3,
};

for (let version = MACHINE_VERSION_OLDEST; version <= MACHINE_VERSION; version++) {
  assert(
    BOARDS[version]!.virtio.length === VIRTIO_SLOTS_TAKEN,
    "limits.ts counts the virtio devices of every board",
  );
}

/** The board of a machine with so many disks. Throws ConfigError for too many, and for an unknown version. */
export function boardOf(version: number, disks: number): BoardEntry[] {
  checkMachineVersion(version);
  if (disks > DRIVES_MAXIMUM) {
    throw new ConfigError(`at most ${DRIVES_MAXIMUM} drives fit on the board, not ${disks}`);
  }
  const { fixed, disk: diskDriver, virtio } = BOARDS[version]!;
  const drives = Array.from({ length: disks }, (_, disk) => ({
    name: `disk${disk}`,
    driver: diskDriver,
    disk,
  }));
  const others = virtio.map(([name, driver]) => ({ name, driver, disk: -1 }));
  return [
    ...fixed.map(([name, driver]) => ({ name, driver, disk: -1, ...BOARD[driver]! })),
    ...[...drives, ...others].map((entry, slot) => ({ ...entry, ...virtioSlot(slot) })),
  ];
}
