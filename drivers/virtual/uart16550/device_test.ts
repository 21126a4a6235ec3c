/**
 * The serial port against the PC16550D data sheet (section 8, "Registers").
 */
import { assertEquals } from "@std/assert";
import { attachDevice, deviceConformance } from "../../../tests/_support/conformance/device.ts";
import type { DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { FCR, IER, IIR, LCR, LSR, MCR, MSR, REGISTER } from "./registers.ts";
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
    interrupt: () => around.lines.get("irq") ?? false,
  };
}

Deno.test("after a reset nothing is received, sent or pending (table of reset values)", () => {
  const uart = port();
  assertEquals(uart.read(REGISTER.lineStatus), LSR.transmitEmpty | LSR.idle);
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.none);
  assertEquals([uart.read(REGISTER.interruptEnable), uart.read(REGISTER.lineControl)], [0, 0]);
  assertEquals([uart.read(REGISTER.data), uart.interrupt()], [0, false]);
});

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
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.fifos | IIR.none);
  uart.write(REGISTER.interruptIdentity, FCR.enable);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, LSR.dataReady);
  uart.write(REGISTER.interruptIdentity, FCR.enable | FCR.clearReceive);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, 0);
});

Deno.test("turning FIFOs on or off clears them", () => {
  const uart = port();
  uart.type("a");
  uart.write(REGISTER.interruptIdentity, FCR.enable);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, 0);
  uart.type("abc");
  uart.write(REGISTER.interruptIdentity, 0);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, 0);
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.none);
});

// A driver that is told of the trigger level may read that many bytes without asking for each.
Deno.test("below the FIFO's trigger level received data are a timeout, from it on an arrival", () => {
  const uart = port();
  uart.write(REGISTER.interruptEnable, IER.received);
  for (const [field, level] of [[0x00, 1], [0x40, 4], [0x80, 8], [0xc0, 14]] as const) {
    uart.write(REGISTER.interruptIdentity, FCR.enable | FCR.clearReceive | field);
    for (let held = 1; held <= 16; held++) {
      uart.type("a");
      const expected = IIR.fifos | (held < level ? IIR.timeout : IIR.received);
      assertEquals(uart.read(REGISTER.interruptIdentity), expected, `${held} of ${level}`);
      assertEquals(uart.interrupt(), true);
    }
    for (let i = 0; i <= 16 - level; i++) uart.read(REGISTER.data);
    const after = uart.read(REGISTER.interruptIdentity);
    assertEquals(after, IIR.fifos | (level > 1 ? IIR.timeout : IIR.none), `below ${level} again`);
  }
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

Deno.test("in loopback what is sent is received, and nothing leaves", () => {
  const uart = port();
  uart.write(REGISTER.modemControl, MCR.loopback);
  uart.write(REGISTER.data, 0x55);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, LSR.dataReady);
  assertEquals([uart.read(REGISTER.data), uart.sent()], [0x55, []]);
});

Deno.test("an overrun without FIFOs destroys the character that was held, and is told once", () => {
  const uart = port();
  uart.write(REGISTER.modemControl, MCR.loopback);
  uart.write(REGISTER.data, 0x55);
  uart.write(REGISTER.data, 0x56);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.overrun, LSR.overrun);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.overrun, 0);
  assertEquals([uart.read(REGISTER.data), uart.read(REGISTER.data)], [0x56, 0]);
});

Deno.test("an overrun of full FIFOs loses what came last", () => {
  const uart = port();
  uart.write(REGISTER.interruptIdentity, FCR.enable);
  uart.write(REGISTER.modemControl, MCR.loopback);
  for (let i = 0; i < 17; i++) uart.write(REGISTER.data, i);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.overrun, LSR.overrun);
  const held = Array.from({ length: 16 }, () => uart.read(REGISTER.data));
  assertEquals(held, Array.from({ length: 16 }, (_, i) => i));
});

Deno.test("the line status is the most urgent cause, and reading it answers it", () => {
  const uart = port();
  uart.write(REGISTER.modemControl, MCR.loopback);
  uart.write(REGISTER.interruptEnable, IER.lineStatus | IER.received | IER.transmitted);
  uart.write(REGISTER.data, 1);
  uart.write(REGISTER.data, 2);
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.lineStatus);
  uart.read(REGISTER.lineStatus);
  assertEquals(uart.read(REGISTER.interruptIdentity), IIR.received);
});

Deno.test("in loopback the receiver hears nothing from outside, and what came waits", () => {
  const uart = port();
  uart.write(REGISTER.modemControl, MCR.loopback);
  assertEquals(uart.type("a"), 0);
  assertEquals(uart.read(REGISTER.lineStatus) & LSR.dataReady, 0);
  uart.write(REGISTER.modemControl, 0);
  assertEquals(uart.type("a"), 1);
});

Deno.test("the modem's inputs are a terminal that is there; in loopback they are our outputs", () => {
  const uart = port();
  assertEquals(uart.read(REGISTER.modemStatus) & 0xf0, MSR.cts | MSR.dsr | MSR.carrier);
  const pairs = [
    [MCR.rts, MSR.cts],
    [MCR.dtr, MSR.dsr],
    [MCR.out1, MSR.ring],
    [MCR.out2, MSR.carrier],
  ] as const;
  for (const [output, input] of pairs) {
    uart.write(REGISTER.modemControl, MCR.loopback | output);
    assertEquals(uart.read(REGISTER.modemStatus) & 0xf0, input);
  }
});

Deno.test("the registers' upper bits that mean nothing read as zero", () => {
  const uart = port();
  uart.write(REGISTER.interruptEnable, 0xff);
  uart.write(REGISTER.modemControl, 0xff);
  assertEquals([uart.read(REGISTER.interruptEnable), uart.read(REGISTER.modemControl)], [15, 31]);
});

Deno.test("the scratch register holds a byte", () => {
  const uart = port();
  uart.write(REGISTER.scratch, 0x1a5);
  assertEquals(uart.read(REGISTER.scratch), 0xa5);
});
