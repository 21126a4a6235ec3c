/**
 * The manifest of a recording: what machine it is of, what the machine started from, and which files
 * that needs (design.md, "Records"). JSON, so that people can read it.
 *
 * Invariant: a manifest that parses names everything a replay needs; anything else is a FormatError that
 * says which part is wrong.
 */
import { z } from "zod";
import { FormatError } from "../base/errors.ts";
import { parseIdentity, type VmIdentity } from "../base/identity.ts";
import { isMachineVersion, MACHINE_VERSION, MACHINE_VERSION_OLDEST } from "../machine/version.ts";
import { formatRecordingManifest, RECORDING_VERSION } from "./manifest_text.ts";

export { formatRecordingManifest, RECORDING_VERSION };

/** A file that a recording needs. */
export interface RecordedImage {
  /** "kernel", "initrd", "bios", or "disk0" and so on. */
  readonly role: string;
  /** File that it was read from; empty when it came from memory. */
  readonly path: string;
  /** Its size. */
  readonly bytes: number;
  /** SHA-256 of its bytes when the recording began; null until it is known. */
  readonly sha256: string | null;
  /** File in the recording's folder that holds a copy, if there is one. */
  readonly kept?: string | undefined;
}

/** What a recording is of. */
export interface RecordingManifest {
  /** Says that this is one. */
  readonly format: "chronovisor recording";
  /** Version of the manifest and of the folder around it. */
  readonly version: 1;
  /** When it began, for people. */
  readonly created: string;
  /** Name of the VM. */
  readonly name: string;
  /** The machine: what makes it the same again. */
  readonly machine: {
    /** Version of what guests observe and of what events mean (kernel/machine/version.ts). */
    readonly version: number;
    /** Bytes of guest memory. */
    readonly memoryBytes: number;
    /** Number of harts. */
    readonly harts: number;
    /** Kernel command line. */
    readonly append: string;
    /** Firmware; "image" is among the images. */
    readonly bios: "builtin" | "none" | "image";
    /** Whose time the guest saw. */
    readonly clock: "virtual" | "host" | "exact";
    /** Seed of all randomness in the machine. */
    readonly seed: number;
    /** Who the VM was; without it, what its seed gives. Before version 3 guests saw nothing of it. */
    readonly identity?: VmIdentity | undefined;
    /** Wall clock at guest time 0, in nanoseconds since 1970. */
    readonly wallStart: string;
    /** Shapes of the disks. */
    readonly disks: readonly { readonly sectors: number; readonly readOnly: boolean }[];
  };
  /** Files that the machine started from. */
  readonly images: readonly RecordedImage[];
  /** What the recording begins from: the machine's start, or the state of one that ran already. */
  readonly start: "power-on" | "state";
  /** What a replay shows: the terminal, or what the command of `exec` printed. */
  readonly shows: "console" | "command";
  /** Device of the terminal. */
  readonly console: string;
}

const image: z.ZodType<RecordedImage> = z.strictObject({
  role: z.string().regex(/^(kernel|initrd|bios|disk[0-7])$/),
  path: z.string(),
  bytes: z.int().min(0),
  sha256: z.string().regex(/^[0-9a-f]{64}$/).nullable(),
  kept: z.string().regex(/^images\/[0-9a-z]+$/).optional(),
});

const identity = z.unknown().transform((value, context): VmIdentity => {
  try {
    return parseIdentity(value, "machine");
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    context.addIssue({ code: "custom", message: error.message });
    return z.NEVER;
  }
});

const digits = z.string().regex(/^\d{1,20}$/);

const schema: z.ZodType<RecordingManifest> = z.strictObject({
  format: z.literal("chronovisor recording"),
  version: z.literal(RECORDING_VERSION),
  created: z.string(),
  name: z.string(),
  machine: z.strictObject({
    version: z.int().min(1),
    memoryBytes: z.int().min(65536),
    harts: z.int().min(1).max(8),
    append: z.string(),
    bios: z.enum(["builtin", "none", "image"]),
    clock: z.enum(["virtual", "host", "exact"]),
    seed: z.int().min(0),
    identity: identity.optional(),
    wallStart: digits,
    disks: z.array(z.strictObject({ sectors: z.int().min(1), readOnly: z.boolean() })).max(8),
  }),
  images: z.array(image).max(16),
  start: z.enum(["power-on", "state"]),
  shows: z.enum(["console", "command"]),
  console: z.string(),
});

/** Reads a manifest. Throws FormatError that names what is wrong. */
export function parseRecordingManifest(text: string, where: string): RecordingManifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`${where} is no JSON: ${cause instanceof Error ? cause.message : cause}`);
  }
  checkVersions(json, where);
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new FormatError(`${where} is no recording's manifest: ${z.prettifyError(parsed.error)}`);
}

/** The versions first: all else may have another shape in another version. */
function checkVersions(json: unknown, where: string): void {
  const { format, version, machine } = (json ?? {}) as Record<string, unknown>;
  if (format !== "chronovisor recording") {
    throw new FormatError(`${where} is no recording's manifest`);
  }
  if (version !== RECORDING_VERSION) {
    const known = `this program reads version ${RECORDING_VERSION}`;
    throw new FormatError(`${where} has format version ${version}; ${known}`);
  }
  const machineVersion = (machine as Record<string, unknown> | undefined)?.version;
  if (!isMachineVersion(machineVersion)) {
    throw new FormatError(
      `${where} is of machine version ${machineVersion}; this program replays versions ` +
        `${MACHINE_VERSION_OLDEST} to ${MACHINE_VERSION}`,
    );
  }
}
