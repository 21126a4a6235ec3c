/**
 * Claims about VMs that go on without their terminal: `run -d`, `attach`, `exec` and `stop`, each in
 * processes of its own, over fake machines and small guests of ours.
 */
import { assert, assertEquals } from "@std/assert";
import configuration from "../../deno.json" with { type: "json" };
import { runtimeOptions } from "../../tools/cli/detached.ts";
import { killIfAlive } from "../_support/kill.ts";
import { peerTest } from "../_support/peers.ts";
import { until } from "../_support/until.ts";
import { ECHO, MAIN, readUntil, REAL, User } from "./user.ts";

interface Listed {
  readonly name: string;
  readonly guest: string | null;
  readonly process: number;
  readonly log: string;
  readonly recording: string | null;
}

async function list(user: User): Promise<Listed[]> {
  const { code, out, err } = await user.cli("ps", "--json");
  assertEquals([code, err], [0, ""]);
  return JSON.parse(out);
}

/** Waits until the process has cleared up behind itself. */
async function gone(user: User, process: number): Promise<void> {
  const own = new RegExp(`^${process}\\b`);
  await until("its files are gone", () => !user.files("").some((name) => own.test(name)));
}

Deno.test("run -d prints the VM's name and ends; the VM is reached from other processes", async () => {
  await using user = await User.make();
  assertEquals(await user.cli("run", "-d", ...ECHO), { code: 0, out: "vm-1\n", err: "" });
  assertEquals((await user.cli("run", "echo", "--detach")).out, "echo-1\n");
  assertEquals((await user.cli("run", "echo", "-d", "--name", "web")).out, "web\n");
  assertEquals((await user.cli("run", "echo", "-d")).out, "echo-2\n");
  const rows = await list(user);
  assertEquals(rows.map(({ name, guest }) => [name, guest ?? "-"]).sort(), [
    ["echo-1", "echo"],
    ["echo-2", "echo"],
    ["vm-1", "-"],
    ["web", "echo"],
  ]);
  const web = rows.find(({ name }) => name === "web")!;
  assertEquals(web.log, `${user.sockets}/${web.process}.log`);
  assertEquals(await Deno.readTextFile(web.log), "");

  const attached = user.start("attach", "web");
  await readUntil(attached.stdout, (text) => text === "ready\n");
  const writer = attached.stdin.getWriter();
  await writer.write(new TextEncoder().encode("one\n"));
  await readUntil(attached.stdout, (text) => text === "one\n");
  // A second terminal sees what was printed before, and types too; the guest's end is both's.
  const second = await user.feed("two q", "attach", "web", "--console");
  assertEquals(second, { code: 0, out: "ready\none\ntwo ", err: "" });
  assertEquals((await attached.status).code, 0);
  await writer.close();
  await gone(user, web.process);
  assertEquals((await list(user)).length, 3);

  assertEquals(await user.cli("stop", "vm-1"), { code: 0, out: "", err: "" });
  assertEquals(await user.cli("stop", "echo-1", "--force"), { code: 0, out: "", err: "" });
  assertEquals((await list(user)).map(({ name }) => name), ["echo-2"]);
  const missing = await user.cli("stop", "vm-1");
  assertEquals([missing.code, missing.err], [2, 'chronovisor: There is no running VM "vm-1"\n']);
});

Deno.test("a start that fails says why, and leaves nothing behind", async () => {
  await using user = await User.make();
  const cases: [string[], number, RegExp][] = [
    [["run", "-d", "--kernel", "no/such/Image"], 1, /^chronovisor: Cannot read "no\/such\/Image"/],
    [["run", "-d", "debina"], 2, /^chronovisor: There is no guest "debina"\n$/],
    [["run", "-d"], 2, /^chronovisor: Nothing to start/],
    [["run", "-d", "echo", "--until", "x"], 2, /^chronovisor: --until needs the console/],
    [["run", "-d", "echo", "--stats", "-"], 2, /--stats FILE/],
  ];
  for (const [words, status, message] of cases) {
    const { code, out, err } = await user.cli(...words);
    assertEquals([words, code, out], [words, status, ""]);
    assert(message.test(err), err);
  }
  assertEquals(await list(user), []);
  assertEquals(user.files(".log"), []);
});

