/**
 * The manifest of a recording: what machine it is of, what the machine started from, and which files
 * that needs (design.md, "Records"). JSON, so that people can read it.
 *
 * Invariant: a manifest that parses names everything a replay needs; anything else is a FormatError that
 * says which part is wrong.
 */
import { z } from "zod";
import { FormatError } from "../base/errors.ts";
import { MACHINE_VERSION, MACHINE_VERSION_OLDEST } from "../machine/version.ts";

/** Version of the manifest and of the folder around it. */
export const RECORDING_VERSION = 1;

const image = z.strictObject({
  /** "kernel", "initrd", "bios", or "disk0" and so on. */
  role: z.string().regex(/^(kernel|initrd|bios|disk[0-7])$/),
  /** File that it was read from; empty when it came from memory. */
  path: z.string(),
  bytes: z.int().min(0),
  /** SHA-256 of its bytes when the recording began; null until it is known. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/).nullable(),
  /** File in the recording's folder that holds a copy, if there is one. */
  kept: z.string().regex(/^images\/[0-9a-z]+$/).optional(),
});

const digits = z.string().regex(/^\d{1,20}$/);

const schema = z.strictObject({
  format: z.literal("chronovisor recording"),
  version: z.literal(RECORDING_VERSION),
  /** When it began, for people. */
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
    wallStart: digits,
    disks: z.array(z.strictObject({ sectors: z.int().min(1), readOnly: z.boolean() })).max(8),
  }),
  images: z.array(image).max(16),
  /** What the machine started from. */
  start: z.enum(["power-on", "state"]),
  /** What a replay shows: the terminal, or what the command of `exec` printed. */
  shows: z.enum(["console", "command"]),
  /** Device of the terminal. */
  console: z.string(),
});

/** A recording's manifest. */
export type RecordingManifest = z.infer<typeof schema>;
/** A file that a recording needs. */
export type RecordedImage = z.infer<typeof image>;

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
  const known = typeof machineVersion === "number" &&
    machineVersion >= MACHINE_VERSION_OLDEST && machineVersion <= MACHINE_VERSION;
  if (!known) {
    throw new FormatError(
      `${where} is of machine version ${machineVersion}; this program replays versions ` +
        `${MACHINE_VERSION_OLDEST} to ${MACHINE_VERSION}`,
    );
  }
}

/** Text of a manifest. */
export function formatRecordingManifest(manifest: RecordingManifest): string {
  return JSON.stringify(manifest, null, 2) + "\n";
}
