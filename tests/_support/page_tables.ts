/**
 * Page tables in guest memory for tests, of all three widths (privileged ISA, "Sv39", "Sv48", "Sv57").
 * Tables lie from TABLES on, the root first; entries are written as a device would write them.
 */
import { type BareCore, RAM } from "./bare_core.ts";

/** A translation mode. */
export type Paging = "sv39" | "sv48" | "sv57";

/** Bits of leaf entries in common combinations. */
export const LEAF = {
  /** V R W X A D: everything for supervisors. */
  all: 0xcfn,
  /** The same with U: everything for users. */
  user: 0xdfn,
  V: 1n,
  R: 2n,
  W: 4n,
  X: 8n,
  U: 16n,
  G: 32n,
  A: 64n,
  D: 128n,
} as const;

/** Guest-physical address of the root table. */
export const TABLES = RAM + 0x40_0000;

const MODE = { sv39: 8n, sv48: 9n, sv57: 10n } as const;
const LEVELS = { sv39: 3, sv48: 4, sv57: 5 } as const;

/** A page-table entry for a physical address. */
export function entryFor(physical: number | bigint, flags: bigint): bigint {
  return BigInt(physical) >> 12n << 10n | flags;
}

/** One address space. */
export class PageTables {
  readonly levels: number;
  #used = 1;

  /** @param root guest-physical address of the root; the tables below follow it */
  constructor(
    private readonly hart: BareCore,
    readonly paging: Paging,
    readonly root = TABLES,
  ) {
    this.levels = LEVELS[paging];
    this.#clear(root);
  }

  /** What satp holds to use these tables. */
  get satp(): bigint {
    return MODE[this.paging] << 60n | BigInt(this.root) >> 12n;
  }

  /** Writes satp. */
  turnOn(): void {
    this.hart.set("satp", this.satp);
  }

  /** Guest-physical address of the entry of a virtual address at a level; makes tables on the way. */
  slot(address: bigint, level = 0): number {
    let table = this.root;
    for (let at = this.levels - 1; at > level; at--) {
      const slot = this.#slotIn(table, address, at);
      const entry = this.hart.memory(slot);
      if ((entry & 1n) === 0n) {
        const next = this.root + 4096 * this.#used++;
        this.#clear(next);
        this.hart.setMemory(slot, entryFor(next, 1n));
        table = next;
      } else {
        table = Number(entry >> 10n << 12n);
      }
    }
    return this.#slotIn(table, address, level);
  }

  /** Writes a leaf at a level, 0 the smallest; gives the address of the entry. */
  map(address: bigint, physical: number | bigint, flags: bigint, level = 0): number {
    const slot = this.slot(address, level);
    this.hart.setMemory(slot, entryFor(physical, flags));
    return slot;
  }

  #slotIn(table: number, address: bigint, level: number): number {
    return table + 8 * Number(address >> BigInt(12 + 9 * level) & 511n);
  }

  #clear(table: number): void {
    for (let i = 0; i < 512; i++) this.hart.setMemory(table + 8 * i, 0n);
  }
}
