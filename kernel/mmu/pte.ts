/**
 * TABLE of page-table entry bits and of the translation modes (privileged ISA, "Sv39", "Sv48", "Sv57").
 */

/** Bits of a page-table entry. */
export const PTE = {
  V: 1n << 0n,
  R: 1n << 1n,
  W: 1n << 2n,
  X: 1n << 3n,
  U: 1n << 4n,
  G: 1n << 5n,
  A: 1n << 6n,
  D: 1n << 7n,
} as const;

/** Bits 63:54: N, PBMT and reserved; none of their extensions is implemented, so they must be zero. */
export const PTE_RESERVED = 0xffc0_0000_0000_0000n;
/** Bits that must be zero in an entry that points to the next level. */
export const PTE_NON_LEAF_RESERVED = PTE.A | PTE.D | PTE.U;
/** The physical page number, bits 53:10. */
export const PTE_PPN_SHIFT = 10;
/** Mask of the 44-bit physical page number. */
export const PPN_MASK = (1n << 44n) - 1n;

/** satp.MODE values: number of levels = mode - 5. */
export const SATP_MODE = { bare: 0, sv39: 8, sv48: 9, sv57: 10 } as const;
/** Position of satp.MODE. */
export const SATP_MODE_SHIFT = 60;

/** What an access wants to do. */
export const ACCESS = { load: 0, store: 1, fetch: 2 } as const;
