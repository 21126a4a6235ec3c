/**
 * How a recording's folder becomes a VM again (issue 4, "Replay"); how it came to be is in
 * recording_start.ts. Loaded by the first replay.
 *
 * Invariant: what a recording needs is found and identified before anything is replayed; what is missing
 * or has changed is named, and nothing is replayed then.
 */
import { ConfigError, FormatError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { LogStream } from "../replay/log_format.ts";
import {
  parseRecordingManifest,
  type RecordedImage,
  type RecordingManifest,
} from "../replay/manifest.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import { importLate } from "../host/late_import.ts";
import { EarlierDisk } from "../storage/before_image.ts";
import { openRawDisk } from "../storage/raw.ts";
import type { MachineConfig } from "./machine_port.ts";

/** What reading a recording takes of a host; in a browser, its page is one that has this much. */
export type RecordingHost = Pick<Host, "files" | "compression">;

/** Bytes of an image are hashed and read in parts of this many. */
const PART_BYTES = 4 * 1024 * 1024;

/** A recording's folder, opened. */
export interface Recording {
  readonly folder: string;
  readonly manifest: RecordingManifest;
  readonly events: readonly Uint8Array<ArrayBuffer>[];
  readonly outputs: readonly Uint8Array<ArrayBuffer>[];
  /** The state that it begins from; none: power-on. */
  readonly state: readonly Uint8Array<ArrayBuffer>[];
}

/** Reads a recording's manifest and logs. Rejects with HostError and FormatError. */
export async function openRecording(host: RecordingHost, folder: string): Promise<Recording> {
  const path = `${folder}/manifest.json`;
  const text = new TextDecoder().decode(await host.files.readAll(path));
  const manifest = parseRecordingManifest(text, `"${path}"`);
  const names = host.files.list(folder);
  const segments = async (stream: LogStream) => {
    const wanted = names.filter((name) => new RegExp(`^${stream}-\\d{6}\\.log$`).test(name));
    wanted.forEach((name, i) => {
      if (Number(name.slice(stream.length + 1, -4)) === i) return;
      throw new FormatError(`"${folder}": segment ${i} of the log of ${stream} is missing`);
    });
    return await Promise.all(wanted.map((name) => host.files.readAll(`${folder}/${name}`)));
  };
  const state = await segments("state");
  if ((manifest.start === "state") !== (state.length > 0)) {
    throw new FormatError(`"${folder}": the state that the recording begins from is missing`);
  }
  return {
    folder,
    manifest,
    events: await segments("events"),
    outputs: await segments("outputs"),
    state,
  };
}

/** What a recording's machine starts from. */
export interface RecordedImages {
  readonly kernel: Uint8Array<ArrayBuffer> | undefined;
  readonly initrd: Uint8Array<ArrayBuffer> | undefined;
  readonly bios: "builtin" | "none" | Uint8Array<ArrayBuffer>;
}

/** Reads the images, not the disks, that a recording starts from. Rejects with a FormatError for changed ones. */
export async function readRecordedImages(
  host: RecordingHost,
  { folder, manifest }: Recording,
): Promise<RecordedImages> {
  const read = async (role: string) => {
    const image = manifest.images.find((candidate) => candidate.role === role);
    if (image === undefined) return undefined;
    const path = placeOf(folder, image);
    const bytes = await readPresent(host, image, path);
    const hash = host.compression.sha256();
    hash.add(bytes);
    checkDigest(image, path, hash.hex());
    return bytes;
  };
  const { bios } = manifest.machine;
  const firmware = await read("bios");
  if (bios === "image" && firmware === undefined) {
    throw new FormatError(`"${folder}": the manifest names no firmware image`);
  }
  return {
    kernel: await read("kernel"),
    initrd: await read("initrd"),
    bios: bios === "image" ? firmware! : bios,
  };
}

/** How a recording is replayed: nothing that the guest could see. */
export type ReplayedHow = Pick<
  MachineConfig,
  "tier" | "tlbEntries" | "cacheElements" | "marksExecution"
>;

/** The machine of a recording at its power-on state. */
export function recordedMachine(
  { machine }: RecordingManifest,
  { kernel, initrd, bios }: RecordedImages,
  how: ReplayedHow,
): MachineConfig {
  return {
    ...kernel && { kernel },
    ...initrd && { initrd },
    bios,
    machineVersion: machine.version,
    memoryBytes: machine.memoryBytes,
    harts: machine.harts,
    append: machine.append,
    disks: machine.disks,
    clock: machine.clock as MachineConfig["clock"],
    seed: machine.seed,
    ...machine.identity && { identity: machine.identity },
    startWallNanoseconds: BigInt(machine.wallStart),
    ...how,
    trace: false,
  };
}

function placeOf(folder: string, { kept, path }: RecordedImage): string {
  return kept === undefined ? path : `${folder}/${kept}`;
}

async function readPresent(
  host: RecordingHost,
  { role }: RecordedImage,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await host.files.readAll(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`The recording's ${role} image is missing: ${why}`, { cause });
  }
}

