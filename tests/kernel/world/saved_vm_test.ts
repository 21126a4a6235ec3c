/** What a checkpoint keeps of a VM comes back as it was, or is refused by name. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { decode, encode } from "@std/msgpack";
import { FormatError } from "../../../kernel/base/errors.ts";
import { MACHINE_VERSION } from "../../../kernel/machine/version.ts";
import { ByteInput, UNTAKEN_MAXIMUM } from "../../../kernel/world/byte_input.ts";
import {
  encodeExecFrame,
  EXEC_FRAME,
  EXEC_PAYLOAD_BYTES,
  EXEC_UNFINISHED_MAXIMUM,
  ExecFrameReader,
} from "../../../kernel/world/exec_protocol.ts";
import {
  checkAgainstHead,
  decodeSavedVm,
  encodeSavedVm,
  type SavedVm,
} from "../../../kernel/world/saved_vm.ts";
import { CONSOLE_CREDIT } from "../../../kernel/world/vm_inputs.ts";
import type { VmLink } from "../../../kernel/world/vm_link.ts";

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
    [
      { typed: new Uint8Array(UNTAKEN_MAXIMUM + 1) },
      `x: VM.typed is ${UNTAKEN_MAXIMUM + 1} bytes: expected at most ${UNTAKEN_MAXIMUM} bytes`,
    ],
    [
      { machine: { ...machine, memoryBytes: 2 ** 20 + 4096 } },
      "x: VM.machine.memoryBytes is 1052672: expected a multiple of 65536",
    ],
    [
      { machine: { ...machine, tlbEntries: 8 } },
      "x: VM.machine.tlbEntries is 8: expected a whole number from 16 to 4096",
    ],
    [
      { machine: { ...machine, tlbEntries: 100 } },
      "x: VM.machine.tlbEntries is 100: expected a power of two",
    ],
  ];
  for (const [change, message] of cases) {
    assertThrows(() => decodeSavedVm({ ...value, ...change }, "x"), FormatError, message);
  }
});

Deno.test("a VM that is not the one of its checkpoint's head is refused by name", () => {
  const { machine: { memoryBytes, machineVersion } } = VM;
  const head = { memoryPages: memoryBytes / 4096, machineVersion };
  checkAgainstHead(VM, head, "x");
  assertThrows(
    () => checkAgainstHead(VM, { ...head, memoryPages: 16 }, "x"),
    FormatError,
    `x: VM.machine.memoryBytes is ${memoryBytes}: expected 65536, as its head says`,
  );
  assertThrows(
    () => checkAgainstHead(VM, { ...head, machineVersion: 2 }, "x"),
    FormatError,
    "VM.machine.machineVersion is",
  );
});

/** What a port has for a guest that takes nothing. */
function untakenOf(writes: readonly Uint8Array[]): Uint8Array {
  const link = { send: () => Promise.resolve() } as unknown as VmLink;
  const input = new ByteInput(link, "uart0", 0);
  for (const bytes of writes) input.write(bytes).catch(() => {});
  const { untaken } = input;
  input.close();
  return untaken;
}

Deno.test("whatever is typed at a guest that takes nothing, a checkpoint can keep what waits", () => {
  const kept = (typed: Uint8Array) => decodeSavedVm(encodeSavedVm({ ...VM, typed }), "x").typed;
  const some = Uint8Array.from({ length: 3 * CONSOLE_CREDIT }, (_, i) => i);
  assertEquals(kept(untakenOf([some])), some);
  assertEquals(kept(untakenOf([new Uint8Array(2 * UNTAKEN_MAXIMUM)])).length, UNTAKEN_MAXIMUM);
  const half = new Uint8Array(UNTAKEN_MAXIMUM / 2 - 1);
  const wholes = untakenOf([half, half, some, Uint8Array.of(1)]);
  assertEquals(kept(wholes).length, 2 * half.length);
});

Deno.test("whatever an agent sends, a checkpoint can keep what is not complete", () => {
  const payload = new Uint8Array(EXEC_PAYLOAD_BYTES);
  const frame = encodeExecFrame({ kind: EXEC_FRAME.stdout, id: 999_999_999, payload });
  const reader = new ExecFrameReader();
  reader.push(frame.subarray(0, frame.length - 1));
  assert(reader.rest.length <= EXEC_UNFINISHED_MAXIMUM);
  const noise = new ExecFrameReader();
  noise.push(new Uint8Array(100_000).fill(65));
  assert(noise.rest.length <= EXEC_UNFINISHED_MAXIMUM);
});
