/** Images of machines: what they hold, that they can be put back elsewhere, and which ones are refused. */
import { Buffer } from "node:buffer";
import { assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../../kernel/base/assert.ts";
import { FormatError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import type { Machine, MachineConfig } from "../../../kernel/machine/machine.ts";
import {
  type MachineImage,
  restoreImage,
  saveImage,
} from "../../../kernel/machine/machine_image.ts";
import { MACHINE_STATE, type MachineState } from "../../../kernel/machine/machine_state.ts";
import { offerBytes, testMachine } from "../../_support/machine.ts";
import { changeCsr, START } from "../../_support/hot_program.ts";
import { Program } from "../../_support/program.ts";
import { csrNumber } from "../../../kernel/cpu/csr_table.ts";
import { ProgramMaker } from "../../isa/random_program.ts";

const MEMORY = 4 << 20;

function machineOf(config: Partial<MachineConfig> = {}): Machine {
  const words = new ProgramMaker(new Prng(3), { slots: 300, float: true }).make();
  return testMachine({
    kernel: { kind: "raw", bytes: new Uint8Array(words.buffer as ArrayBuffer) },
    memoryBytes: MEMORY,
    harts: 3,
    disks: [{ sectors: 8, readOnly: false }],
    ...config,
  });
}

/** A machine in the middle of things. */
function running(config: Partial<MachineConfig> = {}): Machine {
  const machine = machineOf(config);
  offerBytes(machine, Uint8Array.of(1, 2, 3));
  machine.run(50_001);
  machine.skipTo(machine.ticks() + 77);
  const device = "disk0";
  machine.gate.deliver({ kind: "disk", device, tag: 5, status: 1 });
  machine.gate.deliver({ kind: "disk", device, tag: 9, status: 0, data: Uint8Array.of(7, 8) });
  machine.takeOutputs();
  return machine;
}

function copyRam(from: Machine, to: Machine): void {
  const { core } = from;
  to.core.bytes.set(core.bytes.subarray(core.plan.ram), to.core.plan.ram);
  to.core.decodedPages.clear();
}

Deno.test("an image and RAM make another machine the same, and it goes on alike", () => {
  const machine = running();
  const image = structuredClone(saveImage(machine));
  const other = machineOf({ tlbEntries: 16, cacheElements: 1, tier: "interpreter", seed: 9n });
  other.run(1234);
  copyRam(machine, other);
  // Decoders give a class of bytes whose slices are no copies.
  const bytes = Buffer.concat([new Uint8Array(8), image.machine.bytes]).subarray(8);
  restoreImage(other, { ...image, machine: { ...image.machine, bytes } });
  assertEquals(other.digest(), machine.digest());
  assertEquals(other.core.current, machine.core.current);
  assertEquals([...other.gate.diskResults], [...machine.gate.diskResults]);
  assertEquals(saveImage(other), saveImage(machine));
  for (let i = 0; i < 5; i++) {
    machine.run(7000);
    other.run(7000);
    machine.takeOutputs();
    other.takeOutputs();
    assertEquals([other.icount, other.digest()], [machine.icount, machine.digest()]);
  }
});

Deno.test("what was cached under the protection of another moment is not used", () => {
  const program = new Program(START);
  const [address, value, data] = [11, 12, 0x8010_0000n];
  const loads = () => {
    for (let i = 0; i < 20; i++) program.op("ld", { rd: 10, rs1: address });
  };
  program.setLong(value, BigInt(START + 0x1000));
  changeCsr(program, "csrrw", "mtvec", value);
  program.setLong(address, data);
  loads();
  const open = (program.here - START) / 4 - 10;
  // A locked entry that allows nothing holds machine mode too.
  program.setLong(value, data >> 2n | 0x1ffn);
  changeCsr(program, "csrrw", "pmpaddr0", value);
  program.setLong(value, 0x98n);
  changeCsr(program, "csrrw", "pmpcfg0", value);
  const closed = (program.here - START) / 4;
  loads();
  const machine = testMachine({
    kernel: { kind: "raw", bytes: program.bytes() },
    memoryBytes: MEMORY,
  });
  const runTo = (icount: number) => {
    machine.run(icount - machine.icount);
    assertEquals(machine.icount, icount);
    return saveImage(machine);
  };
  const before = runTo(open);
  const behind = runTo(closed);
  const end = runTo(closed + 5);
  assertEquals(machine.csr(csrNumber("mepc")), BigInt(START + 0x1000), "a load trapped");
  restoreImage(machine, before);
  runTo(open + 5);
  restoreImage(machine, behind);
  assertEquals(runTo(closed + 5), end);
});

Deno.test("an image keeps no bytes of the machine", () => {
  const machine = running();
  const image = saveImage(machine);
  const before = structuredClone(image);
  machine.gate.diskResults.get(9)!.data![0] = 99;
  machine.run(5000);
  assertEquals(image, before);
});

Deno.test("an image is made when all output was taken; what waits is forgotten when it is put back", () => {
  const machine = running();
  const image = saveImage(machine);
  machine.outputs.bytes("uart0", 0, Uint8Array.of(1));
  assertThrows(() => saveImage(machine), Broken, "all output was taken");
  restoreImage(machine, image);
  assertEquals(machine.outputs.waiting, false);
});

Deno.test("an image of another version, shape or machine is refused, and nothing is changed", () => {
  const machine = running();
  const image = saveImage(machine);
  const digest = machine.digest();
  const { machine: state, devices, harts } = image;
  const device = (change: object) => [{ ...devices[0]!, ...change }, ...devices.slice(1)];
  const bytes = (length: number) => new Uint8Array(length);
  const at = (change: Partial<MachineState>) => {
    const changed = state.bytes.slice();
    Object.assign(MACHINE_STATE.view(changed.buffer, 0), change);
    return { ...state, bytes: changed };
  };
  const timers = (name: "deviceTimer" | "diskDue", time: number) => {
    const changed = state.bytes.slice();
    MACHINE_STATE.view(changed.buffer, 0)[name][3] = time;
    return { ...state, bytes: changed };
  };
  const [ticks, anchor, rate, floor] = image.clock as [number, number, number, number];
  const wrong: [Partial<Record<keyof MachineImage, unknown>>, string][] = [
    [{ version: 2 }, "format version is 2, expected 1"],
    [{ memoryBytes: 1 }, "size of memory is 1, expected 4194304"],
    [{ harts: undefined }, "hart layout is undefined"],
    [{ harts: { ...harts, version: 0 } }, "hart layout is 0"],
    [{ harts: { ...harts, count: 1 } }, "number of harts is 1, expected 3"],
    [{ harts: { ...harts, bytes: bytes(8) } }, "bytes of harts is 8"],
    [{ harts: { ...harts, bytes: "x" } }, "harts is string, expected bytes"],
    [{ current: 3 }, "current hart is 3"],
    [{ clock: [1, 2] }, "clock is 2, expected 4"],
    [{ clock: [1, 2, 3, 0.5] }, "clock is 0.5, expected whole numbers"],
    [{ machine: undefined }, "name of the state of machine is undefined"],
    [{ machine: { ...state, version: 7 } }, "layout version of machine is 7"],
    [{ machine: { ...state, bytes: bytes(3) } }, "bytes of state of machine is 3"],
    [{ machine: at({ turn: 3 }) }, "turn is 3, expected a number below 3"],
    [{ machine: at({ phase: 3 }) }, "phase is 3, expected 0 or 1 or 2"],
    [{ machine: at({ icount: -1 }) }, "icount is -1"],
    [{ machine: at({ icount: 0.5 }) }, "icount is 0.5"],
    [{ machine: at({ icount: NaN }) }, "icount is NaN"],
    [{ machine: at({ icount: anchor + 2 ** 32 + 1 }) }, `timeAnchorIcount is ${anchor}`],
    [{ machine: timers("deviceTimer", NaN) }, "deviceTimer is NaN, expected guest times"],
    [{ machine: timers("diskDue", -1) }, "diskDue is -1, expected guest times"],
    [{ clock: [ticks, machine.icount + 1, rate, floor] }, "timeAnchorIcount is"],
    [{ clock: [ticks, anchor, 0, floor] }, "timeRate is 0, expected 1 to"],
    [{ clock: [ticks, anchor, 2 ** 24, floor] }, "timeRate is 16777216, expected 1 to"],
    [{ devices: devices.slice(1) }, "number of devices is"],
    [{ devices: device({ name: "uart7" }) }, "name of the state of plic is uart7"],
    [{ devices: device({ layout: "apic" }) }, "layout of plic is apic"],
    [{ devices: device({ version: 9 }) }, "layout version of plic is 9"],
    [{ diskResults: {} }, "expected a list"],
    [{ diskResults: [{ slot: 256, status: 0, data: null }] }, "slot of a disk result is 256"],
    [{ diskResults: [{ slot: 0, status: -1, data: null }] }, "status of a disk result is -1"],
    [{ diskResults: [{ slot: 0, status: 0, data: 5 }] }, "disk result is number, expected bytes"],
  ];
  for (const [change, text] of wrong) {
    const broken = { ...image, ...change } as MachineImage;
    assertThrows(() => restoreImage(machine, broken), FormatError, text);
  }
  assertEquals([machine.digest(), machine.gate.diskResults.size], [digest, 2]);
  const other = machineOf({ disks: [] });
  assertThrows(() => restoreImage(other, image), FormatError, "machine image");
});
