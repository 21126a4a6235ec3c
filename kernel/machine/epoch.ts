/**
 * Epoch digests: what a machine is at the end of an epoch, small enough to be recorded, and precise enough to
 * name what differs when a replay is another machine (design.md, "Records"; issue 4, `replay --verify`).
 * Registers are kept whole, everything else as hashes: of each device's state, of the machine's state and
 * clock, and of each page that was written in the epoch.
 *
 * Invariants: a digest depends on the machine's state and on which pages were written alone, never on tiers,
 * sizes of caches or the budgets that runs were granted; epochs cover all of RAM from the first one on,
 * because a page that no epoch names was not written.
 */
import { controlAddress } from "../memory/block_access.ts";
import type { DirtyPages } from "../memory/dirty_pages.ts";
import { HART } from "../memory/hart_layout.ts";
import { CLOCK_FIELDS } from "./clock.ts";
import type { Machine } from "./machine.ts";
import { MACHINE_STATE } from "./machine_state.ts";

/** A machine at the end of an epoch. */
export interface EpochDigest {
  /** Instructions that all harts have executed. */
  readonly icount: number;
  /** Blocks of all harts (hart_layout.ts), in their order. */
  readonly harts: Uint8Array;
  /** 32-bit hash of the state of each device, by its instance name. */
  readonly devices: Readonly<Record<string, number>>;
  /** 32-bit hash of the machine's own state and of the clock. */
  readonly machine: number;
  /** Guest pages that were written in the epoch, in ascending order. */
  readonly pages: Uint32Array;
  /** 32-bit hash of each of them. */
  readonly pageHashes: Uint32Array;
}

/** Two values of something that ought to be the same; numbers of registers are hexadecimal. */
export interface Disagreement {
  readonly recorded: string;
  readonly replayed: string;
}

/** A register with two values. */
export interface RegisterDifference extends Disagreement {
  readonly hart: number;
  /** Field of the hart's block. */
  readonly field: string;
  /** Which of them, where a field has several. */
  readonly index: number;
}

/** A page with two contents, or that only one side wrote: its hash there is undefined. */
export interface PageDifference {
  /** Guest page; page 0 is where RAM starts. */
  readonly page: number;
  readonly recorded: number | undefined;
  readonly replayed: number | undefined;
}

/** What two digests of one epoch do not agree about. */
export interface EpochDifference {
  /** icount of the recorded side. */
  readonly icount: number;
  /** icounts, where they differ. */
  readonly icounts: Disagreement | undefined;
  /** Numbers of harts, where they differ; registers are not compared then. */
  readonly harts: Disagreement | undefined;
  readonly registers: readonly RegisterDifference[];
  /** Devices whose states differ or that only one side has. */
  readonly devices: readonly string[];
  /** Whether the machine's own state or the clock differs. */
  readonly machine: boolean;
  readonly pages: readonly PageDifference[];
}

/** Ends an epoch: digests the machine and begins the next epoch. Between runs. */
export function takeEpoch(machine: Machine, dirty: DirtyPages): EpochDigest {
  const { core } = machine;
  const { plan, hash } = core;
  const pages = dirty.take();
  const pageHashes = new Uint32Array(pages.length);
  for (let i = 0; i < pages.length; i++) pageHashes[i] = hash.page(pages[i]!);
  const devices: Record<string, number> = {};
  for (const { name, declaration, stateOffset } of machine.devices) {
    devices[name] = hash.bytes(plan.deviceState + stateOffset, declaration.state.byteLength);
  }
  let state = hash.bytes(plan.deviceState, MACHINE_STATE.byteLength);
  for (const field of CLOCK_FIELDS) {
    state = Math.imul(state, 31) + hash.bytes(controlAddress(field), 8) | 0;
  }
  const harts = core.saveHarts();
  return { icount: machine.icount, harts, devices, machine: state >>> 0, pages, pageHashes };
}

