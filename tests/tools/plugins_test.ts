/**
 * Plugins and Chrome traces by the command line: on a small guest, and on Debian with its symbols.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { VMKernel } from "../../mod.ts";
import { debianTest } from "../_support/debian.ts";
import { withFolder } from "../_support/folder.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const MAIN = `${ROOT}tools/cli/main.ts`;
const HELLO = await Deno.readFile(`${ROOT}guests/hello/hello.elf`);
const STORM = await Deno.readFile(`${ROOT}guests/storm/storm.elf`);
const PLUGIN = `${ROOT}tools/plugins/`;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function replay(...words: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", MAIN, "replay", ...words],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

/** Records the guest hello, typed at; gives what it printed. */
async function recordHello(record: string): Promise<string> {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ kernel: HELLO, memory: "16M", clock: "virtual", record });
  const printed = new Response(vm.console.readable as BodyInit).text();
  await vm.waitForExit();
  return await printed;
}

interface TraceEvent {
  readonly name: string;
  readonly cat?: string;
  readonly ph: string;
  readonly ts: number;
  readonly dur?: number;
  readonly pid: number;
  readonly tid: number;
  readonly id?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** What a trace has to be whatever it is of; gives its events. */
function checkTrace(text: string): TraceEvent[] {
  const { traceEvents } = JSON.parse(text) as { traceEvents: TraceEvent[] };
  const times = traceEvents.map(({ ts }) => ts);
  assertEquals(times, times.toSorted((a, b) => a - b));
  const named = new Set(
    traceEvents.filter(({ name }) => name === "thread_name").map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const open = new Map<string, number>();
  for (const { name, ph, pid, tid, ts, dur = 0, id = "" } of traceEvents) {
    assert("XibeM".includes(ph) && ts >= 0 && dur >= 0, `${name} ${ph} ${ts} ${dur}`);
    if (ph !== "M") assert(named.has(`${pid} ${tid}`), `${name} is on a track without a name`);
    if (ph === "b") open.set(id, (open.get(id) ?? 0) + 1);
    if (ph === "e") open.set(id, (open.get(id) ?? 0) - 1);
  }
  for (const [id, count] of open) assertEquals(count, 0, id);
  // A hart has one turn at a time.
  const turns = traceEvents.filter(({ name }) => name === "turn");
  assert(turns.length > 0);
  for (const [i, turn] of turns.entries()) {
    const next = turns[i + 1];
    if (next !== undefined) assert(turn.ts + turn.dur! <= next.ts + 0.05, `${turn.ts}`);
  }
  return traceEvents;
}

const of = (events: readonly TraceEvent[], cat: string) => events.filter((e) => e.cat === cat);

Deno.test("a Chrome trace has all turns, traps and output of a recording, in order", async () => {
  await withFolder(async (folder) => {
    const recording = `${folder}/recording`;
    const printed = await recordHello(recording);
    const file = `${folder}/trace.json`;
    const { code, err } = await replay("export", recording, "--chrome-trace", file);
    assertEquals([code, err], [0, ""]);
    const events = checkTrace(await Deno.readTextFile(file));
    const shown = of(events, "console").filter(({ name }) => name.endsWith(" out"))
      .map(({ args }) => args!["text"]).join("");
    assertEquals(shown, printed);
    const executed = of(events, "cpu").filter(({ name }) => name === "turn")
      .reduce((sum, { args }) => sum + Number(args!["instructions"]), 0);
    const info = JSON.parse((await replay("info", recording, "--json")).out);
    assertEquals(executed, info.icount);
    const names = of(events, "interrupt").map(({ name }) => name);
    assert(names.includes("supervisor timer interrupt"), names.join());
    assert(events.some(({ name }) => name === "all wait"));
    assertEquals(events.at(-1)!.name, "replay: end");
  });
});

/** Records the storm with a disk and a network, to its own end. */
async function recordStorm(folder: string, clock: "virtual" | "host"): Promise<void> {
  await using kernel = await VMKernel.start();
  const path = `${folder}/disk.img`;
  await Deno.writeFile(path, new Uint8Array(64 * 512));
  const vm = await kernel.powerOn({
    kernel: STORM,
    memory: "16M",
    harts: 2,
    network: "loopback",
    clock,
    drives: [{ path }],
    record: `${folder}/recording`,
  });
  assertEquals((await vm.waitForExit()).code, 0);
}

for (const clock of ["virtual", "host"] as const) {
  Deno.test(`a Chrome trace has the disk requests and frames of the log, clock ${clock}`, async () => {
    await withFolder(async (folder) => {
      await recordStorm(folder, clock);
      const [trace, log] = [`${folder}/trace.json`, `${folder}/events.jsonl`];
      const both = ["--chrome-trace", trace, "--events", log];
      const { code, err } = await replay("export", `${folder}/recording`, ...both);
      assertEquals([code, err], [0, ""]);
      const events = checkTrace(await Deno.readTextFile(trace));
      const logged = (await Deno.readTextFile(log)).trimEnd().split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const records = (kind: string, direction: string) =>
        logged.filter((record) => record["kind"] === kind && record["direction"] === direction);
      const requests = of(events, "disk").filter(({ ph }) => ph === "b");
      const sorted = (places: readonly unknown[]) => places.map((place) => `${place}`).sort();
      assertEquals(
        sorted(requests.map(({ name, args }) => [name, args!["icount"], args!["sector"]])),
        sorted(
          records("disk", "out").map((
            { request, device, icount, sector },
          ) => [`${request} ${device}`, icount, sector]),
        ),
      );
      const ends = of(events, "disk").filter(({ ph }) => ph === "e");
      assert(ends.some(({ args }) => args!["unfinished"] === undefined));
      for (const { id, ts, args } of ends) {
        const began = requests.find((request) => request.id === id)!;
        assert(ts >= began.ts, `${id} ended before it began`);
        // Guest time that is ahead of the host's stands still until the host's is there.
        if (clock === "virtual") assert(ts > began.ts || args!["unfinished"] === true, id);
      }
      const frames = (way: string) =>
        of(events, "network").filter(({ name }) => name === `net0 ${way}`);
      for (const way of ["in", "out"]) {
        assertEquals(frames(way).length, records("frame", way).length);
        assert(frames(way).length > 0);
      }
      const turns = events.filter(({ name }) => name === "turn");
      assertEquals(new Set(turns.map(({ tid }) => tid)), new Set([0, 1]));
    });
  });
}

Deno.test("a plugin's options, output, stop and mistakes come through the command line", async () => {
  await withFolder(async (folder) => {
    const recording = `${folder}/recording`;
    const printed = await recordHello(recording);
    const plugin = `${folder}/mine.ts`;
    await Deno.writeTextFile(
      plugin,
      `import { definePlugin } from "chronovisor";
       export default definePlugin({
         name: "mine",
         options: { do: "what to do" },
         start(replay, options) {
           replay.print("begins " + (options.do ?? "") + "\\n");
           replay.onEnd(() => replay.print("ends at " + replay.icount + "\\n"));
           if (options.do === "stop") replay.every(1000, () => replay.stop("enough", 7));
           if (options.do === "throw") replay.every(1000, () => null.x);
           if (options.do === "name") replay.onFunction("no_such_name", () => {});
           if (options.do === "print") for (let i = 0; i < 20000; i++) replay.print(i + "\\n");
         },
       });`,
    );
    const words = [recording, "--verify", "--plugin"];
    const { icount } = JSON.parse((await replay("info", recording, "--json")).out);
    const same = `chronovisor: the replay is the recording, after ${icount} instructions\n`;
    const output = `${folder}/plugins.txt`;
    const plain = await replay(...words, plugin, "--plugin-output", output);
    assertEquals(plain, { code: 0, out: printed, err: same });
    assertEquals(await Deno.readTextFile(output), `begins \nends at ${icount}\n`);
    const twice = await replay(...words, `${plugin},do=print`, "--plugin", plugin);
    const lines = twice.out.split("\n");
    assertEquals(twice.err, same);
    const numbers = lines.filter((line) => /^\d+$/.test(line));
    assertEquals(numbers, Array.from({ length: 20_000 }, (_, i) => `${i}`));
    assertEquals(lines.filter((line) => line === `ends at ${icount}`).length, 2);

    const stop = await replay(...words, `${plugin},do=stop`);
    assertEquals(stop.code, 7);
    const stopped = "chronovisor: mine stopped the replay after 1000 instructions: enough\n";
    assertEquals(stop.err, stopped);
    const mistake = await replay(...words, `${plugin},do=throw`);
    assertEquals(mistake.code, 1);
    const what =
      /^chronovisor: the plugin "mine" failed in every after 1000 instructions: TypeError/;
    assertMatch(mistake.err, what);
    const nameless = await replay(...words, `${plugin},do=name`);
    assertMatch(nameless.err, /failed in start after 0 instructions: .*no symbols were given/);
    const unknown = await replay(...words, `${plugin},be=1`);
    assertEquals(unknown.code, 2);
    assertMatch(unknown.err, /the plugin "mine" has no option "be"; it has do \(what to do\)/);
    const debugged = await replay(...words, plugin, "--gdb", "0");
    assertEquals(debugged.code, 2);
    assertMatch(debugged.err, /--gdb and --plugin exclude each other: plugins cannot go back/);
    const lonely = await replay(recording, "--symbols", plugin);
    assertMatch(lonely.err, /there is no --plugin/);
    const absent = await replay(...words, `${folder}/none.ts`);
    assertEquals(absent.code, 1);
    assertMatch(absent.err, /Cannot read the plugin/);
  });
});

Deno.test("a replay with plugins cannot be debugged, by whatever way", async () => {
  await withFolder(async (folder) => {
    const recording = `${folder}/recording`;
    await recordHello(recording);
    await using kernel = await VMKernel.start();
    const code = "export default { name: 'quiet', start() {} };";
    const plugins = [{ file: "quiet.ts", code, options: {} }];
    const waiting = kernel.replay(recording, { plugins, waitsForDebugger: true });
    assertMatch(
      `${await waiting.catch((error) => error)}`,
      /ConfigError: .*plugins cannot go back/,
    );
    const vm = await kernel.replay(recording, { plugins });
    const debugging = vm.debug();
    assertMatch(`${await debugging.catch((error) => error)}`, /HostError: Cannot debug the VM/);
    assertEquals((await vm.waitForExit()).replay?.kind, "end");
  });
});

/** Records commands in Debian that end with the list of the kernel's symbols; gives their file. */
async function recordDebian(folder: string): Promise<string> {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({
    guest: "debian",
    memory: "256M",
    clock: "virtual",
    shows: "command",
    record: `${folder}/recording`,
  });
  const { text } = await vm.exec("cat /none; (exit 3); cat /proc/kallsyms");
  await vm.powerOff();
  const symbols = `${folder}/kallsyms`;
  await Deno.writeTextFile(symbols, text);
  return symbols;
}

debianTest("Debian's calls, functions and variables are seen in a replay", async () => {
  await withFolder(async (folder) => {
    const symbols = await recordDebian(folder);
    const recording = `${folder}/recording`;
    const output = `${folder}/output`;
    const observe = async (...words: string[]) => {
      const outcome = await replay(recording, "--verify", "--plugin-output", output, ...words);
      return { ...outcome, lines: (await Deno.readTextFile(output)).trimEnd().split("\n") };
    };
    const trace = await observe("--plugin", `${PLUGIN}syscall_trace.ts`);
    assertMatch(trace.err, /the replay is the recording/);
    const calls = trace.lines;
    const known = calls.filter((line) => /^\d+ \d+\.\d{6} \d+ \S+: \w+\(.*\) = /.test(line));
    assert(known.length > calls.length * 0.99, `${known.length} of ${calls.length}`);
    const some = (pattern: RegExp) =>
      assert(calls.some((line) => pattern.test(line)), `${pattern}`);
    some(
      / \d+ cat: openat\(AT_FDCWD, "\/none", 0x0, 00\) = -1 ENOENT$|"\/none", 0, 00\) = -1 ENOENT$/,
    );
    some(/ \d+ cat: openat\(AT_FDCWD, "\/proc\/kallsyms", \w+, 00\) = \d$/);
    some(/ 1 init: execve\("\/init"|: execve\("\/usr\/bin\/cat"|: execve\("[^"]*busybox"/);
    some(/: exit_group\(3\) = \?$/);
    const both = await observe(
      ...["--symbols", symbols, "--plugin", `${PLUGIN}function_profile.ts,every=500000`],
      ...["--plugin", `${PLUGIN}syscall_trace.ts,name=cat,calls=openat`],
    );
    const isCall = (line: string) => / cat: openat\(/.test(line);
    assertEquals(both.lines.filter(isCall), calls.filter(isCall));
    const profile = both.lines.filter((line) => !isCall(line));
    assert(profile.every((line) => /^[^;]+(;[^;]+)* \d+$/.test(line)), profile[0]);
    const total = profile.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
    const { icount } = JSON.parse((await replay("info", recording, "--json")).out);
    assertEquals(total, Math.floor(icount / 500_000));
    const deep = /^cat;.*__riscv_sys_read;ksys_read;vfs_read;.*seq_read/;
    assert(profile.some((line) => deep.test(line)), "no stack of cat reading");

    const forks = await observe(
      ...["--symbols", symbols],
      ...["--plugin", `${PLUGIN}invariant.ts,word=total_forks,when=value < 90`],
    );
    assertEquals(forks.code, 1);
    const where = /icount \d+, hart 0: pc 0x\w+ in copy_process\+0x\w+ wrote 90 \(0x5a\) over 89/;
    assertMatch(forks.err, where);
    assertMatch(forks.lines[0]!, /^total_forks: value < 90 holds at icount \d+: 0$/);

    const file = `${folder}/trace.json`;
    const exported = await replay("export", recording, "--chrome-trace-syscalls", file);
    assertEquals(exported.err, "");
    const events = checkTrace(await Deno.readTextFile(file));
    const traced = of(events, "syscall");
    assertEquals(traced.length, calls.length);
    assert(traced.some(({ args }) => args!["process"] === "cat"));
    assert(of(events, "interrupt").length > 500);
  });
});
