/**
 * What a checkpoint's file holds, as values (S17, S19.8): a head that is enough to list it, the state of the
 * machine but for RAM, the page map, and the pages that a resume loads first.
 *
 * Whose fields: `image` is checked by kernel/machine/machine_image.ts when it is put back; `config`,
 * `identity` and `disks` are plain data of the VM's owner, kept as they are and checked by it; all else is
 * of this folder, and checked here.
 *
 * Invariant: a head that was read makes sense in itself; anything else is a FormatError that says which part
 * is wrong.
 */
import { decode, encode } from "@msgpack/msgpack";
import { ConfigError, FormatError } from "../base/errors.ts";
import { hasUnseen, quoted } from "../base/quoted.ts";
import { PAGE_BYTES } from "../base/units.ts";
import { isStoreId } from "../datastore/pack_format.ts";
import type { PageCounts } from "../datastore/page_encoder.ts";
import { PACKS_MAXIMUM } from "../datastore/page_map.ts";
import { GUEST_MEMORY_MAXIMUM } from "../limits.ts";
import type { MachineImage } from "../machine/machine_image.ts";
import { isMachineVersion, MACHINE_VERSION, MACHINE_VERSION_OLDEST } from "../machine/version.ts";
import { checkRecordShape } from "../replay/record_shape.ts";

/** Version of the values in a checkpoint's head and state. */
export const CHECKPOINT_SCHEMA = 1;
/** Most guest pages. */
export const MEMORY_PAGES_MAXIMUM = GUEST_MEMORY_MAXIMUM / PAGE_BYTES;
/** Most characters of a name or label. */
const TEXT_MAXIMUM = 1000;
/** Most lists and maps around a value of a state. */
const STATE_DEPTH = 16;

/** Why a checkpoint was made: by a user, by a suspend, as a start for `exec`, or for forks. */
export const CHECKPOINT_KINDS: readonly CheckpointKind[] = [
  "checkpoint",
  "suspended",
  "ready",
  "fork",
];
/** One of these reasons. */
export type CheckpointKind = "checkpoint" | "suspended" | "ready" | "fork";

/** Data that msgpack keeps as it is. */
export type PlainData =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly PlainData[]
  | { readonly [name: string]: PlainData | undefined };

/** What the maker of a checkpoint says of it. */
export interface CheckpointAbout {
  /** Name of the VM. */
  readonly vm: string;
  /** What the user calls it; may be empty, may be changed. */
  readonly label: string;
  /** When it was taken: milliseconds since 1970. */
  readonly created: number;
  /** Why it was made. */
  readonly kind: CheckpointKind;
  /** Version of the machine: kernel/machine/version.ts. */
  readonly machineVersion: number;
  /** Instructions that its machine had executed. */
  readonly icount: number;
  /** What the owner finds it by, such as a digest of images and options; may be empty. */
  readonly key: string;
}

/** What is known of a checkpoint without reading all of it. */
export interface CheckpointHead extends CheckpointAbout {
  /** Version of these values. */
  readonly schema: number;
  /** Its id: 32 hexadecimal digits. */
  readonly id: string;
  /** Id of the checkpoint whose map this one's is a difference to; null when it has all pages itself. */
  readonly parent: string | null;
  /** Guest pages of RAM. */
  readonly memoryPages: number;
  /** Ids of the packs that its own map names. */
  readonly packs: readonly string[];
  /** What the pages of its save were. */
  readonly counts: PageCounts;
}

/** All state of a VM but RAM and the contents of disks. */
export interface CheckpointState {
  readonly image: MachineImage;
  /** The VM's configuration, as its owner writes it. */
  readonly config: PlainData;
  /** The VM's identity, as its owner writes it. */
  readonly identity: PlainData;
  /** What the disks were at this moment, as their owner writes it. */
  readonly disks: readonly PlainData[];
}

const COUNTS = ["added", "zero", "known", "stored", "storedBytes"] as const;

/** A value as msgpack. */
export function packValue(value: unknown): Uint8Array<ArrayBuffer> {
  return encode(value, { ignoreUndefined: true });
}

