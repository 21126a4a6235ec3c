/**
 * TABLE: the board, as QEMU's `-machine virt`: windows and interrupt sources (design.md, "The machine
 * guests see"). The bus and the device tree are both made from it.
 */

/** Where a device's registers lie and which interrupt source it drives (0: none). */
export interface BoardSlot {
  readonly base: number;
  readonly irq: number;
}

/** The fixed devices by driver name. */
export const BOARD: Readonly<Record<string, BoardSlot>> = {
  syscon: { base: 0x0010_0000, irq: 0 },
  goldfish_rtc: { base: 0x0010_1000, irq: 11 },
  // QEMU's board has nothing here.
  vmgenid: { base: 0x0010_2000, irq: 12 },
  aclint: { base: 0x0200_0000, irq: 0 },
  plic: { base: 0x0c00_0000, irq: 0 },
  uart16550: { base: 0x1000_0000, irq: 10 },
};

/** The slot of the virtio device with an index from 0 to 7. */
export function virtioSlot(index: number): BoardSlot {
  return { base: 0x1000_1000 + index * 0x1000, irq: 1 + index };
}

/** Frequency of the time counter. */
export const TIMEBASE_HZ = 10_000_000;
/** Clock of the serial port, for the divisor. */
export const UART_CLOCK_HZ = 3_686_400;
/** Highest interrupt source of the controller. */
export const INTERRUPT_SOURCES = 95;
