/**
 * A machine's image: all of its state but RAM, as plain data that can be kept, sent and put back (S13;
 * "State is lent to behaviour", docs). What it holds is what the state digest covers, and the results of
 * disk requests that wait for their guest time.
 *
 * Invariants: an image is put back whole or not at all; what is derived from state (cached translations,
 * the decision which hart runs how far) is made anew; output that was not taken yet is no state, so an
 * image is made when all of it was taken, and what waits when one is put back is forgotten.
 */
import { assert } from "../base/assert.ts";
import { FormatError } from "../base/errors.ts";
import { HART, HART_LAYOUT_VERSION } from "../memory/hart_layout.ts";
import { ATTENTION } from "../mmu/mmu_code.ts";
import { ANCHOR_SPAN, CLOCK_FIELDS, FASTEST_RATE } from "./clock.ts";
import type { AttachedDevice, Machine } from "./machine.ts";
import { DISK_REQUESTS_MAXIMUM, MACHINE_STATE, PHASE } from "./machine_state.ts";

/** Version of the image's own shape. */
const IMAGE_VERSION = 1;

/** Bytes in a layout that has a name and a version. */
export interface StateBytes {
  /** Name of the instance. */
  readonly name: string;
  /** Name of the layout. */
  readonly layout: string;
  readonly version: number;
  readonly bytes: Uint8Array;
}

/** Result of a disk request that waits for its guest time. */
export interface WaitingDiskResult {
  readonly slot: number;
  readonly status: number;
  /** What was read; null when there is nothing. */
  readonly data: Uint8Array | null;
}

/** All state of a machine but RAM. */
export interface MachineImage {
  readonly version: number;
  /** Bytes of RAM that the state belongs to. */
  readonly memoryBytes: number;
  /** Blocks of all harts in their order, in this version of the hart's layout. */
  readonly harts: { readonly version: number; readonly count: number; readonly bytes: Uint8Array };
  /** Hart that is current. */
  readonly current: number;
  /** Guest time at the clock's anchor, where the anchor is, and the rate: see memory/control_layout.ts. */
  readonly clock: readonly number[];
  readonly machine: StateBytes;
  /** States of the devices, in the order of the board. */
  readonly devices: readonly StateBytes[];
  readonly diskResults: readonly WaitingDiskResult[];
  /** Guest-physical address of `tohost` (HTIF), where the machine watches one. */
  readonly toHost?: number;
}

/** Makes an image. Between runs, when all output was taken. What is recorded of results is flushed. */
export function saveImage(machine: Machine): MachineImage {
  assert(!machine.outputs.waiting, "an image is made when all output was taken");
  machine.nondeterminism.flush();
  const { core, config, devices, gate } = machine;
  return {
    version: IMAGE_VERSION,
    memoryBytes: config.memoryBytes,
    harts: { version: HART_LAYOUT_VERSION, count: config.harts, bytes: core.saveHarts() },
    current: core.current,
    clock: CLOCK_FIELDS.map((field) => Number(core.control(field))),
    machine: describe(machine, MACHINE_STATE, "machine", 0),
    devices: devices.map(({ declaration, name, stateOffset }) =>
      describe(machine, declaration.state, name, stateOffset)
    ),
    diskResults: [...gate.diskResults].map(([slot, { status, data }]) => ({
      slot,
      status,
      data: data?.slice() ?? null,
    })),
    ...machine.toHost !== undefined && { toHost: machine.toHost },
  };
}

/**
 * Puts an image back into a machine of the same make; RAM is the caller's. Between runs. Points and markers
 * ask again at the instruction that is next, unless `core.points.pass` is called. Throws FormatError, and
 * leaves the machine as it was, when the image has another version or is of another machine.
 *
 * @param keepsCaches whether cached translations may stay: the caller drops those that differ
 */
export function restoreImage(machine: Machine, image: MachineImage, keepsCaches = false): void {
  check(machine, image);
  const { core, devices, gate, outputs } = machine;
  const { plan } = core;
  outputs.take();
  core.restoreHarts(image.harts.bytes, image.current);
  CLOCK_FIELDS.forEach((field, i) => core.setControl(field, BigInt(image.clock[i]!)));
  core.bytes.set(image.machine.bytes, plan.deviceState);
  devices.forEach(({ stateOffset }, i) => {
    core.bytes.set(image.devices[i]!.bytes, plan.deviceState + stateOffset);
  });
  gate.diskResults.clear();
  for (const { slot, status, data } of image.diskResults) {
    gate.diskResults.set(slot, { status, data: data?.slice() });
  }
  if (image.toHost !== undefined) machine.watchToHost(image.toHost);
  machine.forgetStops();
  if (keepsCaches) core.raiseAttention(ATTENTION.refetch);
  else core.exports.flushAll();
}

/**
 * Puts an image back where nobody knows of the disk requests that were in flight when it was made: they are
 * submitted again, as outputs, and end at the guest times that they had. Else the same as `restoreImage`.
 */
export function resumeImage(machine: Machine, image: MachineImage): void {
  restoreImage(machine, image);
  const { gate, state, devices } = machine;
  machine.resubmitting = true;
  for (const { behaviour, disk } of devices) {
    const first = disk * DISK_REQUESTS_MAXIMUM;
    behaviour.resubmit?.((tag) => gate.diskResults.has(first + tag));
  }
  machine.resubmitting = false;
  const submitted = new Set(machine.outputs.diskSlots());
  for (let slot = 0; slot < machine.config.disks.length * DISK_REQUESTS_MAXIMUM; slot++) {
    if (state.diskDue[slot] === 0 || gate.diskResults.has(slot) || submitted.has(slot)) continue;
    // The device was reset since: its driver waits for nothing, the machine's clock for an end.
    gate.diskResults.set(slot, { status: 0, data: undefined });
  }
}

