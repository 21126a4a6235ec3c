/** `replay export`: a recording in the formats of other tools (issue 4, section 6; docs/export.md). */
import { Command } from "commander";
import { ConfigError, recordedHistory } from "../../../mod.ts";
import { type ExporterName, EXPORTERS } from "../../recording/export.ts";
import { FileSink } from "../file_sink.ts";
import { writeError, writeOut } from "../streams.ts";

/** Files by option, as commander names options: "chrome-trace" is "chromeTrace". */
type ExportOptions = Readonly<Record<string, string>>;
const NAMES = Object.keys(EXPORTERS) as ExporterName[];

function fileOf(options: ExportOptions, name: ExporterName): string | undefined {
  return options[name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())];
}

/** The command. */
export function replayExportCommand(): Command {
  const command = new Command("export")
    .description("write a recording in the formats of other tools")
    .argument("<folder>", "folder of the recording");
  for (const name of NAMES) {
    command.option(`--${name} <file>`, `${EXPORTERS[name].help}; - is standard output`);
  }
  return command.action(exportRecording);
}

async function exportRecording(folder: string, options: ExportOptions): Promise<void> {
  const wanted = NAMES.filter((name) => fileOf(options, name) !== undefined);
  const flags = NAMES.map((name) => `--${name} FILE`).join(", ");
  if (wanted.length === 0) throw new ConfigError(`Nothing to export: expected ${flags}`);
  const places = wanted.map((name) => fileOf(options, name)!);
  const twice = places.find((place, i) => places.indexOf(place) !== i);
  if (twice !== undefined) {
    throw new ConfigError(`Expected a file for each format; "${twice}" was given twice`);
  }
  const history = await recordedHistory(folder);
  for (const name of wanted) {
    const place = fileOf(options, name)!;
    if (place === "-") {
      await EXPORTERS[name].run({ folder, history }, writeOut);
      continue;
    }
    using file = new FileSink(place);
    await EXPORTERS[name].run({ folder, history }, file.write);
    file.end();
  }
  for (const [log, tail] of Object.entries(history.torn)) {
    if (tail === undefined) continue;
    writeError(`chronovisor: the log of ${log} is cut, and so is the export: ${tail.reason}\n`);
  }
}
