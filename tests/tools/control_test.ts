/** Claims about commands for VMs of other processes, over fake machines and the real command line. */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);
const MAIN = new URL("./control_main.ts", import.meta.url).pathname;

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Command lines of one user: they find each other's VMs, and nobody else's. */
class User implements AsyncDisposable {
  readonly #running: Deno.ChildProcess[] = [];

  private constructor(readonly home: string) {}

  static async make(): Promise<User> {
    return new User(await Deno.makeTempDir());
  }

  get sockets(): string {
    return `${this.home}/chronovisor`;
  }

  /** Runs a command to its end, in this user's own folder. */
  async cli(...words: string[]): Promise<Outcome> {
    const { code, stdout, stderr } = await this.#command(words, "null").output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  }

  /** Starts a VM that echoes what it is sent, and waits until it is there. */
  async runEcho(...more: string[]): Promise<Deno.ChildProcess> {
    const machine = ["--kernel", MAIN, "--memory", "1M", "--append", "echo"];
    const child = this.#command(["run", ...machine, ...more], "piped").spawn();
    this.#running.push(child);
    const reader = child.stdout.getReader();
    let shown = "";
    while (!shown.includes("ready\n")) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`the VM ended: ${shown}`);
      shown += new TextDecoder().decode(value);
    }
    reader.releaseLock();
    return child;
  }

  /** Lets a VM power itself off. */
  async end(child: Deno.ChildProcess): Promise<void> {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("q"));
    await writer.close();
    await child.status;
  }

  socketNames(): string[] {
    return [...Deno.readDirSync(this.sockets)].map(({ name }) => name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) {
      await child.stdin.close().catch(() => {});
      try {
        child.kill("SIGKILL");
      } catch (error) {
        // It has ended already.
        if (!(error instanceof TypeError)) throw error;
      }
      await child.status;
      await child.stdout.cancel();
      await child.stderr.cancel();
    }
    await Deno.remove(this.home, { recursive: true });
  }

  #command(words: readonly string[], stdin: "null" | "piped"): Deno.Command {
    const config = new URL("deno.json", ROOT).pathname;
    return new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--config", config, MAIN, ...words],
      cwd: this.home,
      env: { NO_COLOR: "1", XDG_RUNTIME_DIR: this.home },
      stdin,
      stdout: "piped",
      stderr: "piped",
    });
  }
}

Deno.test("a running VM is listed, recorded from another process, and gone when it ends", async () => {
  await using user = await User.make();
  const vm = await user.runEcho("--name", "web");
  const [socket] = user.socketNames();
  const { mode } = await Deno.stat(`${user.sockets}/${socket}`);
  assertEquals(mode! & 0o777, 0o600);
  assertEquals((await Deno.stat(user.sockets)).mode! & 0o777, 0o700);

  const listed = await user.cli("ps");
  const [head, row, ...others] = listed.out.trimEnd().split("\n");
  assertEquals([listed.code, others], [0, []]);
  assertEquals(head, "NAME  STATE    INSTRUCTIONS  PROCESS  RECORDING");
  assert(new RegExp(`^web   running  \\d+ +${vm.pid} +-$`).test(row!), listed.out);

  const start = await user.cli("record", "start", "web", "first", "--record-sync", "every");
  assertEquals(start, { code: 0, out: "", err: "" });
  const folder = `${user.home}/first`;
  const options = JSON.parse(await Deno.readTextFile(`${folder}/options.json`));
  assertEquals(options, { folder, sync: "every" });
  const [told] = JSON.parse((await user.cli("ps", "--json")).out);
  assertEquals([told.name, told.process, told.recording], ["web", vm.pid, folder]);
  const again = await user.cli("record", "start", "web", "second", "--record-images");
  assertEquals([again.code, again.err], [1, 'chronovisor: "web" is being recorded\n']);
  assertEquals((await user.cli("record", "stop", "web")).code, 0);
  const stopped = await user.cli("record", "stop", "web");
  assertEquals([stopped.code, stopped.err], [1, 'chronovisor: "web" is not recorded\n']);

  await user.end(vm);
  assertEquals(user.socketNames(), []);
  assertEquals((await user.cli("ps", "--json")).out, "[]\n");
  const gone = await user.cli("record", "stop", "web");
  assertEquals([gone.code, gone.err], [2, 'chronovisor: There is no running VM "web"\n']);
});

Deno.test("a name that VMs of two processes have is refused, and both are named", async () => {
  await using user = await User.make();
  const [a, b] = [await user.runEcho("--name", "web"), await user.runEcho("--name", "web")];
  const { code, err } = await user.cli("record", "start", "web", "folder");
  assertEquals(code, 2);
  const [first, second] = [a.pid, b.pid].toSorted((x, y) => x - y);
  assert(err.includes(`2 VMs have the name "web" (processes ${first}, ${second})`), err);
  await user.end(a);
  assertEquals((await user.cli("record", "start", "web", "folder")).code, 0);
});

Deno.test("the socket of a kernel that was killed is removed by whoever looks next", async () => {
  await using user = await User.make();
  const [killed, kept] = [
    await user.runEcho("--name", "killed"),
    await user.runEcho("--name", "kept"),
  ];
  killed.kill("SIGKILL");
  await killed.status;
  assertEquals(user.socketNames().length, 2);
  const rows = JSON.parse((await user.cli("ps", "--json")).out) as { name: string }[];
  assertEquals(rows.map(({ name }) => name), ["kept"]);
  assertEquals(user.socketNames().length, 1);
  await user.end(kept);
});

Deno.test("a VM whose socket cannot be made runs all the same, and says so", async () => {
  await using user = await User.make();
  await Deno.writeTextFile(user.sockets, "in the way");
  const machine = ["--kernel", MAIN, "--memory", "1M", "--append", "say 7 hello"];
  const { code, out, err } = await user.cli("run", ...machine);
  assertEquals([code, out], [7, "hello"]);
  assert(err.startsWith("chronovisor: Cannot open the control socket "), err);
  await Deno.remove(user.sockets);
});

Deno.test("a VM that runs a command is listed too, under its guest's name", async () => {
  await using user = await User.make();
  const asked = user.cli("exec", "agent", "--timeout", "20", "--", "sleep", "60");
  let rows: { name: string; process: number }[] = [];
  while (rows.length === 0) rows = JSON.parse((await user.cli("ps", "--json")).out);
  assertEquals(rows.map(({ name }) => name), ["agent"]);
  Deno.kill(rows[0]!.process, "SIGTERM");
  assertEquals((await asked).code, 143);
  assertEquals(user.socketNames(), []);
});
