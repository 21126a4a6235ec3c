/** TABLE: registers and bits of the 16550A (PC16550D data sheet, "Registers"). */

/** Register offsets; DLAB selects the divisor at 0 and 1. */
export const REGISTER = {
  data: 0,
  interruptEnable: 1,
  interruptIdentity: 2,
  lineControl: 3,
  modemControl: 4,
  lineStatus: 5,
  modemStatus: 6,
  scratch: 7,
} as const;

/** Interrupt enable. */
export const IER = { received: 1, transmitted: 2, lineStatus: 4, modemStatus: 8 } as const;
/** Interrupt identity: cause with bit 0 clear when one is pending; bits 7:6 say FIFOs are on. */
export const IIR = {
  none: 1,
  transmitted: 2,
  received: 4,
  lineStatus: 6,
  timeout: 12,
  fifos: 0xc0,
} as const;
/** FIFO control. */
export const FCR = { enable: 1, clearReceive: 2, clearTransmit: 4 } as const;
/** Bytes in the receiver at which it interrupts, by bits 7:6 of FIFO control. */
export const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** Line control. */
export const LCR = { divisorLatch: 0x80 } as const;
/** Modem control. */
export const MCR = { dtr: 1, rts: 2, out1: 4, out2: 8, loopback: 0x10 } as const;
/** Line status. */
export const LSR = { dataReady: 1, overrun: 2, transmitEmpty: 0x20, idle: 0x40 } as const;
/** Modem status: levels (deltas are not modelled beyond loopback). */
export const MSR = { cts: 0x10, dsr: 0x20, ring: 0x40, carrier: 0x80 } as const;
