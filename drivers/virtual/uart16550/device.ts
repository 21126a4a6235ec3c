/**
 * Behaviour of the 16550A serial port with 16-byte FIFOs (PC16550D data sheet), as QEMU's `virt` board
 * has it. Transmission is immediate: the transmitter is always empty again, and received data that do
 * not reach the trigger level have timed out at once.
 *
 * Invariant: the interrupt line follows the highest pending enabled cause after every access.
 */
import type { ByteQueue, Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";
import { FCR, IER, IIR, LCR, LSR, MCR, MSR, REGISTER, TRIGGER_LEVELS } from "./registers.ts";

/** The state of a serial port. */
export interface UartState {
  interruptEnable: number;
  fifoControl: number;
  lineControl: number;
  modemControl: number;
  scratch: number;
  divisor: number;
  overrun: boolean;
  /** The transmitter became empty and nobody has been told yet. */
  transmitPending: boolean;
  readonly received: ByteQueue;
}

/** Makes the behaviour of a serial port. */
export function attachUart(state: UartState, env: DeviceEnvironment): Device {
  /** For people only: not part of the machine's state. */
  const counters = { transmitted: 0, received: 0 };
  const fifos = () => (state.fifoControl & FCR.enable) !== 0;
  const capacity = () => fifos() ? state.received.capacity : 1;
  const arrival = () => {
    const below = fifos() && state.received.length < TRIGGER_LEVELS[state.fifoControl >> 6]!;
    return below ? IIR.timeout : IIR.received;
  };
  const cause = (): number => {
    if ((state.interruptEnable & IER.lineStatus) !== 0 && state.overrun) return IIR.lineStatus;
    if ((state.interruptEnable & IER.received) !== 0 && state.received.length > 0) {
      return arrival();
    }
    if ((state.interruptEnable & IER.transmitted) !== 0 && state.transmitPending) {
      return IIR.transmitted;
    }
    return IIR.none;
  };
  const update = () => env.irq(cause() !== IIR.none);

  const receive = (value: number): boolean => {
    if (state.received.length >= capacity()) return false;
    return state.received.push(value);
  };

  const overrun = (value: number) => {
    state.overrun = true;
    // Without FIFOs it is the character that was held that is lost.
    if (!fifos()) {
      state.received.clear();
      state.received.push(value);
    }
  };

  const loopback = () => (state.modemControl & MCR.loopback) !== 0;

  const transmit = (value: number) => {
    if (loopback()) {
      if (!receive(value)) overrun(value);
    } else {
      env.output(0, Uint8Array.of(value));
      counters.transmitted++;
    }
    state.transmitPending = true;
  };

  const divisorLatch = () => (state.lineControl & LCR.divisorLatch) !== 0;

  const modemStatus = () => {
    if (!loopback()) return MSR.cts | MSR.dsr | MSR.carrier;
    const { modemControl: mcr } = state;
    return (mcr & MCR.rts ? MSR.cts : 0) | (mcr & MCR.dtr ? MSR.dsr : 0) |
      (mcr & MCR.out1 ? MSR.ring : 0) | (mcr & MCR.out2 ? MSR.carrier : 0);
  };

  const readIdentity = () => {
    const pending = cause();
    // Reading the identity answers a transmitter interrupt.
    if (pending === IIR.transmitted) state.transmitPending = false;
    return pending | (fifos() ? IIR.fifos : 0);
  };

  const readStatus = () => {
    const status = LSR.transmitEmpty | LSR.idle | (state.received.length > 0 ? LSR.dataReady : 0) |
      (state.overrun ? LSR.overrun : 0);
    state.overrun = false;
    return status;
  };

  const readRegister = (offset: number): number => {
    switch (offset) {
      case REGISTER.data:
        return divisorLatch() ? state.divisor & 0xff : state.received.shift() ?? 0;
      case REGISTER.interruptEnable:
        return divisorLatch() ? state.divisor >> 8 : state.interruptEnable;
      case REGISTER.interruptIdentity:
        return readIdentity();
      case REGISTER.lineControl:
        return state.lineControl;
      case REGISTER.modemControl:
        return state.modemControl;
      case REGISTER.lineStatus:
        return readStatus();
      case REGISTER.modemStatus:
        return modemStatus();
      case REGISTER.scratch:
        return state.scratch;
      default:
        return 0;
    }
  };

  const writeRegister = (offset: number, value: number): void => {
    switch (offset) {
      case REGISTER.data:
        if (divisorLatch()) state.divisor = state.divisor & 0xff00 | value;
        else transmit(value);
        return;
      case REGISTER.interruptEnable:
        if (divisorLatch()) {
          state.divisor = state.divisor & 0xff | value << 8;
        } else {
          // Enabling the transmitter's interrupt while it is empty raises it at once.
          const added = value & ~state.interruptEnable;
          if ((added & IER.transmitted) !== 0) state.transmitPending = true;
          state.interruptEnable = value & 0x0f;
        }
        return;
      case REGISTER.interruptIdentity:
        if (((state.fifoControl ^ value) & FCR.enable) !== 0 || (value & FCR.clearReceive) !== 0) {
          state.received.clear();
        }
        state.fifoControl = value & 0xc9;
        return;
      case REGISTER.lineControl:
        state.lineControl = value;
        return;
      case REGISTER.modemControl:
        state.modemControl = value & 0x1f;
        return;
      case REGISTER.scratch:
        state.scratch = value;
        return;
    }
  };

  return {
    read(offset) {
      const value = readRegister(offset);
      update();
      return value;
    },
    write(offset, _size, value) {
      writeRegister(offset, value & 0xff);
      update();
    },
    input(_port, bytes) {
      // Loopback disconnects the serial input.
      if (loopback()) return 0;
      let taken = 0;
      while (taken < bytes.length && receive(bytes[taken]!)) taken++;
      counters.received += taken;
      if (taken > 0) update();
      return taken;
    },
    counters: () => counters,
    reset() {
      state.modemControl = MCR.out2;
      state.divisor = 12;
      update();
    },
  };
}