/** What differs between two digests of the same epoch; undefined when nothing does. */
export function diffEpochs(
  recorded: EpochDigest,
  replayed: EpochDigest,
): EpochDifference | undefined {
  const counts = (digest: EpochDigest) => digest.harts.length / HART.byteLength;
  const sameHarts = counts(recorded) === counts(replayed);
  const registers = sameHarts ? compareHarts(recorded.harts, replayed.harts) : [];
  const names = new Set([...Object.keys(recorded.devices), ...Object.keys(replayed.devices)]);
  const devices = [...names].filter((name) => recorded.devices[name] !== replayed.devices[name]);
  const difference: EpochDifference = {
    icount: recorded.icount,
    icounts: disagreement(recorded.icount, replayed.icount),
    harts: disagreement(counts(recorded), counts(replayed)),
    registers,
    devices,
    machine: recorded.machine !== replayed.machine,
    pages: pageDifferences(recorded, replayed),
  };
  const { icounts, harts, machine, pages } = difference;
  const differs = icounts !== undefined || harts !== undefined || machine ||
    registers.length + devices.length + pages.length > 0;
  return differs ? difference : undefined;
}

/** A difference as lines for people; of registers and pages at most so many each. */
export function formatDifference(difference: EpochDifference, most = 20): string {
  const { icount, icounts, harts, registers, devices, machine, pages } = difference;
  const lines = [`the replay is another machine at icount ${icount}`];
  const both = (what: string, { recorded, replayed }: Disagreement) =>
    lines.push(`  ${what}: recorded ${recorded}, replayed ${replayed}`);
  if (icounts !== undefined) both("icount", icounts);
  if (harts !== undefined) both("number of harts", harts);
  for (const register of registers.slice(0, most)) {
    both(`hart ${register.hart} ${registerName(register)}`, register);
  }
  lines.push(...more(registers.length - most, "registers"));
  if (machine) lines.push("  the state of the machine or its clock differs");
  for (const device of devices) lines.push(`  the state of device ${device} differs`);
  for (const { page, recorded, replayed } of pages.slice(0, most)) {
    const hash = (value: number | undefined) => value === undefined ? "not written" : hex(value);
    both(`page ${page}`, { recorded: hash(recorded), replayed: hash(replayed) });
  }
  lines.push(...more(pages.length - most, "pages"));
  return lines.join("\n");
}

function more(count: number, what: string): string[] {
  return count > 0 ? [`  … and ${count} more ${what}`] : [];
}

function registerName({ field, index }: RegisterDifference): string {
  const [, count] = HART.fields[field as keyof typeof HART.fields] ?? [0, 1];
  return count > 1 ? `${field}[${index}]` : field;
}

function disagreement(recorded: number, replayed: number): Disagreement | undefined {
  if (recorded === replayed) return undefined;
  return { recorded: `${recorded}`, replayed: `${replayed}` };
}

/** Registers that differ in the blocks of as many harts (hart_layout.ts). */
export function compareHarts(recorded: Uint8Array, replayed: Uint8Array): RegisterDifference[] {
  const differences: RegisterDifference[] = [];
  for (let hart = 0; hart * HART.byteLength < recorded.length; hart++) {
    for (const [field, [width, count]] of Object.entries(HART.fields)) {
      const offset = hart * HART.byteLength + HART.offset[field as keyof typeof HART.fields];
      for (let index = 0; index < count; index++) {
        const was = valueAt(recorded, offset + index * width, width);
        const is = valueAt(replayed, offset + index * width, width);
        if (was === is) continue;
        differences.push({ hart, field, index, recorded: hex(was), replayed: hex(is) });
      }
    }
  }
  return differences;
}

/** Both lists ascend. */
function pageDifferences(recorded: EpochDigest, replayed: EpochDigest): PageDifference[] {
  const differences: PageDifference[] = [];
  let a = 0;
  let b = 0;
  while (a < recorded.pages.length || b < replayed.pages.length) {
    const page = Math.min(recorded.pages[a] ?? Infinity, replayed.pages[b] ?? Infinity);
    const was = recorded.pages[a] === page ? recorded.pageHashes[a++] : undefined;
    const is = replayed.pages[b] === page ? replayed.pageHashes[b++] : undefined;
    if (was !== is) differences.push({ page, recorded: was, replayed: is });
  }
  return differences;
}

function valueAt(bytes: Uint8Array, offset: number, width: number): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, width);
  return width === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
}

function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
