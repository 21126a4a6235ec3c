/** Claims about the kernel's end of its control socket, over pretended VMs and real sockets. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, FormatError, HostError, type RecordOptions } from "../../../mod.ts";
import { ControlClient } from "./client.ts";
import { LINE_BYTES_MAXIMUM } from "./protocol.ts";
import { type ControlledVm, ControlServer } from "./server.ts";

/** A VM that only has what the control socket sees. */
class PretendedVm implements ControlledVm {
  state: ControlledVm["state"] = "running";
  icount = 5;
  recordingFolder: string | undefined;
  options: RecordOptions | undefined;

  constructor(readonly name: string) {}

  pause(): Promise<void> {
    this.state = "paused";
    return Promise.resolve();
  }

  resume(): Promise<void> {
    this.state = "running";
    return Promise.resolve();
  }

  stats(): ReturnType<ControlledVm["stats"]> {
    return Promise.reject(new TypeError("a mistake of ours"));
  }

  startRecording(options: RecordOptions): Promise<void> {
    this.options = options;
    this.recordingFolder = options.folder;
    return Promise.resolve();
  }

  stopRecording(): Promise<void> {
    if (this.recordingFolder === undefined) return Promise.reject(new HostError("not recorded"));
    this.recordingFolder = undefined;
    return Promise.resolve();
  }
}

async function withServer(
  vms: readonly PretendedVm[],
  body: (path: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/control.sock`;
  const server = new ControlServer({ vms }, Deno.listen({ transport: "unix", path }));
  try {
    await body(path);
  } finally {
    await server.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Sends bytes as they are, and nothing more; gives what comes back until the kernel hangs up. */
async function sendRaw(path: string, bytes: Uint8Array | string): Promise<string> {
  using connection = await Deno.connect({ transport: "unix", path });
  const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  try {
    for (let at = 0; at < data.length;) at += await connection.write(data.subarray(at));
    await connection.closeWrite();
  } catch (error) {
    // The kernel hung up before it had read all.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
  const decoder = new TextDecoder();
  let text = "";
  const chunk = new Uint8Array(4096);
  try {
    for (let count = await connection.read(chunk); count !== null;) {
      text += decoder.decode(chunk.subarray(0, count), { stream: true });
      count = await connection.read(chunk);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  }
  return text;
}

Deno.test("each command does what it says", async () => {
  const vm = new PretendedVm("web");
  await withServer([vm], async (path) => {
    using client = await ControlClient.connect(path);
    const listed = await client.ask<"list">({ command: "list" });
    const web = { name: "web", state: "running", icount: 5, recording: null };
    assertEquals(listed, { process: Deno.pid, vms: [web] });
    assertEquals((await client.ask<"version">({ command: "version" })).version, 1);
    assertEquals(await client.ask<"pause">({ command: "pause", vm: "web" }), { state: "paused" });
    assertEquals(vm.state, "paused");
    const resumed = await client.ask<"resume">({ command: "resume", vm: "web" });
    assertEquals(resumed, { state: "running" });
    await client.ask<"record-start">({
      command: "record-start",
      vm: "web",
      folder: "/r",
      sync: "every",
      images: true,
    });
    assertEquals(vm.options, { folder: "/r", sync: "every", images: true });
    assertEquals((await client.ask<"list">({ command: "list" })).vms[0]!.recording, "/r");
    await client.ask<"record-stop">({ command: "record-stop", vm: "web" });
    assertEquals(vm.recordingFolder, undefined);
  });
});

Deno.test("errors of commands reach the client, and the connection goes on", async () => {
  await withServer(
    [new PretendedVm("a"), new PretendedVm("b"), new PretendedVm("b")],
    async (path) => {
      using client = await ControlClient.connect(path);
      const ask = (vm: string) => client.ask<"record-stop">({ command: "record-stop", vm });
      await assertRejects(() => ask("a"), HostError, "not recorded");
      await assertRejects(() => ask("b"), ConfigError, 'Two VMs have the name "b"');
      await assertRejects(() => ask("c"), ConfigError, 'There is no VM "c"');
      const stats = client.ask<"stats">({ command: "stats", vm: "a" });
      await assertRejects(() => stats, HostError, "could not do it: a mistake of ours");
      await assertRejects(() => ask(""), FormatError, "vm");
      assertEquals((await client.ask<"list">({ command: "list" })).vms.length, 3);
    },
  );
});

Deno.test("requests that come together are answered in order, with their ids", async () => {
  await withServer([new PretendedVm("web")], async (path) => {
    const requests = [1, 2, 3].map((id) =>
      JSON.stringify({ version: 1, id, command: id === 2 ? "dance" : "version" }) + "\n"
    );
    const replies = (await sendRaw(path, requests.join(""))).trimEnd().split("\n")
      .map((line) => JSON.parse(line));
    assertEquals(replies.map(({ id }) => id), [1, 2, 3]);
    assertEquals(replies.map(({ error }) => error?.kind), [undefined, "FormatError", undefined]);
  });
});

Deno.test("a line without end, or of no text, ends its own connection only", async () => {
  await withServer([new PretendedVm("web")], async (path) => {
    using other = await ControlClient.connect(path);
    const long = await sendRaw(path, new Uint8Array(LINE_BYTES_MAXIMUM + 1).fill(0x20));
    assert(long.includes(`longer than ${LINE_BYTES_MAXIMUM} bytes`), long);
    assert((await sendRaw(path, Uint8Array.of(0xc3, 0x28, 0x0a))).includes("no UTF-8"));
    assertEquals(await sendRaw(path, "half a request"), "");
    assertEquals((await other.ask<"list">({ command: "list" })).vms.length, 1);
  });
});

Deno.test("clients beyond the limit are turned away, and let in when there is room", async () => {
  await withServer([], async (path) => {
    const clients: ControlClient[] = [];
    for (let i = 0; i < 16; i++) clients.push(await ControlClient.connect(path));
    const list = (client: ControlClient) => client.ask<"list">({ command: "list" });
    for (const client of clients) await list(client);
    using late = await ControlClient.connect(path);
    await assertRejects(() => list(late), HostError);
    for (const client of clients) client.close();
    // The kernel sees that they left when it reads next.
    for (;;) {
      using next = await ControlClient.connect(path);
      const isIn = await list(next).then(() => true, () => false);
      if (isIn) break;
    }
  });
});

Deno.test("a client that reads no replies holds up nobody else", async () => {
  await withServer([new PretendedVm("web")], async (path) => {
    const deaf = await Deno.connect({ transport: "unix", path });
    const request = new TextEncoder().encode(
      (JSON.stringify({ version: 1, id: "x".repeat(200), command: "list" }) + "\n").repeat(200),
    );
    let stuck = false;
    const sending = (async () => {
      for (let i = 0; i < 1000 && !stuck; i++) await deaf.write(request);
    })().catch(() => {});
    const first = await Promise.race([
      sending.then(() => "all was sent"),
      new Promise<string>((resolve) => setTimeout(() => resolve("stuck"), 300)),
    ]);
    assertEquals(first, "stuck");
    stuck = true;
    using client = await ControlClient.connect(path);
    assertEquals((await client.ask<"list">({ command: "list" })).vms.length, 1);
    deaf.close();
    await sending;
  });
});

Deno.test("a kernel that does not reply in time is given up", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/mute.sock`;
  using _listener = Deno.listen({ transport: "unix", path });
  try {
    using client = await ControlClient.connect(path);
    const asking = client.ask<"list">({ command: "list" }, 50);
    await assertRejects(() => asking, HostError, "did not reply within 50 ms");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