/** What the harts' permissions to memory depend on beside page tables: cached translations are made with it. */
export function protectionOf({ core, config }: Machine): string {
  const registers: bigint[] = [];
  for (let hart = 0; hart < config.harts; hart++) {
    for (let i = 0; i < 2; i++) registers.push(core.register(hart, "pmpcfg", i));
    for (let i = 0; i < 16; i++) registers.push(core.register(hart, "pmpaddr", i));
  }
  return registers.join();
}

/** Address and bytes of a state in VM memory. */
function describe(
  { core }: Machine,
  layout: AttachedDevice["declaration"]["state"],
  name: string,
  offset: number,
): StateBytes {
  const start = core.plan.deviceState + offset;
  const bytes = core.bytes.slice(start, start + layout.byteLength);
  return { name, layout: layout.name, version: layout.version, bytes };
}

function check(machine: Machine, image: MachineImage): void {
  const { config, devices } = machine;
  same("format version", image.version, IMAGE_VERSION);
  same("size of memory", image.memoryBytes, config.memoryBytes);
  same("hart layout", image.harts?.version, HART_LAYOUT_VERSION);
  same("number of harts", image.harts.count, config.harts);
  checkBytes("harts", image.harts.bytes, config.harts * HART.byteLength);
  if (!isIndex(image.current, config.harts)) {
    refuse("current hart", image.current, "a hart's number");
  }
  same("clock", image.clock?.length, CLOCK_FIELDS.length);
  for (const value of image.clock) {
    if (!isIndex(value, Infinity)) refuse("clock", value, "whole numbers");
  }
  checkState(image.machine, "machine", MACHINE_STATE);
  checkPlace(image, config.harts);
  same("number of devices", image.devices?.length, devices.length);
  devices.forEach(({ name, declaration }, i) => {
    checkState(image.devices[i]!, name, declaration.state);
  });
  if (image.toHost !== undefined && !isIndex(image.toHost, Infinity)) {
    refuse("address of tohost", image.toHost, "a whole number");
  }
  const slots = config.disks.length * DISK_REQUESTS_MAXIMUM;
  if (!Array.isArray(image.diskResults)) refuse("disk results", image.diskResults, "a list");
  for (const result of image.diskResults) {
    if (typeof result !== "object" || result === null) refuse("disk result", result, "one");
    const { slot, status, data } = result;
    if (!isIndex(slot, slots)) refuse("slot of a disk result", slot, `a number below ${slots}`);
    if (!isIndex(status, Infinity)) refuse("status of a disk result", status, "a whole number");
    if (data !== null) checkBytes("disk result", data, data?.length);
  }
}

/** Where the machine is in its course: what chooses the next hart and tells the time is within its bounds. */
function checkPlace({ machine, clock }: MachineImage, harts: number): void {
  // A copy whatever class of bytes it is: the bytes of a Buffer lie anywhere in another's.
  const bytes = new Uint8Array(machine.bytes);
  const { icount, phase, turn, deviceTimer, diskDue } = MACHINE_STATE.view(bytes.buffer, 0);
  if (!isIndex(icount, Infinity)) refuse("icount", icount, "a whole number");
  const phases: readonly number[] = Object.values(PHASE);
  if (!phases.includes(phase)) refuse("phase", phase, phases.join(" or "));
  if (turn >= harts) refuse("turn", turn, `a number below ${harts}`);
  for (const [name, times] of Object.entries({ deviceTimer, diskDue })) {
    const wrong = times.find((time) => !(time >= 0));
    if (wrong !== undefined) refuse(name, wrong, "guest times");
  }
  const [, anchor, rate] = clock as [number, number, number, number];
  if (anchor > icount || icount - anchor > ANCHOR_SPAN) {
    refuse("timeAnchorIcount", anchor, `at most ${icount}, and ${ANCHOR_SPAN} less at least`);
  }
  if (rate < 1 || rate > FASTEST_RATE) refuse("timeRate", rate, `1 to ${FASTEST_RATE}`);
}

function checkState(
  state: StateBytes | undefined,
  name: string,
  layout: AttachedDevice["declaration"]["state"],
): void {
  same(`name of the state of ${name}`, state?.name, name);
  same(`layout of ${name}`, state!.layout, layout.name);
  same(`layout version of ${name}`, state!.version, layout.version);
  checkBytes(`state of ${name}`, state!.bytes, layout.byteLength);
}

function checkBytes(what: string, bytes: unknown, length: number): void {
  if (!(bytes instanceof Uint8Array)) refuse(what, typeof bytes, "bytes");
  same(`bytes of ${what}`, bytes.length, length);
}

const isIndex = (value: unknown, end: number) =>
  Number.isSafeInteger(value) && value as number >= 0 && value as number < end;

function same(what: string, has: unknown, expected: unknown): void {
  if (has !== expected) refuse(what, has, `${expected}`);
}

function refuse(what: string, has: unknown, expected: string): never {
  throw new FormatError(`machine image: ${what} is ${has}, expected ${expected}`);
}