/** A value of msgpack that must be a map. Throws FormatError. */
export function unpackMap(
  bytes: Uint8Array,
  what: string,
  depth = STATE_DEPTH,
): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    checkRecordShape(bytes, depth);
    value = decode(bytes);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`its ${what} cannot be read: ${reason}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FormatError(`its ${what} is no map`);
  }
  return value as Readonly<Record<string, unknown>>;
}

const isText = (value: unknown) => typeof value === "string" && value.length <= TEXT_MAXIMUM;
const isCount = (value: unknown, most = Number.MAX_SAFE_INTEGER) =>
  Number.isSafeInteger(value) && value as number >= 0 && value as number <= most;
const isCounts = (value: unknown) =>
  typeof value === "object" && value !== null &&
  COUNTS.every((name) => isCount((value as Record<string, unknown>)[name]));

/** TABLE of a head's fields, and what each must be. */
const FIELDS: Readonly<Record<keyof CheckpointHead, readonly [(v: unknown) => boolean, string]>> = {
  schema: [(value) => value === CHECKPOINT_SCHEMA, `${CHECKPOINT_SCHEMA}`],
  id: [isStoreId, "an id"],
  parent: [(value) => value === null || isStoreId(value), "an id or null"],
  vm: [isText, `a name of at most ${TEXT_MAXIMUM} characters`],
  label: [isText, `a text of at most ${TEXT_MAXIMUM} characters`],
  created: [isCount, "milliseconds since 1970"],
  kind: [(value) => CHECKPOINT_KINDS.includes(value as CheckpointKind), CHECKPOINT_KINDS.join()],
  machineVersion: [isCount, "a version"],
  icount: [isCount, "a number of instructions"],
  key: [isText, `a text of at most ${TEXT_MAXIMUM} characters`],
  memoryPages: [
    (value) => isCount(value, MEMORY_PAGES_MAXIMUM) && value !== 0,
    `a number up to ${MEMORY_PAGES_MAXIMUM}`,
  ],
  packs: [
    (value) => Array.isArray(value) && value.length <= PACKS_MAXIMUM && value.every(isStoreId),
    "a list of ids",
  ],
  counts: [isCounts, "numbers of pages"],
};

/**
 * Checks what a maker says of a checkpoint by what a head that is read must be, and that a person can type its label.
 * Throws ConfigError that names the field: before a save writes anything.
 */
export function checkAbout(about: Partial<CheckpointAbout>): void {
  for (const [name, value] of Object.entries(about)) {
    const [isGood, expected] = FIELDS[name as keyof CheckpointAbout];
    if (!isGood(value)) throw refusedField(name, value, expected);
  }
  // Not asked of a head that is read: older programs made such labels.
  const { label = "" } = about;
  if (hasUnseen(label)) {
    throw refusedField("label", label, "no control characters and no marks of direction");
  }
  if (label !== "" && label.trim() === "") {
    throw refusedField("label", label, "none, or more than blanks");
  }
}

function refusedField(name: string, value: unknown, expected: string): ConfigError {
  const length = typeof value === "string" ? ` (${value.length} characters)` : "";
  return new ConfigError(
    `Cannot keep a checkpoint whose ${name} is ${
      quoted(show(value))
    }${length}: expected ${expected}`,
  );
}

/** Reads a head. Throws FormatError. */
export function readHead(bytes: Uint8Array): CheckpointHead {
  const value = unpackMap(bytes, "head");
  if (value.schema !== CHECKPOINT_SCHEMA) {
    throw new FormatError(
      `it has schema version ${value.schema}; this program reads ${CHECKPOINT_SCHEMA}`,
    );
  }
  for (const [name, [isGood, expected]] of Object.entries(FIELDS)) {
    if (!isGood(value[name])) {
      throw new FormatError(`its head's ${name} is ${show(value[name])}, expected ${expected}`);
    }
  }
  return value as unknown as CheckpointHead;
}

function show(value: unknown): string {
  return typeof value === "object" && value !== null ? "something else" : `${value}`.slice(0, 80);
}

/** Reads a state; the image is checked when it is put back. Throws FormatError. */
export function readState(bytes: Uint8Array): CheckpointState {
  const { image, config, identity, disks } = unpackMap(bytes, "state");
  if (typeof image !== "object" || image === null) throw new FormatError("its state has no image");
  if (!Array.isArray(disks)) throw new FormatError("its state's disks are no list");
  return {
    image: image as MachineImage,
    config: (config ?? null) as PlainData,
    identity: (identity ?? null) as PlainData,
    disks,
  };
}

/** Throws FormatError when this program cannot run a machine of the head's version. */
export function checkMachineVersion({ machineVersion }: CheckpointHead): void {
  if (isMachineVersion(machineVersion)) return;
  throw new FormatError(
    `it is of machine version ${machineVersion}; this program runs versions ` +
      `${MACHINE_VERSION_OLDEST} to ${MACHINE_VERSION}`,
  );
}
