/** The virtio block device of machine version 2: device.ts (behaviour). */
import { defineDevice, layout, u16s } from "../../../kernel/driver/mod.ts";
import { WINDOW } from "../virtio/registers.ts";
import { transportFields } from "../virtio/transport_mmio.ts";
import { attachBlock, TAGS } from "./device.ts";

export default defineDevice({
  name: "virtio_blk",
  compatible: ["virtio,mmio"],
  window: WINDOW,
  state: layout("virtio_blk", 2, { ...transportFields(1), requests: u16s(TAGS) }),
  needs: ["irq", "memory", "disk"],
  attach: (state, env) => attachBlock(state, env),
});