Deno.test("a start that is given up leaves nothing behind", async () => {
  await using user = await User.make();
  const starting = user.start("run", "-d", "echo");
  await until("it has begun", () => user.files(".log").length > 0);
  killIfAlive(() => starting.kill("SIGINT"));
  const { code } = await starting.status;
  // It may have been done by then.
  assertEquals([code, (await list(user)).length], code === 0 ? [0, 1] : [130, 0]);
  if (code !== 0) assertEquals(user.files(".log"), []);
});

Deno.test("a name that cannot be one is refused", async () => {
  await using user = await User.make();
  for (const name of ["", "-x", "a b", "a/b", "x".repeat(65), "a\nb"]) {
    const { code, err } = await user.cli("run", `--name=${name}`, ...ECHO);
    assertEquals([code, err.includes("Expected 1 to 64 letters")], [2, true], err);
  }
});

Deno.test("SIGTERM ends a detached VM in order, SIGHUP does nothing, SIGKILL leaves a socket", async () => {
  await using user = await User.make();
  await user.cli("run", "-d", "echo", "--name", "a", "--stats", "a.json");
  await user.cli("run", "-d", "echo", "--name", "b");
  const rows = await list(user);
  const process = (name: string) => rows.find((row) => row.name === name)!.process;
  Deno.kill(process("a"), "SIGHUP");
  assertEquals((await list(user)).length, 2);
  Deno.kill(process("a"), "SIGTERM");
  await gone(user, process("a"));
  assertEquals(JSON.parse(await Deno.readTextFile(`${user.home}/a.json`)).state, "stopped");

  const attached = user.start("attach", "b");
  await readUntil(attached.stdout, (text) => text === "ready\n");
  Deno.kill(process("b"), "SIGKILL");
  const why = await readUntil(attached.stderr, (text) => text.endsWith("\n"));
  assertEquals(why, "chronovisor: The kernel ended the connection\n");
  assertEquals((await attached.status).code, 1);
  // Until it is dead its socket may still take connections.
  for (let rows = await list(user); rows.length > 0;) rows = await list(user);
  assertEquals(user.files(), []);
  // The name is free again.
  assertEquals((await user.cli("run", "-d", "echo", "--name", "b")).out, "b\n");
});

Deno.test({
  name: "a detached VM has no terminal and a session of its own",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await using user = await User.make();
    await user.cli("run", "-d", "echo");
    const [{ process }] = await list(user) as [Listed];
    const stat = await Deno.readTextFile(`/proc/${process}/stat`);
    // After the name in parentheses: state, parent, group, session, terminal.
    const [, , , session, terminal] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    assertEquals([session, terminal], [`${process}`, "0"]);
  },
});

Deno.test("--timeout ends a detached VM, and its log says so", async () => {
  await using user = await User.make();
  const { code } = await user.cli("run", "-d", "echo", "--timeout", "2");
  // A machine that is busy may take longer to start it: that is a start that fails.
  if (code === 124) return assertEquals(user.files(".log"), []);
  for (let rows = await list(user); rows.length > 0;) rows = await list(user);
  const [log, ...others] = user.files(".log");
  assertEquals(others, []);
  let text = "";
  while (text === "") text = await Deno.readTextFile(`${user.sockets}/${log}`);
  assertEquals(text, "chronovisor: gave up after 2 s\n");
});

Deno.test("a detached VM that fails leaves its state in the log", async () => {
  await using user = await User.make();
  const { code, err } = await user.cli("run", "-d", "break");
  const why = 'VM "break-1" failed: the interpreter lost its place';
  // It may fail before it was told to run, or after.
  if (code === 70) return assert(err.includes(why), err);
  assertEquals([code, err], [0, ""]);
  for (let rows = await list(user); rows.length > 0;) rows = await list(user);
  const [log] = user.files(".log");
  for (let text = ""; !text.includes("hart 0: pc 0000000080001234, S-mode");) {
    text = await Deno.readTextFile(`${user.sockets}/${log}`);
    assert(text === "" || text.includes(why), text);
  }
});

