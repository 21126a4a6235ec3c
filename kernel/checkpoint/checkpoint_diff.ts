/**
 * What differs between two checkpoints: guest pages, registers of each hart, states of devices (issue 5,
 * section 6, `checkpoint diff`).
 *
 * Invariants: pages are compared by content, so those that are only stored apart do not differ; states are
 * read from files, and refused by name when they are not of this program's layouts.
 */
import { equalBytes } from "../base/bytes.ts";
import { ConfigError, FormatError } from "../base/errors.ts";
import { Shape } from "../base/shape.ts";
import { formatSize, PAGE_BYTES } from "../base/units.ts";
import { HARTS_MAXIMUM, RAM_START } from "../limits.ts";
import { compareHarts } from "../machine/epoch.ts";
import { HART, HART_LAYOUT_VERSION } from "../memory/hart_layout.ts";
import type { CheckpointHead } from "./checkpoint_format.ts";
import type { OpenCheckpoint } from "./open_checkpoint.ts";

/** Most devices of a machine. */
const DEVICES_MAXIMUM = 256;
/** Most bytes of one device's state. */
const STATE_BYTES_MAXIMUM = 16 * 1024 * 1024;

/** Something with a value in each checkpoint. */
export interface CheckpointValues {
  /** In the first one. */
  readonly a: string;
  /** In the second one. */
  readonly b: string;
}

/** A register that differs; values are hexadecimal. */
export interface CheckpointRegister extends CheckpointValues {
  /** Number of the hart. */
  readonly hart: number;
  /** Its name, as in the hart's layout: `pc`, `x10`, `satp`. */
  readonly name: string;
}

/** A device whose state differs. */
export interface CheckpointDevice {
  /** Name of the instance, such as `uart0`. */
  readonly name: string;
  /** Bytes of its state that differ; undefined when they cannot be compared. */
  readonly bytes: number | undefined;
  /** Why they cannot be compared: only one checkpoint has the device, or their layouts differ. */
  readonly reason: string | undefined;
}

/** Pages beside each other. */
export interface PageRange {
  /** Guest-physical address of the first. */
  readonly address: number;
  /** How many. */
  readonly pages: number;
}

/** What differs between two checkpoints. */
export interface CheckpointDiff {
  /** The first one. */
  readonly a: CheckpointHead;
  /** The second one. */
  readonly b: CheckpointHead;
  /** Guest pages that differ, ascending; page 0 is where RAM starts. */
  readonly pages: Uint32Array;
  /** The same as ranges. */
  readonly ranges: readonly PageRange[];
  /** Numbers of harts, where they differ; registers are not compared then. */
  readonly harts: CheckpointValues | undefined;
  /** Registers that differ. */
  readonly registers: readonly CheckpointRegister[];
  /** Whether the machine's own state, its clock, or the results of its disk requests differ. */
  readonly machine: boolean;
  /** Devices whose states differ. */
  readonly devices: readonly CheckpointDevice[];
}

/**
 * Compares two checkpoints. Throws ConfigError when their guests have not as much memory, FormatError when
 * one cannot be read, and HostError.
 */
export function diffCheckpoints(a: OpenCheckpoint, b: OpenCheckpoint): CheckpointDiff {
  if (a.head.memoryPages !== b.head.memoryPages) {
    const size = ({ head }: OpenCheckpoint) => formatSize(head.memoryPages * PAGE_BYTES);
    throw new ConfigError(
      `Cannot compare checkpoint ${a.head.id} of ${size(a)} of memory with ${b.head.id} of ` +
        `${size(b)}: expected as much`,
    );
  }
  const [one, two] = [readStates(a), readStates(b)];
  const sameHarts = one.harts.length === two.harts.length;
  const count = ({ harts }: States) => `${harts.length / HART.byteLength}`;
  const pages = a.differingPages(b);
  return {
    a: a.head,
    b: b.head,
    pages,
    ranges: pageRanges(pages),
    harts: sameHarts ? undefined : { a: count(one), b: count(two) },
    registers: sameHarts ? registers(one.harts, two.harts) : [],
    machine: one.others !== two.others || !sameState(one.machine, two.machine),
    devices: devices(one.devices, two.devices),
  };
}

