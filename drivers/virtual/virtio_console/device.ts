/**
 * Behaviour of the virtio console with several ports (Virtual I/O Device 1.2, section 5.3): port 0 is a
 * terminal, port 1 is a named channel for the host's commands.
 *
 * Invariants: input is taken only as far as the guest has buffers for it, the rest stays with the
 * kernel; control messages to the guest wait in the state until it has a buffer for them.
 */
import type { ByteQueue, Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";
import { DEVICE_ID } from "../virtio/registers.ts";
import { MmioTransport, type TransportState } from "../virtio/transport_mmio.ts";
import type { Virtqueue } from "../virtio/virtqueue.ts";

/** Feature bits. */
export const FEATURE = { size: 0, multiplePorts: 1 } as const;
/** Control events. */
export const EVENT = {
  deviceReady: 0,
  portAdd: 1,
  portReady: 3,
  consolePort: 4,
  resize: 5,
  portOpen: 6,
  portName: 7,
} as const;

/** Ports of the device: the terminal and the command channel. */
export const PORT_NAMES = ["org.chronovisor.console", "org.chronovisor.exec"] as const;
/** Two queues a port, and two for control. */
export const QUEUES = 2 * PORT_NAMES.length + 2;

const CONTROL_RECEIVE = 2;
const CONTROL_TRANSMIT = 3;
const CONTROL_BYTES = 8;
/** Most bytes of one transmission that are copied at once. */
const OUTPUT_BYTES_MAXIMUM = 65536;

/** The state of the console. */
export interface ConsoleState extends TransportState {
  columns: number;
  rows: number;
  /** The guest was told which ports there are. */
  portsAdded: boolean;
  /** Control messages for the guest: a length byte and the message, one after another. */
  readonly control: ByteQueue;
}

const receiveQueue = (port: number) => port === 0 ? 0 : 2 + 2 * port;
const portOfTransmit = (queue: number) => queue === 1 ? 0 : (queue - 3) / 2;

/** Makes the behaviour of the console. */
export function attachConsole(state: ConsoleState, env: DeviceEnvironment): Device {
  const features = [FEATURE.size, FEATURE.multiplePorts];
  const transport = new MmioTransport(state, env, QUEUES, features);
  const queues = transport.queues;

  const flushControl = () => {
    const queue = queues[CONTROL_RECEIVE]!;
    while (transport.running && state.control.length > 0) {
      const chain = queue.take();
      if (chain === undefined) return;
      const length = state.control.shift()!;
      const message = Uint8Array.from({ length }, () => state.control.shift()!);
      queue.give(chain, queue.write(chain, 0, message) ? length : 0);
    }
  };

  const sendControl = (port: number, event: number, value: number, rest = new Uint8Array(0)) => {
    if (!transport.negotiated(FEATURE.multiplePorts)) return;
    const length = CONTROL_BYTES + rest.length;
    // A guest that never takes its messages loses further ones.
    if (state.control.capacity - state.control.length < length + 1) return;
    const message = new Uint8Array(length);
    const view = new DataView(message.buffer);
    view.setUint32(0, port, true);
    view.setUint16(4, event, true);
    view.setUint16(6, value, true);
    message.set(rest, CONTROL_BYTES);
    state.control.push(length);
    for (const byte of message) state.control.push(byte);
  };

  const sendSize = () => {
    const size = new Uint8Array(4);
    // The order on the wire is columns, then rows, in the spec; Linux reads rows first, as QEMU sends.
    new DataView(size.buffer).setUint16(0, state.rows, true);
    new DataView(size.buffer).setUint16(2, state.columns, true);
    sendControl(0, EVENT.resize, 0, size);
  };

  const addPorts = () => {
    if (state.portsAdded) return;
    state.portsAdded = true;
    PORT_NAMES.forEach((_, i) => sendControl(i, EVENT.portAdd, 0));
  };

  const portReady = (port: number) => {
    if (port === 0) sendControl(0, EVENT.consolePort, 1);
    else sendControl(port, EVENT.portName, 1, new TextEncoder().encode(PORT_NAMES[port]!));
    sendControl(port, EVENT.portOpen, 1);
    if (port === 0 && state.columns > 0) sendSize();
  };

  const readControl = () => {
    const queue = queues[CONTROL_TRANSMIT]!;
    while (transport.running) {
      const chain = queue.take();
      if (chain === undefined) return;
      const message = chain.readableBytes >= CONTROL_BYTES
        ? queue.read(chain, 0, CONTROL_BYTES)
        : undefined;
      if (message !== undefined) {
        const view = new DataView(message.buffer);
        const port = view.getUint32(0, true);
        const event = view.getUint16(4, true);
        const value = view.getUint16(6, true);
        if (event === EVENT.deviceReady && value === 1) {
          addPorts();
        } else if (event === EVENT.portReady && value === 1 && port < PORT_NAMES.length) {
          portReady(port);
        }
      }
      queue.give(chain, 0);
    }
  };

  const sendOutput = (index: number) => {
    const queue = queues[index]!;
    while (transport.running) {
      const chain = queue.take();
      if (chain === undefined) return;
      for (let offset = 0; offset < chain.readableBytes; offset += OUTPUT_BYTES_MAXIMUM) {
        const length = Math.min(OUTPUT_BYTES_MAXIMUM, chain.readableBytes - offset);
        const bytes = queue.read(chain, offset, length);
        if (bytes === undefined) break;
        env.output(portOfTransmit(index), bytes);
      }
      queue.give(chain, 0);
    }
  };

  return transport.device({
    deviceId: DEVICE_ID.console,
    features,
    queues: QUEUES,
    config() {
      const view = new DataView(new ArrayBuffer(12));
      view.setUint16(0, state.columns, true);
      view.setUint16(2, state.rows, true);
      view.setUint32(4, PORT_NAMES.length, true);
      return new Uint8Array(view.buffer);
    },
    notify(queue) {
      if (queue === CONTROL_TRANSMIT) readControl();
      else if (queue !== CONTROL_RECEIVE && (queue & 1) === 1) sendOutput(queue);
      flushControl();
    },
    reset() {
      state.portsAdded = false;
      state.control.clear();
    },
  }, {
    input(port, bytes) {
      const queue = queues[receiveQueue(port)];
      return queue !== undefined && transport.running ? fill(queue, bytes) : 0;
    },
    resize(_port, columns, rows) {
      state.columns = columns;
      state.rows = rows;
      transport.configChanged();
      sendSize();
      flushControl();
    },
  });
}

/** Copies input into the guest's buffers; gives how many bytes it had room for. */
function fill(queue: Virtqueue, bytes: Uint8Array): number {
  let taken = 0;
  while (taken < bytes.length) {
    const chain = queue.take();
    if (chain === undefined) break;
    const part = bytes.subarray(taken, taken + chain.writableBytes);
    if (part.length === 0 || !queue.write(chain, 0, part)) {
      queue.give(chain, 0);
      break;
    }
    queue.give(chain, part.length);
    taken += part.length;
  }
  return taken;
}
