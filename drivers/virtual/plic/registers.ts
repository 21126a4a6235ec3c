/** TABLE: register map of the PLIC (RISC-V Platform-Level Interrupt Controller Specification 1.0). */

/** Sources 1 to 95, as on QEMU's virt board. */
export const SOURCES = 96;
/** Words of a bit map of sources. */
export const SOURCE_WORDS = SOURCES / 32;
/** Priorities are 0 (never) to 7. */
export const PRIORITY_MASK = 7;

/** Bases of the register blocks and strides between contexts. */
export const MAP = {
  priority: 0x0,
  pending: 0x1000,
  enable: 0x2000,
  enableStride: 0x80,
  context: 0x20_0000,
  contextStride: 0x1000,
} as const;
