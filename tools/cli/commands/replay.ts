/**
 * `replay`: what a recording's guest printed, again, by executing what it executed (issue 4, "Replay");
 * `replay info` and `replay check` look at a recording without running it.
 */
import { Command } from "commander";
import {
  checkRecording,
  ConfigError,
  parseSize,
  recordingFacts,
  type ReplayOptions,
  type ReplayReport,
  type VM,
} from "../../../mod.ts";
import { Ending } from "../ending.ts";
import type { CliEnvironment } from "../environment.ts";
import { CliExit, EXIT } from "../errors.ts";
import { serveGdb } from "../gdb_server.ts";
import { choice, wholeNumber } from "../machine_options.ts";
import { replayExportCommand } from "./replay_export.ts";
import { formatCore, pluginPlace, replayOnlyPlace } from "../replay_output.ts";
import { formatFacts } from "../recording_text.ts";
import { writeStatistics } from "../statistics.ts";
import { copyTo, writeError, writeOut } from "../streams.ts";
import { importLate } from "../../../kernel/host/late_import.ts";

interface ReplayCommandOptions {
  readonly verify?: boolean;
  readonly to?: string;
  readonly speed?: "max" | "1";
  readonly tier?: ReplayOptions["tier"];
  readonly tlbEntries?: number;
  readonly cacheElements?: number;
  readonly translationCache?: boolean;
  readonly stats?: string;
  readonly timeout?: number;
  readonly gdb?: number;
  readonly historyMemory?: string;
  readonly replayOnly?: boolean;
  readonly replayOutput?: string;
  readonly plugin?: readonly string[];
  readonly pluginOutput?: string;
  readonly symbols?: string;
}

