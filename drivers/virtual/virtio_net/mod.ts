/** The virtio network device (Virtual I/O Device 1.2, section 5.1): one queue pair, no offloads. */
import { bytes, defineDevice, equalBytes, layout } from "../../../kernel/driver/mod.ts";
import { DEVICE_ID, WINDOW } from "../virtio/registers.ts";
import { MmioTransport, transportFields } from "../virtio/transport_mmio.ts";

/** Feature bits. */
const FEATURE = { mac: 5, status: 16 } as const;
/** virtio_net_hdr with num_buffers. */
const HEADER_BYTES = 12;
/** Ethernet with a VLAN tag and an MTU of 1500. */
const FRAME_BYTES_MAXIMUM = 1518;
const RECEIVE = 0;
const TRANSMIT = 1;
const LINK_UP = 1;

export default defineDevice({
  name: "virtio_net",
  compatible: ["virtio,mmio"],
  window: WINDOW,
  state: layout("virtio_net", 1, { ...transportFields(2), mac: bytes(6) }),
  needs: ["irq", "memory", "network"],
  attach(state, env) {
    const features = [FEATURE.mac, FEATURE.status];
    const transport = new MmioTransport(state, env, 2, features);
    const transmit = transport.queues[TRANSMIT]!;
    const receive = transport.queues[RECEIVE]!;

    const sendAll = () => {
      while (transport.running) {
        const chain = transmit.take();
        if (chain === undefined) return;
        const length = chain.readableBytes - HEADER_BYTES;
        if (length > 0 && length <= FRAME_BYTES_MAXIMUM) {
          const frame = transmit.read(chain, HEADER_BYTES, length);
          if (frame !== undefined) env.frame(frame);
        }
        transmit.give(chain, 0);
      }
    };

    const accept = (frame: Uint8Array): number => {
      if (!transport.running || frame.length > FRAME_BYTES_MAXIMUM) return frame.length;
      const chain = receive.take();
      // Without a buffer the frame is lost, as on a wire.
      if (chain === undefined) return frame.length;
      const packet = new Uint8Array(HEADER_BYTES + frame.length);
      packet[10] = 1;
      packet.set(frame, HEADER_BYTES);
      receive.give(chain, receive.write(chain, 0, packet) ? packet.length : 0);
      return frame.length;
    };

    return transport.device({
      deviceId: DEVICE_ID.network,
      features,
      queues: 2,
      config: () => Uint8Array.of(...state.mac, LINK_UP, 0),
      notify(queue) {
        if (queue === TRANSMIT) sendAll();
      },
    }, {
      input: (_port, frame) => accept(frame),
      identify({ mac }) {
        if (equalBytes(mac, state.mac)) return;
        state.mac.set(mac);
        // A driver that has not begun has read nothing.
        if (state.status !== 0) transport.configChanged();
      },
      reset() {
        // What boards before version 3 have: the last byte tells devices of one board apart.
        const last = [...env.name].reduce((sum, c) => sum * 31 + c.charCodeAt(0) & 0xff, 7);
        state.mac.set([0x52, 0x54, 0x00, 0x43, 0x56, last]);
      },
    });
  },
});
