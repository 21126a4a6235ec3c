/**
 * The generation ID of a VM, by which a guest sees that it is a copy (Microsoft's Virtual Machine Generation
 * ID; Linux's device tree binding rng/microsoft,vmgenid): device.ts (behaviour). Linux mixes a new one into its
 * generator of random numbers before it answers anybody again.
 */
import { bool, bytes, defineDevice, layout, u16 } from "../../../kernel/driver/mod.ts";
import { attachGeneration, GENERATION_BYTES } from "./device.ts";

export default defineDevice({
  name: "vmgenid",
  compatible: ["microsoft,vmgenid"],
  window: 0x1000,
  state: layout("vmgenid", 1, {
    generation: bytes(GENERATION_BYTES),
    seen: u16,
    raised: bool,
  }),
  needs: ["irq"],
  attach: (state, env) => attachGeneration(state, env),
});
