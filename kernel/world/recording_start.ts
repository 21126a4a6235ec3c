/**
 * How a VM's description becomes a recording's manifest (issue 4, "Record").
 *
 * Invariant: a recording names all that a replay needs of the host.
 */
import type { Host } from "../host/host.ts";
import { SECTOR_BYTES } from "../limits.ts";
import type { RecordingManifest } from "../replay/manifest.ts";
import { RECORDING_VERSION } from "../replay/manifest_text.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import { KeepingDisk } from "../storage/before_image.ts";
import type { MachineConfig } from "./machine_port.ts";
import { type ImageFact, RecordingSession, type RecordOptions } from "./recording_session.ts";

/** A VM that is to be recorded, as far as its manifest tells. */
export interface RecordedVm {
  readonly name: string;
  readonly config: MachineConfig;
  /** Device of the terminal. */
  readonly console: string;
  /** What the recording begins from. */
  readonly start: "power-on" | "state";
  /** What a replay is to show. */
  readonly shows: "console" | "command";
  /** Files of its images by role; those that were given as bytes are not among them. */
  readonly paths: Readonly<Record<string, string>>;
  /** Its disks; the writable ones are replaced by ones that keep what they overwrite. */
  readonly disks: BlockDevice[];
}

/** Begins a recording that starts with the VM. Throws HostError when the folder cannot be made. */
export function beginRecording(
  host: Host,
  vm: RecordedVm,
  options: RecordOptions,
  warn: (line: string) => void,
): RecordingSession {
  const { config, paths, disks } = vm;
  host.files.createFolder(options.folder);
  const images: ImageFact[] = [];
  const { bios } = config;
  const given = { kernel: config.kernel, initrd: config.initrd, bios };
  for (const [role, contents] of Object.entries(given)) {
    if (contents === undefined || typeof contents === "string") continue;
    const path = paths[role];
    // What was read from a file moves to the VM world, and is read again for the recording.
    const fact = path === undefined
      ? { role, path: "", contents, bytes: contents.length }
      : { role, path, bytes: sizeOf(host, path) };
    images.push(fact);
  }
  disks.forEach((disk, i) => {
    const role = `disk${i}`;
    const fact = { role, path: paths[role] ?? "", bytes: disk.sectors * SECTOR_BYTES };
    if (disk.readOnly) return void images.push(fact);
    const before = host.files.create(`${options.folder}/${role}.before`);
    const contents = new KeepingDisk(disk, before, (error) => {
      warn(`The recording in "${options.folder}" cannot be replayed: ${error.message}`);
    }, options.sync === "every");
    disks[i] = contents;
    images.push({ ...fact, contents });
  });
  return new RecordingSession(host, headOf(host, vm), images, options, warn);
}

function sizeOf(host: Host, path: string): number {
  const file = host.files.open(path);
  file.close();
  return file.size;
}

function headOf(host: Host, vm: RecordedVm): Omit<RecordingManifest, "images"> {
  const { config } = vm;
  const { memoryBytes, harts, append, bios, clock, seed, identity, disks } = config;
  return {
    format: "chronovisor recording",
    version: RECORDING_VERSION,
    created: new Date(Number(host.clock.wallNanoseconds() / 1_000_000n)).toISOString(),
    name: vm.name,
    machine: {
      version: config.machineVersion,
      memoryBytes,
      harts,
      append,
      bios: typeof bios === "string" ? bios : "image",
      clock,
      seed,
      ...identity && { identity },
      wallStart: `${config.startWallNanoseconds}`,
      disks: disks.map(({ sectors, readOnly }) => ({ sectors, readOnly })),
    },
    start: vm.start,
    shows: vm.shows,
    console: vm.console,
  };
}
