/**
 * Claims about streams of the control socket, `attach` and `exec`, over VMs that run fake machines: what
 * reaches whom, and what clients do not get done that are slow, rude or gone.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, FormatError, HostError, type Kernel, type VM } from "../../mod.ts";
import { ControlClient, type OpenRequest } from "../../tools/cli/control/client.ts";
import { Consoles } from "../../tools/cli/control/consoles.ts";
import { INPUT_WINDOW } from "../../tools/cli/control/protocol.ts";
import { ControlServer } from "../../tools/cli/control/server.ts";
import type { EventOf } from "../../tools/cli/control/verbs.ts";
import { behave, fakeKernel } from "../world/support.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** A kernel with a VM "vm" that does what the line says, and its control socket. */
async function withVm(
  behaviour: string,
  body: (path: string, vm: VM, kernel: Kernel) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/control.sock`;
  await using kernel = fakeKernel();
  const server = new ControlServer(kernel, Deno.listen({ transport: "unix", path }), {
    consoles: new Consoles(),
    claimNames: () => Promise.reject(new HostError("no names here")),
  });
  try {
    await body(path, await kernel.powerOn(behave(behaviour, { name: "vm" })), kernel);
  } finally {
    await kernel.stop();
    await server.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** A client on the VM's console. */
class Attached {
  readonly request: OpenRequest<"attach">;
  shown = "";
  dropped = 0;
  taken = 0;
  readonly #decoder = new TextDecoder();
  #wake = () => {};

  constructor(readonly client: ControlClient) {
    this.request = client.open("attach", { vm: "vm" }, (event) => this.#happened(event));
  }

  /** Waits until something holds. */
  async until(condition: () => boolean): Promise<void> {
    const ended = this.request.result.then(() => true, () => true);
    while (!condition()) {
      const waiting = new Promise<boolean>((resolve) => this.#wake = () => resolve(false));
      if (await Promise.race([waiting, ended]) && !condition()) throw new Error(this.shown);
    }
  }

  async type(text: string): Promise<void> {
    await this.request.send({ kind: "input", data: utf8(text).toBase64() });
  }

  #happened(event: EventOf<"attach">): void {
    if (event.kind === "output") {
      this.shown += this.#decoder.decode(Uint8Array.fromBase64(event.data), { stream: true });
    } else if (event.kind === "dropped") this.dropped += event.bytes;
    else this.taken += event.bytes;
    this.#wake();
  }
}

Deno.test("all who are attached see what the guest prints, and all may type", async () => {
  await withVm("echo", async (path, vm) => {
    using one = await ControlClient.connect(path);
    using two = await ControlClient.connect(path);
    const [a, b] = [new Attached(one), new Attached(two)];
    await a.until(() => a.shown === "ready\n");
    await b.until(() => b.shown === "ready\n");
    await a.type("from a;");
    await b.until(() => b.shown.endsWith("from a;"));
    await b.type("größer;");
    for (const each of [a, b]) await each.until(() => each.shown === "ready\nfrom a;größer;");
    // Output before one came is shown first.
    using three = await ControlClient.connect(path);
    const late = new Attached(three);
    await late.until(() => late.shown === a.shown);

    await a.request.send({ kind: "detach" });
    assertEquals(await a.request.result, { exit: null });
    assertEquals([a.taken, vm.state], [7, "running"]);
    two.close();
    await late.type("q");
    assertEquals(await late.request.result, { exit: { code: 0, why: "power-off" } });
  });
});

Deno.test("attaching to a VM that is not there, or fails, says so", async () => {
  await withVm("break", async (path, vm) => {
    using client = await ControlClient.connect(path);
    const failing = client.open("attach", { vm: "vm" }).result;
    await assertRejects(() => vm.waitForExit());
    await assertRejects(() => failing, Error, "vm");
    await assertRejects(() => client.ask("attach", { vm: "vm" }), ConfigError, "There is no VM");
  });
});

Deno.test("the terminal's size reaches the guest", async () => {
  await withVm("size", async (path) => {
    using client = await ControlClient.connect(path);
    const attached = new Attached(client);
    await attached.request.send({ kind: "size", columns: 132, rows: 43 });
    await attached.request.result;
    assertEquals(attached.shown, "console0 132x43");
  });
});

Deno.test("a client that does not read loses output, and does not hold the VM up", async () => {
  const total = 30_000_000;
  await withVm(`flood ${total} waits`, async (path, vm) => {
    const deaf = await Deno.connect({ transport: "unix", path });
    const request = { version: 2, id: 1, command: "attach", vm: "vm" };
    await deaf.write(utf8(JSON.stringify(request) + "\n"));
    using client = await ControlClient.connect(path);
    const attached = new Attached(client);
    await attached.until(() => attached.shown === "ready\n");
    const deafReads = readOutput(deaf);
    // It is attached too when it has read this much.
    for (let got = 0; got < "ready\n".length;) got += (await deafReads.next()).value!.got;
    await attached.type("x");
    assertEquals(await vm.waitForExit(), { code: 0, why: "power-off" });
    assertEquals((await attached.request.result).exit?.code, 0);
    assertEquals(attached.shown.length + attached.dropped, total + "ready\n".length);
    // The deaf one reads again: what it gets is in order, and what is missing is said.
    let [all, lost] = [0, 0];
    for await (const { got, dropped } of deafReads) {
      all += got;
      lost += dropped;
    }
    assert(lost > total / 2 && all > 0, `${all} and ${lost}`);
    assertEquals(all + lost, total);
  });
});

/** What an attached connection is told of output, line for line, until the VM's end. */
async function* readOutput(
  connection: Deno.Conn,
): AsyncGenerator<{ got: number; dropped: number }> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const bytes of connection.readable) {
    const lines = (text + decoder.decode(bytes, { stream: true })).split("\n");
    text = lines.pop()!;
    for (const line of lines) {
      const { event, result } = JSON.parse(line);
      if (result !== undefined) return;
      const got = event?.kind === "output" ? Uint8Array.fromBase64(event.data).length : 0;
      yield { got, dropped: event?.kind === "dropped" ? event.bytes : 0 };
    }
  }
}

Deno.test("a stream whose client breaks the rules ends, and nothing else does", async () => {
  await withVm("spin", async (path, vm) => {
    using client = await ControlClient.connect(path);
    const wrong: [unknown, RegExp][] = [
      [{ kind: "dance" }, /message is wrong/],
      [{ kind: "size", columns: 0, rows: 24 }, /columns/],
      [{ kind: "input", data: "?" }, /data/],
      [null, /message is wrong/],
    ];
    for (const [message, why] of wrong) {
      const { result, send } = client.open("attach", { vm: "vm" });
      await send(message as never);
      const error = await assertRejects(() => result, FormatError);
      assert(why.test(error.message), error.message);
    }
    // The guest reads nothing: what is sent ahead is bounded.
    await vm.pause();
    const greedy = client.open("attach", { vm: "vm" });
    const data = new Uint8Array(32 * 1024).toBase64();
    for (let i = 0; i < INPUT_WINDOW / (32 * 1024) + 2; i++) {
      await greedy.send({ kind: "input", data });
    }
    await assertRejects(() => greedy.result, FormatError, `More than ${INPUT_WINDOW} bytes`);
    assertEquals((await client.ask("unpause", { vm: "vm" })).state, "running");
    const many = Array.from({ length: 17 }, () => client.open("attach", { vm: "vm" }).result);
    await assertRejects(() => many.at(-1)!, HostError, "16 streams");
    assertEquals(vm.state, "running");
  });
});

Deno.test("two streams with one id are refused", async () => {
  await withVm("echo", async (path) => {
    using raw = await Deno.connect({ transport: "unix", path });
    const request = JSON.stringify({ version: 2, id: "x", command: "attach", vm: "vm" }) + "\n";
    await raw.write(utf8(request + request));
    let text = "";
    for await (const bytes of raw.readable) {
      text += new TextDecoder().decode(bytes);
      if (text.includes("FormatError")) break;
    }
    assert(text.includes("A request with the id x goes on"), text);
  });
});

interface Done {
  readonly status: number;
  readonly stdout: Uint8Array;
  readonly stderr: string;
}

/** Runs a command over the socket, with all of its input sent as the kernel takes it. */
async function exec(client: ControlClient, words: string[], stdin = new Uint8Array(0)) {
  const out: Uint8Array<ArrayBuffer>[] = [];
  let [stderr, credit] = ["", INPUT_WINDOW];
  let more = () => {};
  const request = client.open("exec", { vm: "vm", words }, (event) => {
    if (event.kind === "taken") {
      credit += event.bytes;
      more();
    } else if (event.kind === "stdout") out.push(Uint8Array.fromBase64(event.data));
    else stderr += atob(event.data);
  });
  for (let at = 0; at < stdin.length;) {
    if (credit < 1000) {
      await new Promise<void>((resolve) => more = resolve);
      continue;
    }
    const part = stdin.subarray(at, at + Math.min(credit, 20_000));
    credit -= part.length;
    at += part.length;
    await request.send({ kind: "input", data: part.toBase64() });
  }
  await request.send({ kind: "end" });
  const { status } = await request.result;
  const stdout = new Uint8Array(await new Blob(out).arrayBuffer());
  return { status, stdout, stderr } satisfies Done;
}

Deno.test("a command's streams and status pass the socket, binary-safe and side by side", async () => {
  await withVm("agent", async (path) => {
    using client = await ControlClient.connect(path);
    const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3);
    const [cat, echo, fail] = await Promise.all([
      exec(client, ["cat"], bytes),
      exec(client, ["echo", "two", "words"]),
      exec(client, ["fail", "42"]),
    ]);
    assertEquals([cat.status, cat.stdout.length], [0, bytes.length]);
    assert(cat.stdout.every((byte, i) => byte === bytes[i]));
    assertEquals(new TextDecoder().decode(echo.stdout), "two words\n");
    assertEquals([fail.status, fail.stderr], [42, "it failed\n"]);
    await assertRejects(() => exec(client, ["nonsense"]), HostError, "nonsense: not found");
    const sleeping = client.open("exec", { vm: "vm", words: ["sleep", "60"] });
    await sleeping.send({ kind: "signal", number: 15 });
    assertEquals(await sleeping.result, { status: 143 });
  });
});

Deno.test("a client that goes away takes its command along", async () => {
  await withVm("agent", async (path, vm) => {
    const spawned: Promise<number>[] = [];
    const { spawn } = vm;
    vm.spawn = async (...words) => {
      const process = await spawn.apply(vm, words);
      spawned.push(process.status);
      return process;
    };
    const client = await ControlClient.connect(path);
    const running = client.open("exec", { vm: "vm", words: ["sleep", "60"] });
    // Done in turn with it, so the command was asked for by now.
    await client.ask("list", {});
    while (spawned.length === 0) await new Promise((resolve) => setTimeout(resolve));
    client.close();
    await assertRejects(() => running.result, HostError);
    assertEquals(await spawned[0], 128 + 9);
  });
});

Deno.test("a command whose output nobody reads is ended, and the VM goes on", async () => {
  await withVm("agent", async (path, vm) => {
    const deaf = await Deno.connect({ transport: "unix", path });
    const words = ["pour", String(30_000_000)];
    const request = { version: 2, id: 1, command: "exec", vm: "vm", words };
    await deaf.write(utf8(JSON.stringify(request) + "\n"));
    using client = await ControlClient.connect(path);
    const echo = await exec(client, ["echo", "still", "here"]);
    assertEquals(new TextDecoder().decode(echo.stdout), "still here\n");
    let last = "";
    for await (const bytes of deaf.readable) {
      last = (last + new TextDecoder().decode(bytes)).slice(-1000);
      if (last.includes('"error"')) break;
    }
    assert(
      /HostError.*The command was ended: \d+ bytes of its output were not read/.test(last),
      last,
    );
    assertEquals(vm.state, "running");
  });
});

Deno.test("commands that wait for an agent that never comes are bounded", async () => {
  await withVm("spin", async (path, vm) => {
    for (let i = 0; i < 5; i++) {
      using client = await ControlClient.connect(path);
      for (let j = 0; j < 16; j++) client.open("exec", { vm: "vm", words: ["true"] });
      await client.ask("list", {});
    }
    using client = await ControlClient.connect(path);
    const refused = client.ask("exec", { vm: "vm", words: ["true"] });
    await assertRejects(() => refused, HostError, "32 commands run");
    assertEquals(await client.ask("stop", { vm: "vm" }), { how: "switched-off" });
    assertEquals(vm.state, "stopped");
  });
});

Deno.test("the monitor answers over the socket", async () => {
  await withVm("echo", async (path, vm) => {
    using client = await ControlClient.connect(path);
    const ask = async (line: string) => (await client.ask("monitor", { vm: "vm", line })).text;
    assert(/^vm: running, \d+ instructions retired$/.test(await ask("info status")));
    assertEquals(await ask("info mtree"), "0x80000000 ram");
    assertEquals(await ask("stop"), "");
    assertEquals(vm.state, "paused");
    assert((await ask("info statsu")).includes("Did you mean"));
    await ask("quit");
    assertEquals((await vm.waitForExit()).why, "stopped");
  });
});
