/** What a checkpoint keeps of a VM comes back as it was, or is refused by name. */
import { assertEquals, assertThrows } from "@std/assert";
import { decode, encode } from "@std/msgpack";
import { FormatError } from "../../../kernel/base/errors.ts";
import { MACHINE_VERSION } from "../../../kernel/machine/version.ts";
import { decodeSavedVm, encodeSavedVm, type SavedVm } from "../../../kernel/world/saved_vm.ts";

const VM: SavedVm = {
  name: "web",
  machine: {
    machineVersion: MACHINE_VERSION,
    memoryBytes: 512 * 1024 * 1024,
    harts: 2,
    append: "console=ttyS0",
    bios: "builtin",
    disks: [{ sectors: 2048, readOnly: false }],
    clock: "host",
    tier: "auto",
    tlbEntries: undefined,
    cacheElements: 16,
    seed: 2 ** 53 - 1,
    startWallNanoseconds: 1_767_225_600_000_000_001n,
    trace: false,
  },
  sources: [{ role: "kernel", path: "vmlinux" }],
  console: "uart",
  network: "none",
  onReset: "restart",
  translations: "0123456789abcdef.regions",
  wallNanoseconds: 2n ** 63n,
  typed: Uint8Array.of(1, 2, 3),
  agent: { version: 2, nextCommand: 7, rest: Uint8Array.of(72), untaken: new Uint8Array(0) },
};

Deno.test("what was kept comes back as it was", () => {
  assertEquals(decodeSavedVm(decode(encode(encodeSavedVm(VM))), "x"), VM);
});

Deno.test("what is missing, out of range or of another version is refused by name", () => {
  const value = encodeSavedVm(VM);
  const machine = value.machine as Record<string, unknown>;
  const cases: [Record<string, unknown>, string][] = [
    [{ version: 2 }, "x describes its VM in version 2; this program reads 1"],
    [{ name: 5 }, "x: VM.name is 5: expected a text of at most 256 characters"],
    [{ translations: "../a" }, 'x: VM.translations is "../a": expected a file\'s name'],
    [
      { machine: { ...machine, harts: 9 } },
      "x: VM.machine.harts is 9: expected a whole number from 1 to 8",
    ],
    [
      { machine: { ...machine, machineVersion: 99 } },
      `x is of machine version 99; this program makes versions 2 to ${MACHINE_VERSION}`,
    ],
    [{ agent: null }, "x: VM.agent is null: expected an object"],
    [{ typed: new Uint8Array(20_000) }, "x: VM.typed is 20000 bytes: expected at most 16384 bytes"],
  ];
  for (const [change, message] of cases) {
    assertThrows(() => decodeSavedVm({ ...value, ...change }, "x"), FormatError, message);
  }
});
