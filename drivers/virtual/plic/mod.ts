/** The platform-level interrupt controller: registers.ts (map), device.ts (behaviour). */
import { defineDevice, layout, u32s } from "../../../kernel/driver/mod.ts";
import { attachPlic } from "./device.ts";
import { SOURCE_WORDS, SOURCES } from "./registers.ts";

/** Machine and supervisor contexts of at most eight harts. */
const CONTEXTS = 16;

export default defineDevice({
  name: "plic",
  compatible: ["sifive,plic-1.0.0", "riscv,plic0"],
  window: 0x60_0000,
  state: layout("plic", 1, {
    priority: u32s(SOURCES),
    level: u32s(SOURCE_WORDS),
    pending: u32s(SOURCE_WORDS),
    claimed: u32s(SOURCE_WORDS),
    enable: u32s(CONTEXTS * SOURCE_WORDS),
    threshold: u32s(CONTEXTS),
  }),
  needs: ["hartLines"],
  attach: (state, env) => attachPlic(state, env),
});
