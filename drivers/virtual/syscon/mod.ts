/** The power controller (SiFive test device): device.ts (behaviour). It has no state of its own. */
import { defineDevice, layout } from "../../../kernel/driver/mod.ts";
import { attachSyscon } from "./device.ts";

export default defineDevice({
  name: "syscon",
  compatible: ["sifive,test1", "sifive,test0", "syscon"],
  window: 0x1000,
  state: layout("syscon", 1, {}),
  needs: ["power"],
  attach: (_state, env) => attachSyscon(env),
});
