/** The virtio block device of machine version 3 and later: device.ts (behaviour). */
import { defineDevice, layout, u16s, u32 } from "../../../kernel/driver/mod.ts";
import { WINDOW } from "../virtio/registers.ts";
import { transportFields } from "../virtio/transport_mmio.ts";
import { attachBlock, QUEUES_MAXIMUM, TAGS } from "./device.ts";

export default defineDevice({
  name: "virtio_blk_mq",
  compatible: ["virtio,mmio"],
  window: WINDOW,
  state: layout("virtio_blk_mq", 1, {
    ...transportFields(QUEUES_MAXIMUM),
    requests: u16s(TAGS),
    step: u16s(TAGS),
    steps: u16s(TAGS),
    writethrough: u32,
  }),
  needs: ["irq", "memory", "disk"],
  attach: (state, env) => attachBlock(state, env),
});