function checkDigest(image: RecordedImage, path: string, sha256: string): void {
  if (image.sha256 === null) {
    throw new FormatError(
      `The recording ended before its ${image.role} image was identified: it cannot be replayed`,
    );
  }
  if (image.sha256 === sha256) return;
  throw new FormatError(
    `"${path}" has changed since the recording: expected the ${image.role} image with SHA-256 ` +
      `${image.sha256}, found ${sha256}`,
  );
}

/** Opens the disks of a recording as they were when it began. Rejects like `readRecordedImages`. */
export async function openRecordedDisks(
  host: RecordingHost,
  { folder, manifest }: Recording,
): Promise<BlockDevice[]> {
  const disks: BlockDevice[] = [];
  try {
    for (const [i, shape] of manifest.machine.disks.entries()) {
      const image = manifest.images.find(({ role }) => role === `disk${i}`);
      if (image === undefined) throw new FormatError(`"${folder}": the manifest has no disk${i}`);
      const disk = await openRecordedDisk(host, folder, image, shape);
      disks.push(disk);
      await checkDisk(host, disk, image, shape.sectors);
    }
    return disks;
  } catch (error) {
    for (const disk of disks) void disk.close();
    throw error;
  }
}

async function openRecordedDisk(
  host: RecordingHost,
  folder: string,
  image: RecordedImage,
  { sectors, readOnly }: { readonly sectors: number; readonly readOnly: boolean },
): Promise<BlockDevice> {
  const path = placeOf(folder, image);
  let disk: BlockDevice;
  try {
    // Whatever format it is taken for, its digest says whether it holds what the disk did.
    const isRaw = image.kept !== undefined || isOfSize(host, path, sectors * SECTOR_BYTES);
    disk = isRaw
      ? openRawDisk(host.files, path, { readOnly: true })
      : await openFormatted(host, path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`The recording's ${image.role} image is missing: ${why}`, { cause });
  }
  // A copy was made as the disk was when the recording began.
  const before = `${folder}/${image.role}.before`;
  const wasWritten = !readOnly && image.kept === undefined;
  return wasWritten ? new EarlierDisk(disk, host.files.open(before)) : disk;
}

/** What other formats take is loaded when there is one: a browser's page, which has none, goes without. */
async function openFormatted(host: RecordingHost, path: string): Promise<BlockDevice> {
  const { openDisk } = await importLate<typeof import("../storage/open_disk.ts")>(
    "../storage/open_disk.ts",
    import.meta.url,
  );
  return await openDisk(host.files, { path, readOnly: true });
}

function isOfSize(host: RecordingHost, path: string, bytes: number): boolean {
  const file = host.files.open(path);
  try {
    return file.size === bytes;
  } finally {
    file.close();
  }
}

async function checkDisk(
  host: RecordingHost,
  disk: BlockDevice,
  image: RecordedImage,
  sectors: number,
): Promise<void> {
  const hash = host.compression.sha256();
  const end = Math.min(disk.sectors, sectors) * SECTOR_BYTES;
  for (let at = 0; at < end; at += PART_BYTES) {
    const part = new Uint8Array(Math.min(PART_BYTES, end - at));
    await disk.read(at / SECTOR_BYTES, part);
    hash.add(part);
  }
  checkDigest(image, image.path, disk.sectors === sectors ? hash.hex() : "another length");
}
