/**
 * The conformance suite of virtual devices: what the board relies on for any of them (kernel/driver;
 * habits 1 and 9). Each device's test file calls it.
 *
 * Invariants checked: a device is a function of its state and of what it is told; everything that its
 * course depends on lies in its state; nothing that a guest does makes it throw; what it answers to a
 * register access is an output like any other.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../../kernel/base/assert.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import type { Device, DeviceDeclaration, Need } from "../../../kernel/driver/mod.ts";
import { act, isVirtio, readNoted, startVirtio, writeAsBus } from "../device_drive.ts";
import {
  type DeviceSurroundings,
  granted,
  surroundings,
  WALL_START,
} from "../device_surroundings.ts";

const SEEDS = 12;
const STEPS = 300;
/** Bytes before and behind a state, which belong to somebody else. */
const MARGIN = 64;
const NOT_OURS = 0xa5;

/** A device with its state and its world. */
export interface AttachedForTest {
  readonly device: Device;
  /** The state's own bytes, in shared memory as in a machine. */
  readonly state: Uint8Array;
  readonly around: DeviceSurroundings;
  /** What it has made use of so far. */
  readonly used: Set<Need>;
}

/** A device over a copy of a state that was saved, or over a zeroed one; without a reset. */
function attachOver(
  declaration: DeviceDeclaration,
  around: DeviceSurroundings,
  saved?: Uint8Array,
): AttachedForTest {
  const { byteLength } = declaration.state;
  const buffer = new SharedArrayBuffer(byteLength + 2 * MARGIN);
  new Uint8Array(buffer).fill(NOT_OURS);
  const state = new Uint8Array(buffer, MARGIN, byteLength).fill(0);
  if (saved !== undefined) state.set(saved);
  const used = new Set<Need>();
  const env = granted(around.env, declaration.needs, used);
  const device = declaration.attach(declaration.state.view(buffer, MARGIN), env, undefined);
  return { device, state, around, used };
}

/** A device as it is after power-on. */
export function attachDevice(
  declaration: DeviceDeclaration,
  around = surroundings(),
): AttachedForTest {
  const attached = attachOver(declaration, around);
  attached.device.reset?.();
  return attached;
}

/** A second device that starts from where the first one is, as after a restore. */
function copyOf(declaration: DeviceDeclaration, from: AttachedForTest): AttachedForTest {
  const around = surroundings(from.around.env.disk.readOnly);
  const { now, due, drawn, wallStart } = from.around;
  Object.assign(around, { now, due, drawn, wallStart });
  around.requests.push(...from.around.requests);
  around.memory.bytes.set(from.around.memory.bytes);
  for (const [line, level] of from.around.lines) around.lines.set(line, level);
  return attachOver(declaration, around, from.state.slice());
}

/** Starts as a driver would, so that accesses get behind the first checks. */
function begin(declaration: DeviceDeclaration, one: AttachedForTest, random: Prng): void {
  if (isVirtio(declaration)) startVirtio(random, one.device, one.around);
}

function drive(
  declaration: DeviceDeclaration,
  one: AttachedForTest,
  random: Prng,
  steps = STEPS,
): void {
  for (let i = 0; i < steps; i++) act(random, one.device, declaration, one.around);
}

/** The name of the field that a byte of a state belongs to. */
function fieldAt({ state }: DeviceDeclaration, offset: number): string {
  const names = Object.keys(state.offsets);
  return names.findLast((name) => state.offsets[name]! <= offset) ?? "?";
}

function assertSameState(
  declaration: DeviceDeclaration,
  one: AttachedForTest,
  other: AttachedForTest,
  label: string,
): void {
  const at = one.state.findIndex((byte, i) => other.state[i] !== byte);
  assert(at < 0, `${label}: the states differ in ${fieldAt(declaration, at)}`);
  for (const { state } of [one, other]) {
    const all = new Uint8Array(state.buffer);
    const outside = (i: number) => i < MARGIN || i >= MARGIN + state.length;
    const harmed = all.findIndex((byte, i) => outside(i) && byte !== NOT_OURS);
    assertEquals(harmed, -1, `${label}: bytes outside the state were written`);
  }
}

function assertSame(
  declaration: DeviceDeclaration,
  one: AttachedForTest,
  other: AttachedForTest,
  label: string,
): void {
  assertEquals(other.around.log, one.around.log, `${label}: what it did`);
  assertEquals([...other.around.lines], [...one.around.lines], `${label}: its lines`);
  assertEquals(other.around.due, one.around.due, `${label}: its timer`);
  assertSameState(declaration, one, other, label);
  const memory = other.around.memory.bytes;
  const at = one.around.memory.bytes.findIndex((byte, i) => memory[i] !== byte);
  assertEquals(at, -1, `${label}: guest memory differs`);
}

/** Does something for each seed, on disks that may be written and on others that may not. */
function forSeeds(body: (seed: number, readOnly: boolean, label: string) => void): void {
  for (let seed = 1; seed <= SEEDS; seed++) body(seed, seed % 4 === 0, `seed ${seed}`);
}

function checkPowerOn(declaration: DeviceDeclaration): void {
  const [one, other] = [attachDevice(declaration), attachDevice(declaration)];
  assertSame(declaration, one, other, "after power-on");
  assertEquals([...one.around.lines.values()].includes(true), false, "a line is high at power-on");
  one.device.reset?.();
  assertSameState(declaration, one, other, "after a second reset");
}