/** The command. */
export function replayCommand(
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Command {
  const command = new Command("replay")
    .description("replay a recording: shows what its guest printed")
    .argument("<folder>", "folder of the recording")
    .option("--verify", "compare outputs and digests of the state with the recording's")
    .option("--to <icount>", "stop after so many instructions; end is the recording's end", icount)
    .addOption(
      choice("--speed <speed>", "as fast as it goes, or as the guest's time", ["max", "1"]),
    )
    .addOption(
      choice("--tier <tier>", "what executes", ["auto", "interpreter", "translator", "check"]),
    )
    .option("--tlb-entries <n>", "entries of each software TLB", wholeNumber(16, 4096))
    .option("--cache-elements <n>", "address spaces kept at once", wholeNumber(1, 64))
    .option("--gdb <port>", "wait for gdb on this TCP port; 0 takes any", wholeNumber(0, 65535))
    .option("--history-memory <size>", "most memory that going back may take; 512M by default")
    .option("--no-replay-only", "do not run the guest's replay-only code")
    .option(
      "--replay-output <file>",
      "write what replay-only code says there, not on standard error",
    )
    .option("--plugin <file,key=value>", "observe with this plugin; may be given again", gather)
    .option("--plugin-output <file>", "write what plugins print there, not on standard output")
    .option("--symbols <file>", "names for plugins: kallsyms, System.map, nm's output, or ELF")
    .option("--no-translation-cache", "do not use or keep translations of earlier runs")
    .option("--timeout <seconds>", "end with status 124 after so long", Number)
    .option("--stats <file>", "write counters as a JSON object at the end; - is standard output")
    .action(async (folder: string, options: ReplayCommandOptions) => {
      onStatus(await replay(environment, folder, options));
    });
  command.command("info").description("show what is in a recording")
    .argument("<folder>").option("--json", "as one JSON object")
    .action(async (folder: string, { json }: { json?: boolean }) => {
      const facts = await recordingFacts(folder);
      writeOut(json ? JSON.stringify(facts) + "\n" : formatFacts(facts));
    });
  command.addCommand(replayExportCommand());
  command.command("check").description("verify checksums and images without running anything")
    .argument("<folder>")
    .action(async (folder: string) => {
      const problems = await checkRecording(folder);
      if (problems.length === 0) return writeOut("ok\n");
      for (const problem of problems) writeOut(`${problem}\n`);
      onStatus(EXIT.failure);
    });
  return command;
}

function icount(text: string): string {
  if (text === "end") return text;
  return `${wholeNumber(0, Number.MAX_SAFE_INTEGER)(text)}`;
}

function gather(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

async function replay(
  environment: CliEnvironment,
  folder: string,
  options: ReplayCommandOptions,
): Promise<number> {
  using ending = new Ending(options.timeout);
  using cores = replayOnlyPlace(options.replayOutput);
  using printed = pluginPlace(options.pluginOutput);
  const observers = await observersOf(options);
  await using kernel = await environment.startKernel(() => {}, options);
  const { to, speed, verify, tier, tlbEntries, cacheElements, gdb, historyMemory } = options;
  const vm = await kernel.replay(folder, {
    ...verify && { verify },
    ...to !== undefined && to !== "end" && { to: Number(to) },
    ...speed === "1" && { speed: 1 },
    ...tier && { tier },
    ...tlbEntries && { tlbEntries },
    ...cacheElements && { cacheElements },
    ...historyMemory && { historyBytes: parseSize(historyMemory) },
    waitsForDebugger: gdb !== undefined,
    replayOnly: options.replayOnly ?? true,
    onReplayOnly: (report) => {
      try {
        for (const part of formatCore(report)) cores.write(part);
      } catch (error) {
        ending.fail(error);
      }
    },
    ...observers,
  });
  await using _server = await serveGdb(vm, gdb);
  const { manifest } = await recordingFacts(folder);
  const showing = manifest.shows === "command"
    ? showCommand(vm)
    : copyTo(vm.console.readable, writeOut);
  showing.catch((error) => ending.fail(error));
  const printing = copyTo(vm.pluginOutput!, printed.write);
  printing.catch((error) => ending.fail(error));
  const exit = await Promise.race([vm.waitForExit(), ending.happens]);
  await Promise.all([showing, printing]);
  await writeStatistics(vm, options.stats);
  if (exit.replay === undefined) throw new CliExit(EXIT.failure, "the replay was stopped");
  return report(exit.replay, verify ?? false);
}

/** Plugins and symbols, made ready before anything is started. */
async function observersOf(
  { plugin = [], symbols, gdb }: ReplayCommandOptions,
): Promise<Pick<ReplayOptions, "plugins" | "symbols">> {
  if (plugin.length === 0) {
    if (symbols === undefined) return {};
    throw new ConfigError("--symbols gives names to plugins: there is no --plugin");
  }
  if (gdb !== undefined) {
    throw new ConfigError("--gdb and --plugin exclude each other: plugins cannot go back");
  }
  // Not before they are wanted: bundling takes long to load.
  const { bundlePlugins, parsePluginRequest } = await importLate<
    typeof import("../../recording/bundle_plugin.ts")
  >("../../recording/bundle_plugin.ts", import.meta.url);
  const { readSymbolFile } = await importLate<typeof import("../../symbols/mod.ts")>(
    "../../symbols/mod.ts",
    import.meta.url,
  );
  return {
    plugins: await bundlePlugins(plugin.map(parsePluginRequest)),
    ...symbols !== undefined && { symbols: (await readSymbolFile(symbols)).symbols },
  };
}

async function showCommand(vm: VM): Promise<void> {
  const { stdout, stderr } = vm.replayedCommand!;
  // The console of a guest that only runs a command is shown to nobody, here as when it was recorded.
  await Promise.all([copyTo(stdout, writeOut), copyTo(stderr, writeError)]);
}

/** Says how the replay ended, where that is not simply the recording's end. */
function report(replay: ReplayReport, verified: boolean): number {
  const place = `after ${replay.icount} instructions`;
  switch (replay.kind) {
    case "end":
      if (verified) writeError(`chronovisor: the replay is the recording, ${place}\n`);
      return EXIT.ok;
    case "reached":
      return EXIT.ok;
    case "cut":
      writeError(`chronovisor: the recording was cut ${place}: ${replay.reason}\n`);
      return EXIT.ok;
    case "diverged":
      throw new CliExit(
        EXIT.failure,
        `the replay differs from the recording ${place}: ${replay.what}`,
      );
    case "stopped":
      writeError(`chronovisor: ${replay.plugin} stopped the replay ${place}: ${replay.reason}\n`);
      return replay.status;
    case "plugin failed":
      throw new CliExit(
        EXIT.failure,
        `the plugin "${replay.plugin}" failed in ${replay.hook} ${place}: ${replay.what}`,
      );
  }
}
