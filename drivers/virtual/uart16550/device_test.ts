/**
 * The serial port against the PC16550D data sheet (section 8, "Registers").
 */
import { assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { FCR, IER, IIR, LCR, LSR, MCR, REGISTER } from "./registers.ts";
import declaration from "./mod.ts";

deviceConformance(declaration);

/** A port after power-on, with its interrupt line's level. */
function port() {
  const { device, around } = attachDevice(declaration as unknown as DeviceDeclaration);
  return {
    read: (register: number) => device.read(register, 1),
    write: (register: number, value: number) => device.write(register, 1, value),
    type: (text: string) => device.input!(0, new TextEncoder().encode(text)),
    sent: () => around.log.filter((line) => line.startsWith("output")),
    interrupt: () => around.log.filter((line) => line.startsWith("irq")).at(-1) === "irq true",
  };
}

Deno.test("what is written to the data register leaves, and the transmitter is empty again", () => {
  const uart = port();
  uart.write(REGISTER.data, 0x41);
  assertEquals(uart.sent(), ["output 0: 65"]);
  assertEquals(uart.read(REGISTER.lineStatus), LSR.transmitEmpty | LSR.idle);
});

Deno.test("without FIFOs one byte is held, with them sixteen; the rest is offered again", () => {
  const uart = port();
  assertEquals(uart.type("abc"), 1);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, LSR.dataReady);
  assertEquals(uart.read(REGISTER.data), 0x61);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, 0);
  uart.write(REGISTER.interruptIdentity, FCR.enable);
  assertEquals(uart.type("0123456789abcdefgh"), 16);
  assertEquals(uart.read(REGISTER.data), 0x30);
  assertEquals(uart.type("xy"), 1);
});

Deno.test("FCR clears the receiver, and IIR says that FIFOs are on", () => {
  const uart = port();
  uart.write(REGISTER.interruptIdentity, FCR.enable);
  uart.type("abc");
  assertEquals(uart.read(REGISTER.interruptIdentity) & IIR.fifos, IIR.fifos);
  uart.write(REGISTER.interruptIdentity, FCR.enable | FCR.clearReceive);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, 0);
});

Deno.test("IIR names the most urgent enabled cause, and reading it answers the transmitter's", () => {
  const uart = port();
  uart.write(REGISTER.interruptEnable, IER.received | IER.transmitted);
  assertEquals(uart.interrupt(), true);
  uart.type("a");
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.received);
  uart.read(REGISTER.data);
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.transmitted);
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.none);
  assertEquals(uart.interrupt(), false);
  uart.write(REGISTER.data, 0x42);
  assertEquals(uart.interrupt(), true);
});

Deno.test("received data interrupt only while they are enabled", () => {
  const uart = port();
  uart.type("a");
  assertEquals(uart.interrupt(), false);
  uart.write(REGISTER.interruptEnable, IER.received);
  assertEquals(uart.interrupt(), true);
  uart.read(REGISTER.data);
  assertEquals(uart.interrupt(), false);
});

Deno.test("DLAB turns the first two registers into the divisor", () => {
  const uart = port();
  uart.write(REGISTER.lineControl, LCR.divisorLatch | 3);
  uart.write(REGISTER.data, 0x34);
  uart.write(REGISTER.interruptEnable, 0x12);
  assertEquals([uart.read(0), uart.read(1), uart.sent()], [0x34, 0x12, []]);
  uart.write(REGISTER.lineControl, 3);
  assertEquals(uart.read(REGISTER.interruptEnable), 0);
});

Deno.test("in loopback what is sent is received, one too many is an overrun, and nothing leaves", () => {
  const uart = port();
  uart.write(REGISTER.modemControl, MCR.loopback);
  uart.write(REGISTER.data, 0x55);
  uart.write(REGISTER.data, 0x56);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.overrun, LSR.overrun);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.overrun, 0);
  assertEquals([uart.read(REGISTER.data), uart.sent()], [0x55, []]);
});

Deno.test("the scratch register holds a byte", () => {
  const uart = port();
  uart.write(REGISTER.scratch, 0x1a5);
  assertEquals(uart.read(REGISTER.scratch), 0xa5);
});