function checkSameCourse(declaration: DeviceDeclaration): void {
  forSeeds((seed, readOnly, label) => {
    const [one, other] = [0, 1].map(() => {
      const each = attachDevice(declaration, surroundings(readOnly));
      const random = new Prng(seed);
      begin(declaration, each, random);
      drive(declaration, each, random);
      return each;
    });
    assertSame(declaration, one!, other!, label);
  });
}

function checkGoesOnElsewhere(declaration: DeviceDeclaration): void {
  forSeeds((seed, readOnly, label) => {
    const one = attachDevice(declaration, surroundings(readOnly));
    const random = new Prng(seed);
    begin(declaration, one, random);
    // Three moments, so that some lie between a cause and its effect.
    for (let moment = 0; moment < 3; moment++) {
      drive(declaration, one, random, random.below(STEPS));
      const other = copyOf(declaration, one);
      one.around.log.length = 0;
      const course = random.u32();
      drive(declaration, one, new Prng(course));
      drive(declaration, other, new Prng(course));
      assertSame(declaration, one, other, `${label}, moment ${moment}`);
    }
  });
}

/** Makes the world of a device as it was before the device was attached. */
function forget(around: DeviceSurroundings): void {
  Object.assign(around, { now: 0, drawn: 0, wallStart: WALL_START });
  around.requests.length = around.log.length = 0;
  around.memory.bytes.fill(0);
}

function checkReset(declaration: DeviceDeclaration): void {
  forSeeds((seed, readOnly, label) => {
    const used = attachDevice(declaration, surroundings(readOnly));
    const random = new Prng(seed);
    begin(declaration, used, random);
    drive(declaration, used, random);
    used.state.fill(0);
    forget(used.around);
    used.device.reset?.();
    const fresh = attachDevice(declaration, surroundings(readOnly));
    assertSameState(declaration, fresh, used, label);
    const high = [...used.around.lines].filter(([, level]) => level).map(([line]) => line);
    assertEquals(high, [], `${label}: lines that stay high`);
    assertEquals(used.around.due, fresh.around.due, `${label}: its timer`);
    for (const each of [fresh, used]) {
      each.around.lines.clear();
      each.around.log.length = 0;
      drive(declaration, each, new Prng(seed));
    }
    assertSame(declaration, fresh, used, `${label}: after the reset`);
  });
}

/** Offsets to try: a small window's all; of a large one the first page, and both ends of the others. */
function* offsetsOf(window: number): Generator<number> {
  const page = 0x1000;
  for (let start = 0; start < window; start += page) {
    const first = start === 0 ? page : start < 16 * page ? 0x200 : 16;
    for (let at = 0; at < page && start + at < window; at++) {
      if (at < first || at >= page - 16) yield start + at;
    }
  }
}

function checkEveryAccess(declaration: DeviceDeclaration): void {
  const attached = [attachDevice(declaration), attachDevice(declaration)] as const;
  for (const { device, around } of attached) {
    for (const offset of offsetsOf(declaration.window)) {
      for (const size of [1, 2, 4, 8]) {
        if (offset + size > declaration.window) continue;
        readNoted(device, around, offset, size);
        for (const value of [0, 1, 2 ** (8 * Math.min(size, 4)) - 1]) {
          writeAsBus(device, offset, size, value);
        }
        readNoted(device, around, offset, size);
      }
    }
  }
  assertSame(declaration, ...attached, "after every access");
}

function checkNeeds(declaration: DeviceDeclaration): void {
  const used = new Set<Need>();
  forSeeds((seed) => {
    const one = attachDevice(declaration);
    const random = new Prng(seed);
    begin(declaration, one, random);
    drive(declaration, one, random);
    for (const need of one.used) used.add(need);
  });
  assertEquals([...used].sort(), [...declaration.needs].sort());
}

function checkLayout({ name, state }: DeviceDeclaration): void {
  assertEquals(state.name, name, "a saved state is found by its device's name");
  assert(Number.isInteger(state.version) && state.version >= 1);
  let end = 0;
  for (const [field, { byteLength, alignment }] of Object.entries(state.fields)) {
    const offset = state.offsets[field]!;
    assert(offset >= end && offset % alignment === 0, `${field} lies at ${offset}`);
    end = offset + byteLength;
  }
  assert(end <= state.byteLength);
  const buffer = new ArrayBuffer(state.byteLength + 8);
  assertThrows(() => state.view(buffer, 4), Broken, name);
}

/** What must hold for every device, by the claim that it proves. */
export const DEVICE_CHECKS = {
  "power-on is always the same, with all lines low": checkPowerOn,
  "two devices that are told the same do the same": checkSameCourse,
  "its state is all that it needs to go on elsewhere": checkGoesOnElsewhere,
  "a reset gives the power-on state again, and lowers its lines": checkReset,
  "every offset can be read and written at every size": checkEveryAccess,
  "it uses what it declared as a need, and nothing else": checkNeeds,
  "its state has a name, a version and fields in their places": checkLayout,
} as const satisfies Readonly<Record<string, (declaration: DeviceDeclaration) => void>>;

/** Registers the suite's tests for a device. */
export function deviceConformance(candidate: unknown): void {
  const declaration = candidate as DeviceDeclaration;
  for (const [claim, check] of Object.entries(DEVICE_CHECKS)) {
    Deno.test(`${declaration.name}: ${claim}`, () => check(declaration));
  }
}
