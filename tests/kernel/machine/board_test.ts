/** Boards by the machine's version: what each is made of, for ever. */
import { assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../../kernel/base/errors.ts";
import { boardOf } from "../../../kernel/machine/board.ts";
import { MACHINE_VERSION, MACHINE_VERSION_OLDEST } from "../../../kernel/machine/version.ts";
import { testMachine } from "../../_support/machine.ts";

/** A board as lines of text. */
const lines = (version: number, disks: number) =>
  boardOf(version, disks).map(({ name, driver, disk, base, irq }) =>
    `${name} ${driver} ${disk} ${base.toString(16)} ${irq}`
  );

Deno.test("the board of version 2 is what it was when it was released", () => {
  assertEquals(lines(2, 1), [
    "plic plic -1 c000000 0",
    "clint aclint -1 2000000 0",
    "test syscon -1 100000 0",
    "rtc goldfish_rtc -1 101000 11",
    "uart0 uart16550 -1 10000000 10",
    "disk0 virtio_blk 0 10001000 1",
    "console0 virtio_console -1 10002000 2",
    "net0 virtio_net -1 10003000 3",
    "rng0 virtio_rng -1 10004000 4",
  ]);
});

Deno.test("version 3 has a generation ID beside the clock, and disks with several queues", () => {
  const [before, after] = [lines(2, 1), lines(3, 1)];
  assertEquals(after.filter((line) => !before.includes(line)), [
    "vmgenid vmgenid -1 102000 12",
    "disk0 virtio_blk_mq 0 10001000 1",
  ]);
  assertEquals(before.filter((line) => !after.includes(line)), [
    "disk0 virtio_blk 0 10001000 1",
  ]);
});

Deno.test("windows, interrupt sources and names of a board are its devices' own", () => {
  for (let version = MACHINE_VERSION_OLDEST; version <= MACHINE_VERSION; version++) {
    const board = boardOf(version, 5);
    const own = (what: readonly unknown[]) => assertEquals(new Set(what).size, what.length);
    own(board.map(({ name }) => name));
    own(board.map(({ base }) => base));
    own(board.map(({ irq }) => irq).filter((irq) => irq !== 0));
  }
});

Deno.test("a machine has the board of its version", () => {
  for (const machineVersion of [2, 3]) {
    const machine = testMachine({
      machineVersion,
      memoryBytes: 4 << 20,
      kernel: { kind: "raw", bytes: new Uint8Array(4) },
    });
    assertEquals(
      machine.devices.map(({ name }) => name),
      boardOf(machineVersion, 0).map(({ name }) => name),
    );
  }
});

Deno.test("a version that nobody knows, and too many drives, are refused", () => {
  for (const version of [1, MACHINE_VERSION + 1, 2.5, NaN]) {
    assertThrows(
      () => boardOf(version, 0),
      ConfigError,
      `machine version ${version} cannot be made here: expected 2 to ${MACHINE_VERSION}`,
    );
  }
  assertThrows(() => boardOf(3, 6), ConfigError, "at most 5 drives fit on the board, not 6");
});
