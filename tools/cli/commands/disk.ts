/** `disk`: makes, describes, checks, converts and commits images of disks (issue 5, section 3). */
import { Command } from "commander";
import {
  checkDisk,
  commitQcow2,
  ConfigError,
  convertDisk,
  createDisk,
  type DiskCheck,
  type DiskFormat,
  type DiskInfo,
  diskInfo,
  formatSize,
  parseSize,
  type Qcow2Check,
  type Qcow2Repair,
} from "../../../mod.ts";
import { choice } from "../machine_options.ts";
import { Progress } from "../progress.ts";
import { writeError, writeOut } from "../streams.ts";

/** Status of a check that found clusters that are not free and not used, or reference counts that are out of date. */
const STATUS_LEAKS = 3;
/** Status of a check that found damage. */
const STATUS_DAMAGE = 4;

const FORMATS: DiskFormat[] = ["raw", "qcow2", "lazy-zero"];

interface CreateOptions {
  readonly format: DiskFormat;
  readonly backing?: string;
  readonly backingFormat?: "raw" | "qcow2";
  readonly cluster?: string;
  readonly lazyRefcounts?: boolean;
  readonly preallocation?: "none" | "metadata";
}

/** The command. */
export function diskCommand(onStatus: (status: number) => void): Command {
  const command = new Command("disk").description("make and look after images of disks");
  command.command("create").description("make an image of a disk full of zeros")
    .argument("<file>", "a file that does not exist")
    .argument("[size]", "of the disk, such as 20G; with --backing its size by default")
    .addOption(choice("--format <format>", "of the image", FORMATS).default("qcow2"))
    .option("--backing <file>", "what the disk holds at first; relative to the image's folder")
    .addOption(choice("--backing-format <format>", "format of that", ["raw", "qcow2"]))
    .option("--cluster <size>", "of a qcow2 image, 512 to 2M; 64K by default")
    .option("--lazy-refcounts", "write the refcounts of a qcow2 image only when it is closed")
    .addOption(choice("--preallocation <what>", "what to make at once", ["none", "metadata"]))
    .action(create);
  command.command("info").description("describe an image, and the files that it is based on")
    .argument("<file>", "an image")
    .addOption(choice("--format <format>", "of the image; by default what it looks like", FORMATS))
    .option("--json", "print one JSON object")
    .action(info);
  command.command("check").description("look for damage in an image that nobody writes to")
    .argument("<file>", "an image")
    .addOption(choice("--format <format>", "of the image; by default what it looks like", FORMATS))
    .addOption(choice("--repair <what>", "what to put right in a qcow2 image", ["leaks", "all"]))
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `\nStatus: 0 for none, ${STATUS_LEAKS} for leaks and for an image that was not closed and needs its ` +
        `reference counts made anew, ${STATUS_DAMAGE} for damage.`,
    )
    .action((path: string, options) => check(path, options, onStatus));
  command.command("convert").description("copy a disk into an image of any format")
    .argument("<source>", "an image")
    .argument("<target>", "a file that does not exist")
    .addOption(choice("--from <format>", "of the source; by default what it looks like", FORMATS))
    .addOption(choice("--to <format>", "of the target", FORMATS).default("qcow2"))
    .option("--cluster <size>", "of a qcow2 image, 512 to 2M; 64K by default")
    .action(convert);
  command.command("commit")
    .description("write what a qcow2 image holds into the file that it is based on, and empty it")
    .argument("<file>", "an image that nobody uses, nor the file that it is based on")
    .action(commit);
  return command;
}

const clusterOption = (cluster: string | undefined) =>
  cluster === undefined ? {} : { clusterBytes: parseSize(cluster) };

const telling = { warn: (line: string) => writeError(`chronovisor: ${line}\n`) };

async function create(
  path: string,
  size: string | undefined,
  { format, backing, backingFormat, cluster, lazyRefcounts, preallocation }: CreateOptions,
): Promise<void> {
  const isPlain = [backing, cluster, lazyRefcounts, preallocation].every((o) => o === undefined);
  if (format !== "qcow2" && !isPlain) {
    throw new ConfigError(`An image of format ${format} takes no such options: expected qcow2`);
  }
  if ((backing === undefined) !== (backingFormat === undefined)) {
    throw new ConfigError("--backing and --backing-format go together");
  }
  if (size === undefined && backing === undefined) {
    throw new ConfigError("Expected the size of the disk, such as 20G");
  }
  const disk = {
    path,
    format,
    ...clusterOption(cluster),
    ...lazyRefcounts && { lazyRefcounts },
    ...preallocation && { preallocation },
    ...backing !== undefined && { backing: { path: backing, format: backingFormat! } },
  };
  await createDisk(disk, size === undefined ? undefined : parseSize(size), telling);
}

async function info(
  path: string,
  { format, json }: { readonly format?: DiskFormat; readonly json?: boolean },
): Promise<void> {
  const found = await diskInfo({ path, ...format && { format } });
  writeOut(json ? JSON.stringify(found) + "\n" : infoLines(found));
}

