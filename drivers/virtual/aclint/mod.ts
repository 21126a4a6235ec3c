/** The core-local interruptor (timer and software interrupts): device.ts (behaviour). */
import { defineDevice, layout, u32s } from "../../../kernel/driver/mod.ts";
import { attachAclint } from "./device.ts";

export default defineDevice({
  name: "aclint",
  compatible: ["sifive,clint0", "riscv,clint0"],
  window: 0x1_0000,
  state: layout("aclint", 1, { software: u32s(8), compare: u32s(16) }),
  needs: ["hartLines", "clock", "timer"],
  attach: (state, env) => attachAclint(state, env),
});
