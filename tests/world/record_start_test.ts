/** A Debian that runs already, recorded by another process and replayed. */
import { assert, assertEquals } from "@std/assert";
import { debianTest, PROMPT } from "../_support/debian.ts";
import { killIfAlive } from "../_support/kill.ts";

const MAIN = new URL("../../tools/cli/main.ts", import.meta.url).pathname;
const ROOT = new URL("../../", import.meta.url).pathname;

function command(runtime: string, words: readonly string[], stdin: "null" | "piped"): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", MAIN, ...words],
    cwd: ROOT,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: runtime },
    stdin,
    stdout: "piped",
    stderr: "piped",
  });
}

/** What a process prints, in parts. */
class Screen {
  #text = "";
  readonly #reader;

  constructor(output: ReadableStream<Uint8Array>) {
    this.#reader = output.pipeThrough(new TextDecoderStream() as never).getReader();
  }

  /** Reads until this is shown; gives what was shown up to then. */
  async until(wanted: string): Promise<string> {
    while (!this.#text.includes(wanted)) {
      const { value, done } = await this.#reader.read() as ReadableStreamReadResult<string>;
      if (done) throw new Error(`"${wanted}" was not shown: ${this.#text.slice(-500)}`);
      this.#text += value;
    }
    const end = this.#text.indexOf(wanted) + wanted.length;
    const shown = this.#text.slice(0, end);
    this.#text = this.#text.slice(end);
    return shown;
  }

  async toEnd(): Promise<void> {
    while (!(await this.#reader.read()).done);
  }
}

/** Ends a process, unless it has ended already. */
async function end(child: Deno.ChildProcess): Promise<void> {
  killIfAlive(() => child.kill("SIGKILL"));
  await child.status;
  await child.stderr.cancel();
  await child.stdin.close().catch(() => {});
}

debianTest(
  "a running VM is recorded by another process, and replays the same",
  async () => {
    const folder = await Deno.makeTempDir();
    const cli = async (...words: string[]) => {
      const { code, stdout, stderr } = await command(folder, words, "null").output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { code, out: text(stdout), err: text(stderr) };
    };
    const vm = command(folder, ["run", "debian", "--memory", "256M", "--name", "web"], "piped")
      .spawn();
    try {
      const screen = new Screen(vm.stdout);
      const keyboard = vm.stdin.getWriter();
      const type = (line: string) => keyboard.write(new TextEncoder().encode(`${line}\n`));
      await screen.until(PROMPT);
      await type("secret=before");
      await screen.until(PROMPT);
      const recording = `${folder}/recording`;
      assertEquals(await cli("record", "start", "web", recording), { code: 0, out: "", err: "" });
      await type("echo $secret and after");
      await screen.until("before and after");
      await screen.until(PROMPT);
      assertEquals(await cli("record", "stop", "web"), { code: 0, out: "", err: "" });
      await type("echo not recorded; poweroff -f");
      await screen.toEnd();
      assertEquals((await vm.status).code, 0);

      const { code, out, err } = await cli("replay", recording, "--verify");
      assertEquals(code, 0, err);
      assert(err.startsWith("chronovisor: the replay is the recording, after "), err);
      assert(out.includes("before and after") && !out.includes("not recorded"), out);
      const exported = await cli("replay", "export", recording, "--console", "-");
      assertEquals(exported, { code: 0, out, err: "" });
    } finally {
      await end(vm);
      await Deno.remove(folder, { recursive: true });
    }
  },
);
