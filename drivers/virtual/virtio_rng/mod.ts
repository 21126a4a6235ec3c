/** The virtio entropy device (Virtual I/O Device 1.2, section 5.4). */
import { defineDevice, layout } from "../../../kernel/driver/mod.ts";
import { DEVICE_ID, WINDOW } from "../virtio/registers.ts";
import { MmioTransport, transportFields } from "../virtio/transport_mmio.ts";

/** Most bytes given for one request; the driver asks again for more. */
const REQUEST_BYTES_MAXIMUM = 4096;

export default defineDevice({
  name: "virtio_rng",
  compatible: ["virtio,mmio"],
  window: WINDOW,
  state: layout("virtio_rng", 1, transportFields(1)),
  needs: ["irq", "memory", "entropy"],
  attach(state, env) {
    const transport = new MmioTransport(state, env, 1, []);
    const queue = transport.queues[0]!;
    return transport.device({
      deviceId: DEVICE_ID.entropy,
      features: [],
      queues: 1,
      config: () => new Uint8Array(0),
      notify() {
        while (transport.running) {
          const chain = queue.take();
          if (chain === undefined) return;
          const random = new Uint8Array(Math.min(chain.writableBytes, REQUEST_BYTES_MAXIMUM));
          env.entropy(random);
          queue.give(chain, queue.write(chain, 0, random) ? random.length : 0);
        }
      },
    });
  },
});