Deno.test("exec in a running VM passes streams and status; a guest's name means a fresh one", async () => {
  await using user = await User.make();
  await user.cli("run", "-d", "agent", "--name", "web");
  assertEquals(await user.cli("exec", "web", "--", "echo", "a", "b"), {
    code: 0,
    out: "a b\n",
    err: "",
  });
  assertEquals(await user.cli("exec", "web", "--", "fail", "42"), {
    code: 42,
    out: "",
    err: "it failed\n",
  });
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => 0x20 + (i * 7919) % 0x5f);
  const cat = await user.feed(bytes, "exec", "web", "--", "cat");
  assert(cat.out === new TextDecoder().decode(bytes), `${cat.out.length} bytes came out`);
  const late = await user.cli("exec", "web", "--timeout", "0.3", "--", "sleep", "60");
  assertEquals(late, { code: 124, out: "", err: "chronovisor: gave up after 0.3 s\n" });
  const refused = await user.cli("exec", "web", "--", "nonsense");
  assertEquals([refused.code, refused.err], [1, "chronovisor: nonsense: not found\n"]);
  const machine = await user.cli("exec", "web", "--memory", "1G", "--", "true");
  assertEquals([machine.code, machine.err.includes("runs already")], [2, true]);
  // No VM has this name: a fresh one is made.
  assertEquals((await user.cli("exec", "agent", "--", "echo", "fresh")).out, "fresh\n");
  const monitor = await user.feed("info status\nstop\ninfo status", "attach", "web", "--monitor");
  assert(/^web: running, \d+ .*\nweb: paused, \d+ .*\n$/.test(monitor.out), monitor.out);
});

Deno.test("a small guest of ours runs detached, and its end ends the process", async () => {
  await using user = await User.make(REAL);
  const { code, out, err } = await user.cli("run", "storm", "-d", "--name", "s", "--memory", "64M");
  assertEquals([code, out, err], [0, "s\n", ""]);
  for (let rows = await list(user); rows.length > 0;) rows = await list(user);
  assertEquals(user.files(), []);
});

Deno.test("a detached process runs with the options of the task that starts us", () => {
  const { command } = configuration.tasks.start;
  assert(command.startsWith("deno run ") && command.endsWith(" tools/cli/main.ts"), command);
  assertEquals(["deno", "run", ...runtimeOptions(), "tools/cli/main.ts"].join(" "), command);
});

peerTest(
  "on a terminal, attach is raw; Ctrl-A x detaches and the VM goes on",
  ["script"],
  async () => {
    await using user = await User.make();
    await user.cli("run", "-d", "echo", "--name", "web");
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const line =
      `stty rows 33 columns 99; "${Deno.execPath()}" run -A --no-check --config "${config}" ` +
      `"${MAIN}" attach web; echo "status $?"; stty -a | grep -c ' echo '`;
    const terminal = new Deno.Command("script", {
      args: ["-qec", line, "/dev/null"],
      cwd: user.home,
      env: { NO_COLOR: "1", XDG_RUNTIME_DIR: user.home, SHELL: "/bin/sh" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const writer = terminal.stdin.getWriter();
    const type = (text: string) => writer.write(new TextEncoder().encode(text));
    await readUntil(terminal.stdout, (text) => text.includes("ready"));
    await type("\x03typed");
    // Echoed by the guest alone, Ctrl-C too: the terminal is raw.
    const echo = await readUntil(terminal.stdout, (text) => text.includes("typed"));
    assertEquals(echo, "\x03typed");
    await type("\x01c");
    await readUntil(terminal.stdout, (text) => text.includes("(monitor) "));
    await type("info status\r");
    await readUntil(terminal.stdout, (text) => text.includes("web: running"));
    await type("\x01c\x01h");
    await readUntil(terminal.stdout, (text) => text.includes("detach; the VM goes on"));
    await type("\x01x");
    const end = await readUntil(terminal.stdout, (text) => /status \d+\r\n\d+\r\n/.test(text));
    assert(end.includes('detached; the VM "web" goes on'), end);
    assert(/status 0\r\n1\r\n/.test(end), end);
    await writer.close();
    await terminal.stdout.cancel();
    await terminal.status;
    assertEquals((await list(user)).map(({ name }) => name), ["web"]);
  },
);
