/**
 * The conformance suite of virtual devices: what the board relies on for any of them (kernel/driver;
 * habits 1 and 9). Each device's test file calls it.
 *
 * Invariants checked: a device is a function of its state and of what it is told; everything that its
 * course depends on lies in its state; nothing that a guest does makes it throw.
 */
import { assert, assertEquals } from "@std/assert";
import { Prng } from "../../../kernel/base/prng.ts";
import type { Device, DeviceDeclaration } from "../../../kernel/driver/mod.ts";
import { act, isVirtio, startVirtio } from "../device_drive.ts";
import { type DeviceSurroundings, surroundings } from "../device_surroundings.ts";

const SEEDS = 12;
const STEPS = 300;

/** A device with its state and its world. */
export interface AttachedForTest {
  readonly device: Device;
  readonly state: Uint8Array;
  readonly around: DeviceSurroundings;
}

/** A device as it is after power-on. */
export function attachDevice(
  declaration: DeviceDeclaration,
  around = surroundings(),
): AttachedForTest {
  const state = new Uint8Array(declaration.state.byteLength);
  const device = declaration.attach(declaration.state.view(state.buffer, 0), around.env, undefined);
  device.reset?.();
  return { device, state, around };
}

/** A second device that starts from where the first one is, as after a restore. */
function copyOf(declaration: DeviceDeclaration, from: AttachedForTest): AttachedForTest {
  const around = surroundings(from.around.env.disk.readOnly);
  const { now, due, drawn } = from.around;
  Object.assign(around, { now, due, drawn });
  around.requests.push(...from.around.requests);
  around.memory.bytes.set(from.around.memory.bytes);
  const state = from.state.slice();
  const device = declaration.attach(declaration.state.view(state.buffer, 0), around.env, undefined);
  return { device, state, around };
}

function drive(declaration: DeviceDeclaration, one: AttachedForTest, random: Prng): void {
  for (let i = 0; i < STEPS; i++) act(random, one.device, declaration, one.around);
}

/** Starts as a driver would, so that accesses get behind the first checks. */
function begin(declaration: DeviceDeclaration, one: AttachedForTest, random: Prng): void {
  if (isVirtio(declaration)) startVirtio(random, one.device, one.around);
}

function assertSame(one: AttachedForTest, other: AttachedForTest, label: string): void {
  assertEquals(other.around.log, one.around.log, `${label}: what it did`);
  assertEquals(other.state, one.state, `${label}: its state`);
  assertEquals(other.around.memory.bytes, one.around.memory.bytes, `${label}: guest memory`);
}

/** Registers the suite's tests for a device. */
export function deviceConformance(candidate: unknown): void {
  const declaration = candidate as DeviceDeclaration;
  const { name } = declaration;

  Deno.test(`${name}: two devices that are told the same do the same`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const [one, other] = [attachDevice(declaration), attachDevice(declaration)];
      for (const each of [one, other]) {
        const random = new Prng(seed);
        begin(declaration, each, random);
        drive(declaration, each, random);
      }
      assertSame(one, other, `seed ${seed}`);
    }
  });

  Deno.test(`${name}: its state is all that it needs to go on elsewhere`, () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const one = attachDevice(declaration);
      const random = new Prng(seed);
      begin(declaration, one, random);
      drive(declaration, one, random);
      const other = copyOf(declaration, one);
      one.around.log.length = 0;
      drive(declaration, one, new Prng(seed + 1000));
      drive(declaration, other, new Prng(seed + 1000));
      assertSame(one, other, `seed ${seed}`);
    }
  });

  Deno.test(`${name}: a reset gives the power-on state again`, () => {
    const fresh = attachDevice(declaration);
    const used = attachDevice(declaration);
    const random = new Prng(7);
    begin(declaration, used, random);
    drive(declaration, used, random);
    used.state.fill(0);
    used.device.reset?.();
    assertEquals(used.state, fresh.state);
  });

  Deno.test(`${name}: every offset can be read and written at every size`, () => {
    const one = attachDevice(declaration);
    const { window } = declaration;
    const step = Math.max(1, Math.floor(window / 65536));
    for (let offset = 0; offset < window; offset += step) {
      for (const size of [1, 2, 4]) {
        if (offset + size > window) continue;
        const value = one.device.read(offset, size);
        assert(Number.isInteger(value), `${size} bytes at ${offset} read as ${value}`);
        one.device.write(offset, size, 0);
        one.device.write(offset, size, 2 ** (8 * size) - 1);
      }
    }
  });

  Deno.test(`${name}: it uses only what it declared as a need`, () => {
    const one = attachDevice(declaration);
    const random = new Prng(3);
    begin(declaration, one, random);
    drive(declaration, one, random);
    const needOf: Readonly<Record<string, string>> = {
      irq: "irq",
      hart: "hartLines",
      time: "clock",
      timer: "timer",
      output: "output",
      disk: "disk",
      frame: "network",
      power: "power",
    };
    for (const line of one.around.log) {
      const need = needOf[line.split(" ")[0]!]!;
      assert((declaration.needs as readonly string[]).includes(need), `${need} for: ${line}`);
    }
  });
}
