/** The virtio block device: device.ts (behaviour). */
import { bytes, defineDevice, layout } from "../../../kernel/driver/mod.ts";
import { WINDOW } from "../virtio/registers.ts";
import { transportFields } from "../virtio/transport_mmio.ts";
import { attachBlock } from "./device.ts";

export default defineDevice({
  name: "virtio_blk",
  compatible: ["virtio,mmio"],
  window: WINDOW,
  state: layout("virtio_blk", 1, { ...transportFields(1), inFlight: bytes(256) }),
  needs: ["irq", "memory", "disk"],
  attach: (state, env) => attachBlock(state, env),
});
