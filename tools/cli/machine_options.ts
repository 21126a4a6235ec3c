/**
 * The options that say what machine to make, shared by `run` and `exec` (issue 2, section 6).
 */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { DriveOption, PowerOnOptions, RecordSync } from "../../mod.ts";
import { ConfigError } from "../../kernel/base/errors.ts";
import { parseSize } from "../../kernel/base/units.ts";
import { CHECKPOINTS_HELP } from "./checkpoints/folder.ts";
import { nearMatch } from "./near_match.ts";

/** What commander makes of the options. */
export interface MachineOptions {
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly bios?: string;
  readonly memory?: string;
  readonly harts?: number;
  readonly drive?: DriveOption[];
  readonly packages?: string[];
  readonly clock?: NonNullable<PowerOnOptions["clock"]>;
  readonly tier?: "auto" | "interpreter" | "translator" | "check";
  readonly tlbEntries?: number;
  readonly cacheElements?: number;
  readonly seed?: number;
  readonly network?: "none" | "loopback";
  readonly timeout?: number;
  readonly stats?: string;
  readonly trace?: string;
  readonly name?: string;
  readonly translationCache?: boolean;
  readonly record?: string;
  readonly recordSync?: RecordSync;
  readonly recordImages?: boolean;
  readonly gdb?: number;
  readonly checkpoints?: string;
}

/** Adds the options to a command. */
export function addMachineOptions(command: Command): Command {
  return command
    .option("--kernel <file>", "kernel to start: ELF, Linux Image (also gzip'd) or raw binary")
    .option("--initrd <file>", "initial RAM disk")
    .option("--append <text>", "kernel command line, added after the guest's own")
    .option("--bios <firmware>", "builtin, none (start in M-mode) or a firmware file")
    .option("--memory <size>", "guest memory, such as 512M or 2G", checkSize)
    .option("--harts <n>", "number of harts, 1 to 8", wholeNumber(1, 8))
    .option(
      "--drive <file[,readonly][,format=raw|qcow2|lazy-zero]>",
      "disk image, by default of the format it looks like; may be given again",
      collectDrive,
    )
    .option("--packages <names>", "packages to add to the guest, with commas between", splitNames)
    .addOption(choice("--clock <kind>", "whose time the guest sees", ["host", "virtual", "exact"]))
    .addOption(
      choice("--tier <tier>", "what executes", [
        "auto",
        "interpreter",
        "translator",
        "check",
      ]),
    )
    .addOption(choice("--network <backend>", "where frames go", ["none", "loopback"]))
    .option(
      "--tlb-entries <n>",
      "entries of each software TLB, a power of two",
      wholeNumber(16, 4096),
    )
    .option("--no-translation-cache", "do not use or keep translations of earlier runs")
    .option("--cache-elements <n>", "address spaces kept at once", wholeNumber(1, 64))
    .option("--seed <n>", "seed of all randomness", wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .option("--record <folder>", "record it in a new folder, for `replay`")
    .addOption(
      choice("--record-sync <when>", "when the recording must be on stable storage", [
        "none",
        "periodic",
        "every",
      ]),
    )
    .option("--record-images", "copy all images into the recording, not just small ones")
    .option("--gdb <port>", "wait for gdb on this TCP port; 0 takes any", wholeNumber(0, 65535))
    .option("--timeout <seconds>", "end with status 124 after so long", seconds)
    .option("--stats <file>", "write counters as a JSON object at the end; - is standard output")
    .option("--trace <file>", "write each executed instruction; slow")
    .option("--name <name>", "name of the VM, for messages and other commands", checkName)
    .option("--checkpoints <folder>", CHECKPOINTS_HELP);
}

/** What to power on. */
export function powerOnOptions(guest: string | undefined, o: MachineOptions): PowerOnOptions {
  const { drive, trace, record, recordSync, recordImages, gdb, ...same } = o;
  if (record === undefined && (recordSync !== undefined || recordImages)) {
    throw new ConfigError("--record-sync and --record-images go with --record FOLDER");
  }
  return {
    ...pick(same),
    ...(record !== undefined && {
      record: {
        folder: record,
        ...(recordSync && { sync: recordSync }),
        ...(recordImages && { images: true }),
      },
    }),
    ...(guest !== undefined && { guest }),
    ...(drive && { drives: drive }),
    trace: trace !== undefined,
    waitsForDebugger: gdb !== undefined,
  };
}

type Same = Omit<MachineOptions, "drive" | "trace">;

/** Takes only what this module declared: a command may have options of its own. */
function pick(options: Same): Same {
  const names = "kernel initrd append bios memory harts packages clock tier seed network name " +
    "tlbEntries cacheElements";
  const known = new Set(names.split(" "));
  return Object.fromEntries(Object.entries(options).filter(([name]) => known.has(name)));
}

/** An option that takes one of some words. */
export function choice(flags: string, help: string, choices: string[]): Option {
  const option = new Option(flags, `${help}: ${choices.join(", ")}`);
  return option.argParser((typed: string) => {
    if (choices.includes(typed)) return typed;
    const near = nearMatch(typed, choices);
    const hint = near === undefined ? "" : ` (Did you mean ${near}?)`;
    throw new InvalidArgumentError(`Expected ${choices.join(" or ")}.${hint}`);
  });
}

const DRIVE_FLAGS = ["readonly", "format=raw", "format=qcow2", "format=lazy-zero"];

/** Checks the name of a VM. Throws InvalidArgumentError. */
export function checkName(text: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(text)) return text;
  throw new InvalidArgumentError("Expected 1 to 64 letters, digits, dots, hyphens or underscores.");
}

function checkSize(text: string): string {
  try {
    parseSize(text);
    return text;
  } catch (error) {
    if (error instanceof ConfigError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

/** Parses a whole number within bounds. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`);
  };
}

/** Parses a number of seconds. */
export function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value > 0 && value < 1e6) return value;
  throw new InvalidArgumentError("Expected a number of seconds.");
}

function collectDrive(text: string, before: DriveOption[] = []): DriveOption[] {
  const flags = /(?:,(?:readonly|format=(?:raw|qcow2|lazy-zero)))*$/.exec(text)![0];
  const path = text.slice(0, text.length - flags.length);
  const flag = /^(.*),([\w=-]*)$/.exec(path);
  const near = flag && nearMatch(flag[2]!, DRIVE_FLAGS);
  if (near) {
    throw new InvalidArgumentError(
      `Expected FILE or FILE,${DRIVE_FLAGS.join(" or FILE,")}. (Did you mean ${flag[1]},${near}?)`,
    );
  }
  if (path === "") throw new InvalidArgumentError("Expected the name of a file.");
  const format = /,format=([\w-]+)/.exec(flags)?.[1] as "raw" | "qcow2" | "lazy-zero" | undefined;
  const readOnly = flags.includes(",readonly");
  return [...before, { path, readOnly, ...format && { format } }];
}

function splitNames(text: string, before: string[] = []): string[] {
  const names = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (names.length === 0) throw new InvalidArgumentError("Expected names of packages.");
  return [...before, ...names];
}
