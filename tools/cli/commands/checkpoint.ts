/**
 * `checkpoint`: makes, lists, shows, compares, renames, verifies and deletes checkpoints, goes back to them, and
 * learns what their VMs use first (issue 5, section 6; N6; docs/checkpoints.md).
 */
import { Command } from "commander";
import { importLate } from "../../../kernel/host/late_import.ts";
import { withDeletionHint } from "../checkpoints/deletion.ts";
import { explained } from "../checkpoints/explain.ts";
import { findEntry, findHead } from "../checkpoints/find_checkpoint.ts";
import { CHECKPOINTS_HELP } from "../checkpoints/folder.ts";
import {
  countsText,
  entryAsJson,
  listTable,
  showLines,
  treeAsJson,
  treeTable,
} from "../checkpoints/list_text.ts";
import { openStore } from "../checkpoints/open_store.ts";
import { checkLabel, checkRate, SaveLine } from "../checkpoints/save_request.ts";
import type { CliEnvironment } from "../environment.ts";
import { EXIT } from "../errors.ts";
import { restoredNames } from "../fork_names.ts";
import { addGoOnOptions, type GoOnCommandOptions } from "../go_on_options.ts";
import { choice, wholeNumber } from "../machine_options.ts";
import { Progress } from "../progress.ts";
import { writeError, writeOut } from "../streams.ts";

interface StoreOptions {
  readonly checkpoints?: string;
  readonly json?: boolean;
}

interface CreateOptions {
  readonly disk?: "retain" | "copy-commit";
  readonly rate?: number;
  readonly json?: boolean;
}

interface LearnOptions extends StoreOptions {
  readonly milliseconds?: number;
}

interface DiffOptions extends StoreOptions {
  readonly symbols?: string;
  readonly limit: number;
}

const A_CHECKPOINT = "an id, the beginning of one, a label, or the name of a VM: its newest";

/** The command. */
export function checkpointCommand(
  environment: CliEnvironment,
  onStatus: (status: number) => void,
): Command {
  const command = new Command("checkpoint")
    .description("keep moments of VMs: make them, look at them, go back to them");
  const add = (name: string, description: string) => command.command(name).description(description);
  const inStore = (child: Command) => child.option("--checkpoints <folder>", CHECKPOINTS_HELP);
  const json = "print JSON";

  add("create", "make a checkpoint of a running VM, which runs on")
    .argument("<name>", "name of the VM (ps shows them)")
    .argument("[label]", "what to find it by", checkLabel)
    .addOption(
      choice("--disk <ending>", "what becomes of what its disks write meanwhile", [
        "retain",
        "copy-commit",
      ]),
    )
    .option("--rate <pages>", "most pages that are saved in a second", checkRate)
    .option("--json", json)
    .action((vm, label, options) => explained(() => create(vm, label, options)));
  inStore(add("list", "list all checkpoints"))
    .option("--tree", "each below the one that it is a difference to")
    .option("--json", json)
    .action((options) => explained(() => list(options)));
  inStore(add("show", "tell all that is known of a checkpoint"))
    .argument("<checkpoint>", A_CHECKPOINT)
    .option("--json", json)
    .action((meant, options) => explained(() => show(meant, options)));
  addGoOnOptions(add("restore", "make the VM of a checkpoint once more, as it was"))
    .argument("<checkpoint>", A_CHECKPOINT)
    .action(async (meant: string, options: GoOnCommandOptions) =>
      onStatus(await explained(() => restore(environment, meant, options)))
    );
  inStore(add("delete", "delete checkpoints; those that are differences to them stay whole"))
    .argument("<checkpoints...>", "ids, beginnings of ids, or labels")
    .action((meant, options) => explained(() => remove(meant, options)));
  inStore(add("verify", "look over checkpoints, all by default; status 1 when one is damaged"))
    .argument("[checkpoints...]", A_CHECKPOINT)
    .option("--json", json)
    .action(async (meant, options) => onStatus(await explained(() => verify(meant, options))));
  inStore(add("rename", "give a checkpoint another label"))
    .argument("<checkpoint>", A_CHECKPOINT)
    .argument("<label>", "the label; an empty one is none", checkLabel)
    .action((meant, label, options) => explained(() => rename(meant, label, options)));
  inStore(add("learn", "learn from a recording which pages the VM of a checkpoint uses first"))
    .argument("<checkpoint>", A_CHECKPOINT)
    .argument("<recording>", "folder of a recording in which it was made, or that began with it")
    .option(
      "--milliseconds <n>",
      "of the guest's time that count; 1000 by default",
      wholeNumber(1, 3_600_000),
    )
    .action((meant, recording, options) =>
      explained(() => learn(environment, meant, recording, options))
    );
  inStore(add("diff", "tell what differs: pages, registers, devices"))
    .argument("<a>", A_CHECKPOINT)
    .argument("<b>", "another one, of a guest with as much memory")
    .option("--symbols <file|guest>", "name the kernel's symbols in pages that differ")
    .option("--limit <n>", "most lines of each kind", wholeNumber(0, 1_000_000), 20)
    .option("--json", json)
    .action((a, b, options) => explained(() => diff(environment, a, b, options)));
  return command;
}

async function create(
  vm: string,
  label: string | undefined,
  { disk, rate, json }: CreateOptions,
): Promise<void> {
  const { connectToVm } = await importLate<typeof import("../control/sockets.ts")>(
    "../control/sockets.ts",
    import.meta.url,
  );
  using client = await connectToVm(vm);
  using line = new SaveLine(vm);
  const made = await client.ask("checkpoint", {
    vm,
    ...label !== undefined && { label },
    ...disk !== undefined && { disk },
    ...rate !== undefined && { rate },
  }, { onEvent: line.show });
  line.clear();
  if (json) return writeOut(JSON.stringify(made) + "\n");
  const { id, counts, stoodMicroseconds: stood, disks } = made;
  const stop = stood === null ? "" : `; the VM stood still for ${(stood / 1000).toFixed(2)} ms`;
  writeOut(`${id}\n${countsText(counts)}${stop}\n`);
  for (const { path, problem } of disks) {
    if (problem !== null) writeError(`chronovisor: a disk goes on in ${path}: ${problem}\n`);
    else if (disk === "retain") writeOut(`a disk goes on in ${path}\n`);
  }
}