function infoLines(found: NonNullable<DiskInfo["backing"]>, indent = ""): string {
  const line = (name: string, value: string) => `${indent}${name.padEnd(12)}${value}\n`;
  let text = line("image", found.path);
  if ("problem" in found) return text + line("problem", found.problem);
  text += line("format", found.format) + line("disk", size(found.bytes)) +
    line("file", size(found.fileBytes));
  if (found.qcow2 !== undefined) {
    const { version, clusterBytes, allocatedBytes, snapshots, features } = found.qcow2;
    text += line("version", `${version}`) + line("clusters", size(clusterBytes)) +
      line("allocated", size(allocatedBytes));
    if (snapshots > 0) text += line("snapshots", `${snapshots}`);
    if (features.length > 0) text += line("features", features.join(", "));
  }
  return found.backing === undefined
    ? text
    : `${text}${indent}based on\n${infoLines(found.backing, indent + "  ")}`;
}

interface CheckOptions {
  readonly format?: DiskFormat;
  readonly repair?: Qcow2Repair;
  readonly json?: boolean;
}

async function check(
  path: string,
  { format, repair, json }: CheckOptions,
  onStatus: (status: number) => void,
): Promise<void> {
  const source = { path, ...format && { format } };
  const found = await checkDisk(source, { ...telling, ...repair && { repair } });
  writeOut(json ? JSON.stringify({ path, ...found }) + "\n" : checkLines(found));
  if (found.corruptions > 0) onStatus(STATUS_DAMAGE);
  else if (found.format === "qcow2" && found.leaks + found.stale > 0) onStatus(STATUS_LEAKS);
}

function checkLines(found: DiskCheck): string {
  for (const line of found.problems) writeError(`${line}\n`);
  if (found.format === "qcow2") return qcow2Lines(found);
  if (found.format === "raw") return "a raw image has nothing to check: all of it is the disk\n";
  const { corruptions, initialisedBlocks, totalBlocks } = found;
  const left = corruptions > 0 ? `${corruptions} corruptions` : "no damage";
  return `${left}\n${initialisedBlocks} of ${totalBlocks} blocks initialised\n`;
}

function qcow2Lines(found: Qcow2Check): string {
  const { corruptions, leaks } = found;
  const left = corruptions + leaks > 0
    ? `${corruptions} corruptions, ${leaks} leaked clusters\n`
    : "no damage\n";
  const { allocatedClusters, totalClusters, compressedClusters } = found;
  const packed = compressedClusters > 0 ? `, ${compressedClusters} of them compressed` : "";
  return `${fixedLines(found)}${unclosedLines(found)}${left}` +
    `${allocatedClusters} of ${totalClusters} clusters allocated${packed}\n`;
}

function fixedLines({ corruptionsFixed, leaksFixed, staleFixed }: Qcow2Check): string {
  const fixed = corruptionsFixed + leaksFixed > 0
    ? `${corruptionsFixed} corruptions and ${leaksFixed} leaked clusters were repaired\n`
    : "";
  return staleFixed > 0 ? `${fixed}${staleFixed} reference counts and flags were mended\n` : fixed;
}

/** An image that was not closed is no damage: who opens it next mends it. */
function unclosedLines({ isUnclosed, stale }: Qcow2Check): string {
  if (!isUnclosed) return "";
  const what = stale > 0
    ? `${stale} reference counts and flags are out of date`
    : "nothing is lost";
  return `the image was not closed: ${what}\n` +
    "its reference counts are mended when it is next opened for writing, or by `disk check --repair leaks`\n";
}

async function convert(
  source: string,
  target: string,
  { from, to, cluster }: {
    readonly from?: DiskFormat;
    readonly to: DiskFormat;
    readonly cluster?: string;
  },
): Promise<void> {
  if (cluster !== undefined && to !== "qcow2") {
    throw new ConfigError(`An image of format ${to} has no clusters: expected qcow2`);
  }
  const { bytes, copiedBytes } = await shown(`converting ${source}`, (progress) => {
    return convertDisk(
      { path: source, ...from && { format: from } },
      { path: target, format: to, ...clusterOption(cluster) },
      { ...telling, progress },
    );
  });
  writeOut(`a disk of ${size(bytes)}, of which ${size(copiedBytes)} are not zeros\n`);
}

async function commit(path: string): Promise<void> {
  const { into, copiedBytes, zeroedBytes } = await shown(`committing ${path}`, (progress) => {
    return commitQcow2(path, { ...telling, progress });
  });
  writeOut(`${size(copiedBytes)} copied into ${into}, ${size(zeroedBytes)} zeroed there\n`);
}

/** Shows on a terminal how far something is. */
async function shown<T>(
  what: string,
  work: (progress: (sectors: number, of: number) => void) => Promise<T>,
): Promise<T> {
  const line = new Progress();
  let last = "";
  try {
    return await work((sectors, of) => {
      const now = `${what}: ${Math.floor(100 * sectors / of)} %`;
      if (now !== last) line.show(now);
      last = now;
    });
  } finally {
    line.clear();
  }
}

function size(bytes: number): string {
  return bytes < 1024 ? `${bytes} bytes` : `${formatSize(bytes)} (${bytes} bytes)`;
}