/** Pages, which ascend, as ranges of guest-physical addresses. */
export function pageRanges(pages: Uint32Array): PageRange[] {
  const ranges: PageRange[] = [];
  for (let from = 0; from < pages.length;) {
    let to = from + 1;
    while (to < pages.length && pages[to] === pages[from]! + to - from) to++;
    ranges.push({ address: RAM_START + pages[from]! * PAGE_BYTES, pages: to - from });
    from = to;
  }
  return ranges;
}

interface State {
  readonly layout: string;
  readonly bytes: Uint8Array;
}

interface States {
  readonly harts: Uint8Array;
  readonly machine: State;
  readonly devices: ReadonlyMap<string, State>;
  /** All else as text, which is equal where the states are. */
  readonly others: string;
}

/** Blocks of a checkpoint's harts in their order (hart_layout.ts). Throws FormatError. */
export function hartsOf({ head, state }: OpenCheckpoint): Uint8Array {
  const where = `checkpoint ${head.id}: image`;
  const harts = new Shape(state.image, where).field("harts");
  const version = harts.field("version").whole(1);
  if (version !== HART_LAYOUT_VERSION) {
    throw new FormatError(
      `${where} has harts of version ${version}; this program reads ${HART_LAYOUT_VERSION}`,
    );
  }
  const expected = harts.field("count").whole(1, HARTS_MAXIMUM) * HART.byteLength;
  const bytes = harts.field("bytes").bytes(expected);
  if (bytes.length !== expected) {
    throw new FormatError(`${where} has ${bytes.length} bytes of harts: expected ${expected}`);
  }
  return bytes;
}

/** A checkpoint's machine image, as far as it is compared. Throws FormatError. */
function readStates(checkpoint: OpenCheckpoint): States {
  const { head, state } = checkpoint;
  const image = new Shape(state.image, `checkpoint ${head.id}: image`);
  const states = image.field("devices").list(
    DEVICES_MAXIMUM,
    (device) => [device.field("name").text(), stateOf(device)] as const,
  );
  const { current, clock, diskResults, toHost } = state.image;
  return {
    harts: hartsOf(checkpoint),
    machine: stateOf(image.field("machine")),
    devices: new Map(states),
    others: JSON.stringify([current, clock, diskResults, toHost], bytesAsText),
  };
}

function stateOf(state: Shape): State {
  const [name, version] = [state.field("layout").text(), state.field("version").whole(0)];
  return { layout: `${name} ${version}`, bytes: state.field("bytes").bytes(STATE_BYTES_MAXIMUM) };
}

function bytesAsText(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? value.toBase64() : value;
}

function sameState(a: State, b: State): boolean {
  return a.layout === b.layout && equalBytes(a.bytes, b.bytes);
}

function registers(a: Uint8Array, b: Uint8Array): CheckpointRegister[] {
  return compareHarts(a, b).map(({ hart, field, index, recorded, replayed }) => {
    const [, count] = HART.fields[field as keyof typeof HART.fields];
    return { hart, name: count > 1 ? `${field}${index}` : field, a: recorded, b: replayed };
  });
}

function devices(
  a: ReadonlyMap<string, State>,
  b: ReadonlyMap<string, State>,
): CheckpointDevice[] {
  const found: CheckpointDevice[] = [];
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    const [one, two] = [a.get(name), b.get(name)];
    if (one === undefined || two === undefined) {
      const which = two === undefined ? "first" : "second";
      found.push({ name, bytes: undefined, reason: `only the ${which} checkpoint has it` });
    } else if (one.layout !== two.layout || one.bytes.length !== two.bytes.length) {
      const reason = `its layout is ${one.layout} in the first and ${two.layout} in the second`;
      found.push({ name, bytes: undefined, reason });
    } else if (!equalBytes(one.bytes, two.bytes)) {
      let bytes = 0;
      for (let i = 0; i < one.bytes.length; i++) if (one.bytes[i] !== two.bytes[i]) bytes++;
      found.push({ name, bytes, reason: undefined });
    }
  }
  return found;
}