function list(options: StoreOptions & { readonly tree?: boolean }): Promise<void> {
  const { checkpoints, tree, json } = options;
  const store = openStore(checkpoints);
  if (tree) {
    const trees = store.tree();
    writeOut(json ? JSON.stringify(treeAsJson(trees)) + "\n" : treeTable(trees));
  } else {
    const entries = store.list();
    writeOut(json ? JSON.stringify(entries.map(entryAsJson)) + "\n" : listTable(entries));
  }
  return Promise.resolve();
}

async function show(meant: string, { checkpoints, json }: StoreOptions): Promise<void> {
  const store = openStore(checkpoints);
  const entry = findEntry(store.list(), meant);
  const head = entry.head ?? findHead([entry], entry.id);
  const claim = head.kind === "suspended" ? await store.claimState(head.id) : undefined;
  writeOut(
    json
      ? JSON.stringify({ ...entryAsJson(entry), claim: claim ?? null }) + "\n"
      : showLines(head, entry.problem, claim),
  );
}

async function restore(
  environment: CliEnvironment,
  meant: string,
  options: GoOnCommandOptions,
): Promise<number> {
  const head = findHead(openStore(options.checkpoints).list(), meant);
  const { isGuest } = await importLate<typeof import("../../guests/names.ts")>(
    "../../guests/names.ts",
    import.meta.url,
  );
  const { goOn } = await importLate<typeof import("./go_on.ts")>("./go_on.ts", import.meta.url);
  // A detached VM is reached by its name alone, and a guest's name means the guest.
  const meansGuest = options.detach === true && await isGuest(head.vm);
  return await goOn(environment, options, {
    names: () => restoredNames(head.vm, options.name, meansGuest),
    begin: (kernel, how) => kernel.restore(head.id, how),
  });
}

async function remove(meant: readonly string[], { checkpoints }: StoreOptions): Promise<void> {
  const store = openStore(checkpoints);
  const entries = store.list();
  // Nobody deletes the newest one of a VM by accident: a VM's name means nothing here.
  const ids = new Set(meant.map((each) => findEntry(entries, each, []).id));
  const { bytes, problems } = await store.delete([...ids]).catch((error) => {
    throw withDeletionHint(error, entries);
  });
  for (const problem of problems) writeError(`chronovisor: ${problem}\n`);
  const what = ids.size === 1 ? "1 checkpoint" : `${ids.size} checkpoints`;
  writeOut(`${what} deleted, ${bytes} bytes freed\n`);
}

async function verify(meant: readonly string[], options: StoreOptions): Promise<number> {
  const store = openStore(options.checkpoints);
  const entries = store.list();
  const ids = meant.length === 0 ? undefined : meant.map((each) => findEntry(entries, each).id);
  const progress = new Progress();
  const problems = await store.verify(ids, (done, of) => {
    progress.show(`${done} of ${of} checkpoints`);
  }).finally(() => progress.clear());
  const status = problems.length > 0 ? EXIT.failure : EXIT.ok;
  if (options.json) {
    writeOut(JSON.stringify(problems) + "\n");
    return status;
  }
  for (const { problem } of problems) writeOut(`${problem}\n`);
  const count = ids?.length ?? entries.length;
  const bad = new Set(problems.map(({ checkpoint }) => checkpoint)).size;
  const found = bad === 0 ? "no damage" : `${bad} damaged`;
  writeOut(`${count} ${count === 1 ? "checkpoint" : "checkpoints"}: ${found}\n`);
  return status;
}

async function rename(meant: string, label: string, options: StoreOptions): Promise<void> {
  const store = openStore(options.checkpoints);
  await store.rename(findHead(store.list(), meant).id, label);
}

async function learn(
  environment: CliEnvironment,
  meant: string,
  recording: string,
  { checkpoints, milliseconds }: LearnOptions,
): Promise<void> {
  const { id } = findHead(openStore(checkpoints).list(), meant);
  const progress = new Progress();
  await using kernel = await environment.startKernel(
    (line) => progress.show(line),
    checkpoints === undefined ? {} : { checkpoints },
  );
  const pages = await kernel.learnWorkingSet(id, recording, milliseconds)
    .finally(() => progress.clear());
  writeOut(`${pages} pages are loaded first from now on\n`);
}

async function diff(
  environment: CliEnvironment,
  a: string,
  b: string,
  { checkpoints, symbols, limit, json }: DiffOptions,
): Promise<void> {
  const store = openStore(checkpoints);
  const entries = store.list();
  const [one, two] = [findHead(entries, a), findHead(entries, b)];
  const { diffAsJson, diffLines } = await importLate<
    typeof import("../checkpoints/diff_text.ts")
  >("../checkpoints/diff_text.ts", import.meta.url);
  const { kernelSymbols } = await importLate<
    typeof import("../checkpoints/kernel_symbols.ts")
  >("../checkpoints/kernel_symbols.ts", import.meta.url);
  const names = symbols === undefined
    ? undefined
    : await kernelSymbols(environment, symbols, one.memoryPages);
  const found = await store.diff(one.id, two.id);
  writeOut(
    json ? JSON.stringify(diffAsJson(found, names)) + "\n" : diffLines(found, names, limit),
  );
}
