/** Claims about the command line: statuses, messages and streams, each in a process of its own. */
import { assert, assertEquals } from "@std/assert";
import { makeProgram } from "../../tools/cli/program.ts";
import { completionScript } from "../../tools/cli/completion_script.ts";
import { realEnvironment } from "../../tools/cli/environment.ts";
import { peerTest, runPeer } from "../_support/peers.ts";
import { parseSymbolElf } from "../../tools/symbols/mod.ts";

const ROOT = new URL("../../", import.meta.url);
const FAKE = new URL("./cli_main.ts", import.meta.url).pathname;
/** Any file will do: a fake machine does not look at its kernel. */
const KERNEL = FAKE;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line over fake machines. */
async function cli(words: string[], stdin: string | Uint8Array = ""): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--unstable-worker-options", FAKE, ...words],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const feeding = writer.write(typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin)
    .then(() => writer.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await feeding;
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

/** The program with all its commands. */
const wholeProgram = () => makeProgram([], realEnvironment, () => {});

/** Runs a fake machine that does what the line says. */
function run(behaviour: string, ...more: string[]): string[] {
  return ["run", "--kernel", KERNEL, "--memory", "1M", "--append", behaviour, ...more];
}

Deno.test("run: the guest's power-off code is the exit status, its output is ours", async () => {
  const { code, out, err } = await cli(run("say 9 hello world"));
  assertEquals({ code, out, err }, { code: 9, out: "hello world", err: "" });
});

Deno.test("run: what is piped in reaches the guest byte for byte", async () => {
  const sent = Uint8Array.from({ length: 100_000 }, (_, i) => i % 7 === 0 ? 0x01 : 0x30 + i % 10);
  const { code, out } = await cli(run("echo"), new Uint8Array([...sent, 0x71]));
  assertEquals(code, 0);
  assert(out === "ready\n" + new TextDecoder().decode(sent), `${out.length} bytes came out`);
});

Deno.test("run --until ends with 0 when the console has shown the text", async () => {
  const found = await cli(run("echo", "--until", "ready"));
  assertEquals({ code: found.code, out: found.out }, { code: 0, out: "ready\n" });
  const missed = await cli(run("say 0 hello", "--until", "ready"));
  assertEquals(missed.code, 1);
  assertEquals(missed.err, 'chronovisor: the VM ended before its console showed "ready"\n');
});

Deno.test("run --timeout ends with 124", async () => {
  const { code, err } = await cli(run("spin", "--timeout", "0.3"));
  assertEquals({ code, err }, { code: 124, err: "chronovisor: gave up after 0.3 s\n" });
});

Deno.test("run --stats writes one JSON object, also when the time is over", async () => {
  const path = await Deno.makeTempFile();
  try {
    await cli(run("say 0 hi", "--stats", path, "--name", "quick"));
    const stats = JSON.parse(await Deno.readTextFile(path));
    assertEquals([stats.name, stats.state, stats.instructions], ["quick", "stopped", 100]);
    assertEquals(stats.tierShares, { interpreter: 1 });
    assertEquals(stats.nondeterminism, {});
    assert(stats.wallMilliseconds > 0 && stats.mips > 0);
    // A busy machine may not get to executing anything in a short time.
    let instructions = 0;
    for (let seconds = 0.5; instructions === 0 && seconds < 300; seconds *= 8) {
      await Deno.writeTextFile(path, "{}");
      assertEquals((await cli(run("spin", "--stats", path, "--timeout", `${seconds}`))).code, 124);
      instructions = JSON.parse(await Deno.readTextFile(path)).instructions ?? 0;
    }
    assert(instructions > 0);
    const { out } = await cli(run("say 0", "--stats", "-"));
    assertEquals(JSON.parse(out).instructions, 100);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("run: a VM that breaks shows its state and ends with 70", async () => {
  const { code, out, err } = await cli(run("break"));
  assertEquals([code, out], [70, "about to break\n"]);
  assert(err.includes('VM "vm0" failed: the interpreter lost its place'), err);
  assert(err.includes("hart 0: pc 0000000080001234, S-mode"), err);
});

Deno.test("run: a missing image is named, without a stack", async () => {
  const { code, err } = await cli(["run", "--kernel", "no/such/Image"]);
  assertEquals(code, 1);
  assertEquals(err, 'chronovisor: Cannot read "no/such/Image": there is no such file\n');
});

Deno.test("exec passes streams and status through, binary-safe", async () => {
  const echoed = await cli(["exec", "agent", "--", "echo", "-n", "two words"]);
  assertEquals(echoed, { code: 0, out: "-n two words\n", err: "" });
  const failed = await cli(["exec", "agent", "--", "fail", "42"]);
  assertEquals(failed, { code: 42, out: "", err: "it failed\n" });
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => 0x20 + (i * 7919) % 0x5f);
  const copied = await cli(["exec", "agent", "--", "cat"], bytes);
  assertEquals(copied.code, 0);
  assert(copied.out === new TextDecoder().decode(bytes), `${copied.out.length} bytes came out`);
});

Deno.test("exec ends with 124 after its time, and says why a guest cannot run commands", async () => {
  const late = await cli(["exec", "agent", "--timeout", "0.3", "--", "sleep", "60"]);
  assertEquals(late, { code: 124, out: "", err: "chronovisor: gave up after 0.3 s\n" });
  const mute = await cli(["exec", "noagent", "--", "true"]);
  assertEquals([mute.code, mute.out], [1, ""]);
  assert(/^init died\nchronovisor: The VM ended before .*\nhint: `run`/.test(mute.err), mute.err);
  const refused = await cli(["exec", "agent", "--", "nonsense"]);
  assertEquals([refused.code, refused.err], [1, "chronovisor: nonsense: not found\n"]);
});

Deno.test("usage errors end with 2 and say what was expected, with a near match", async () => {
  const cases: [string[], RegExp][] = [
    [["rum", "debian"], /unknown command 'rum'\n\(Did you mean run\?\)/],
    [["run", "--memroy", "1G"], /unknown option '--memroy'\n\(Did you mean --memory\?\)/],
    [["run", "--harts", "9"], /Expected a whole number from 1 to 8/],
    [["run", "--tier", "chek"], /Did you mean check\?/],
    [
      ["run", "--clock", "vritual"],
      /Expected host or virtual or exact\. \(Did you mean virtual\?\)/,
    ],
    [["run", "--memory", "lots"], /"lots" is no size/],
    [["run", "--drive", "disk.img,readonyl"], /Did you mean disk.img,readonly\?/],
    [["run", "--kernel", KERNEL, "--memory", "9G"], /9G of memory: expected 1M to 3G/],
    [["run", "debina"], /There is no guest "debina"/],
    [["run"], /Nothing to start: expected a guest's name/],
    [["exec", "debian"], /missing required argument 'command'/],
    [["completion", "fish"], /bash, zsh/],
  ];
  for (const [words, message] of cases) {
    const { code, out, err } = await cli(words);
    assertEquals([words, code, out], [words, 2, ""]);
    assert(message.test(err), `${words.join(" ")}: ${err}`);
    assert(err.startsWith("chronovisor: "), err);
  }
});

Deno.test("help and version end with 0; no command at all shows the help", async () => {
  assert((await cli(["help"])).out.includes("Examples:"));
  assert((await cli(["help", "run"])).out.includes("--until <text>"));
  const version = await cli(["version"]);
  assertEquals(version.code, 0);
  assert(/^chronovisor \d+\.\d+\.\d+ \(deno /.test(version.out), version.out);
  assertEquals((await cli([])).code, 2);
});

Deno.test("inspect says what a file is and which file cannot be read", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const archive = `${folder}/initrd`;
    await Deno.writeTextFile(archive, "070701 and so on");
    const { code, out } = await cli(["inspect", archive]);
    assertEquals(code, 0);
    assert(out.includes("cpio archive"), out);
    const missing = await cli(["inspect", `${folder}/none`]);
    assertEquals(missing.code, 1);
    assert(missing.err.includes("none"), missing.err);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a reader of standard output that goes away ends the command quietly", async () => {
  const command = `"${Deno.execPath()}" run -A --no-check --unstable-worker-options ` +
    `"${FAKE}" ${run("'flood 50000000'").join(" ")} | head -c 5`;
  const { stdout, stderr, success } = await new Deno.Command("sh", {
    args: ["-c", command],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals([success, text(stdout), text(stderr)], [true, "aaaaa", ""]);
});

Deno.test("bash accepts the completions and completes commands and options", async () => {
  const script = completionScript("bash", await wholeProgram(), "chronovisor");
  const ask = async (...words: string[]) => {
    const list = words.map((word) => `'${word}'`).join(" ");
    const test = `${script}\nCOMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}\n` +
      `_chronovisor_complete; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = await new Deno.Command("bash", { args: ["-c", test] }).output();
    assertEquals(new TextDecoder().decode(stderr), "");
    return new TextDecoder().decode(stdout).trim().split("\n");
  };
  assertEquals(await ask("chronovisor", "ins"), ["inspect"]);
  assertEquals(await ask("chronovisor", "run", "--unt"), ["--until"]);
  assertEquals(await ask("chronovisor", "exec", "debian", "--tim"), ["--timeout"]);
  assert((await ask("chronovisor", "guests", "")).includes("list"));
});

peerTest("zsh accepts the completions and registers them", ["zsh"], async () => {
  const script = completionScript("zsh", await wholeProgram(), "chronovisor");
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, script);
    const test = `autoload -U compinit; compinit -u -D; source ${file}; print $_comps[chronovisor]`;
    const { code, stdout, stderr } = await runPeer("zsh", ["-f", "-c", test]);
    assertEquals([code, stderr], [0, ""]);
    assertEquals(new TextDecoder().decode(stdout), "_chronovisor_complete\n");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("symbols: writes what a file or a guest of ours names; says what is missing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [from, to] = [`${folder}/System.map`, `${folder}/out.elf`];
    await Deno.writeTextFile(from, "ffffffff80000000 T _start\nffffffff80001000 t again\n");
    assertEquals(await cli(["symbols", from, "-o", to]), { code: 0, out: "2 symbols\n", err: "" });
    const again = await cli(["symbols", to, "-o", `${folder}/again.elf`]);
    assertEquals([again.code, again.out], [0, "2 symbols\n"]);
    const guest = await cli(["symbols", "corrupt", "-o", to]);
    assertEquals(guest.code, 0, guest.err);
    assert(parseSymbolElf(await Deno.readFile(to)).address("transfer") !== undefined);
    const missing = await cli(["symbols", `${folder}/none`, "-o", to]);
    assertEquals(missing.code, 1);
    assert(missing.err.includes("there is no such file"), missing.err);
    const unnamed = await cli(["symbols", "corupt", "-o", to]);
    assert(unnamed.code !== 0 && unnamed.err.includes("corupt"), unnamed.err);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
