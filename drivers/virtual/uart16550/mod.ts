/** The 16550A serial port: registers.ts (data sheet), device.ts (behaviour). */
import { bool, byteQueue, defineDevice, layout, u16, u8 } from "../../../kernel/driver/mod.ts";
import { attachUart } from "./device.ts";

export default defineDevice({
  name: "uart16550",
  compatible: ["ns16550a"],
  window: 0x100,
  state: layout("uart16550", 1, {
    interruptEnable: u8,
    fifoControl: u8,
    lineControl: u8,
    modemControl: u8,
    scratch: u8,
    divisor: u16,
    overrun: bool,
    transmitPending: bool,
    received: byteQueue(16),
  }),
  needs: ["irq", "output"],
  attach: (state, env) => attachUart(state, env),
});
