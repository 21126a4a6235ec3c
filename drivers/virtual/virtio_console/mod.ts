/** The virtio console with a terminal and a command channel: device.ts (behaviour). */
import { bool, byteQueue, defineDevice, layout, u16 } from "../../../kernel/driver/mod.ts";
import { WINDOW } from "../virtio/registers.ts";
import { transportFields } from "../virtio/transport_mmio.ts";
import { attachConsole, QUEUES } from "./device.ts";

export default defineDevice({
  name: "virtio_console",
  compatible: ["virtio,mmio"],
  window: WINDOW,
  state: layout("virtio_console", 2, {
    ...transportFields(QUEUES),
    columns: u16,
    rows: u16,
    portsAdded: bool,
    control: byteQueue(1024),
  }),
  needs: ["irq", "memory", "output"],
  attach: (state, env) => attachConsole(state, env),
});
