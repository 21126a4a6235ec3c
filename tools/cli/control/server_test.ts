/**
 * Claims about the kernel's end of its control socket, over pretended VMs and real sockets; streams are
 * tried with VMs that run in tests/tools/control_streams_test.ts.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, FormatError, HostError, type RecordOptions } from "../../../mod.ts";
import { ControlClient } from "./client.ts";
import { pretendedKernel } from "../../../tests/_support/pretended_kernel.ts";
import { Consoles } from "./consoles.ts";
import { LINE_BYTES_MAXIMUM } from "./protocol.ts";
import { CONNECTIONS_MAXIMUM, ControlServer } from "./server.ts";
import type { ControlledVm } from "./verb.ts";

type Plain = Omit<ControlledVm, "console" | "spawn" | "registers" | "memoryTree">;

/** A VM that only has what requests without streams see. */
class PretendedVm implements Plain {
  state: ControlledVm["state"] = "running";
  icount = 5;
  guest: string | undefined = "debian";
  harts = 1;
  memoryBytes = 1 << 20;
  uptimeMilliseconds = 7.25;
  hasAgent = false;
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

  powerOff(): Promise<void> {
    this.state = "stopped";
    return Promise.resolve();
  }

  waitForExit(): ReturnType<ControlledVm["waitForExit"]> {
    return Promise.resolve({ code: 0, why: "stopped" });
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
  const kernel = pretendedKernel(vms);
  const server = new ControlServer(kernel, Deno.listen({ transport: "unix", path }), {
    consoles: new Consoles(),
    claimNames: () => Promise.reject(new HostError("no names here")),
  });
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

/** What came back as JSON, without the hello that comes first. */
function repliesIn(text: string): { id: unknown; result?: unknown; error?: { name: string } }[] {
  const [hello, ...replies] = text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assertEquals(hello.hello.version, 2);
  return replies;
}

Deno.test("each command does what it says", async () => {
  const vm = new PretendedVm("web");
  await withServer([vm], async (path) => {
    using client = await ControlClient.connect(path);
    const web = {
      name: "web",
      guest: "debian",
      state: "running",
      icount: 5,
      memoryBytes: 1 << 20,
      uptimeMilliseconds: 7,
      recording: null,
    };
    assertEquals(await client.ask("list", {}), {
      process: Deno.pid,
      log: null,
      claims: [],
      vms: [web],
    });
    assertEquals(await client.ask("pause", { vm: "web" }), { state: "paused" });
    assertEquals(vm.state, "paused");
    assertEquals(await client.ask("unpause", { vm: "web" }), { state: "running" });
    await client.ask("record-start", { vm: "web", folder: "/r", sync: "every", images: true });
    assertEquals(vm.options, { folder: "/r", sync: "every", images: true });
    assertEquals((await client.ask("list", {})).vms[0]!.recording, "/r");
    await client.ask("record-stop", { vm: "web" });
    assertEquals(vm.recordingFolder, undefined);
    assertEquals(await client.ask("stop", { vm: "web" }), { how: "switched-off" });
    assertEquals(vm.state, "stopped");
  });
});

Deno.test("errors of commands reach the client, and the connection goes on", async () => {
  await withServer(
    [new PretendedVm("a"), new PretendedVm("b"), new PretendedVm("b")],
    async (path) => {
      using client = await ControlClient.connect(path);
      const ask = (vm: string) => client.ask("record-stop", { vm });
      await assertRejects(() => ask("a"), HostError, "not recorded");
      await assertRejects(() => ask("b"), ConfigError, 'Two VMs have the name "b"');
      await assertRejects(() => ask("c"), ConfigError, 'There is no VM "c"');
      const stats = client.ask("stats", { vm: "a" });
      await assertRejects(() => stats, HostError, "could not do it: a mistake of ours");
      await assertRejects(() => ask(""), FormatError, "vm");
      assertEquals((await client.ask("list", {})).vms.length, 3);
    },
  );
});

Deno.test("requests that come together are answered in order, with their ids", async () => {
  await withServer([new PretendedVm("web")], async (path) => {
    const requests = [1, 2, 3, 4].map((id) =>
      JSON.stringify({ version: id === 3 ? 1 : 2, id, command: id === 2 ? "dance" : "list" }) + "\n"
    );
    const replies = repliesIn(await sendRaw(path, requests.join("")));
    assertEquals(replies.map(({ id }) => id), [1, 2, 3, 4]);
    const names = replies.map(({ error }) => error?.name);
    assertEquals(names, [undefined, "FormatError", "FormatError", undefined]);
  });
});

Deno.test("a line without end, or of no text, ends its own connection only", async () => {
  await withServer([new PretendedVm("web")], async (path) => {
    using other = await ControlClient.connect(path);
    const long = await sendRaw(path, new Uint8Array(LINE_BYTES_MAXIMUM + 1).fill(0x20));
    assert(long.includes(`longer than ${LINE_BYTES_MAXIMUM} bytes`), long);
    assert((await sendRaw(path, Uint8Array.of(0xc3, 0x28, 0x0a))).includes("no UTF-8"));
    assertEquals(repliesIn(await sendRaw(path, "half a request")), []);
    const lost = JSON.stringify({ id: 9, message: { kind: "end" } }) + "\n";
    assertEquals(repliesIn(await sendRaw(path, lost)), []);
    assertEquals((await other.ask("list", {})).vms.length, 1);
  });
});

Deno.test("clients beyond the limit are told so, and let in when there is room", async () => {
  await withServer([], async (path) => {
    const clients: ControlClient[] = [];
    for (let i = 0; i < CONNECTIONS_MAXIMUM; i++) clients.push(await ControlClient.connect(path));
    const late = ControlClient.connect(path);
    await assertRejects(() => late, HostError, `has ${CONNECTIONS_MAXIMUM} clients`);
    for (const client of clients) client.close();
    // The kernel sees that they left when it reads next.
    for (let isIn = false; !isIn;) {
      isIn = await ControlClient.connect(path).then((next) => {
        next.close();
        return true;
      }, () => false);
    }
  });
});

Deno.test("a client that reads no replies holds up nobody else", async () => {
  await withServer([new PretendedVm("web")], async (path) => {
    const deaf = await Deno.connect({ transport: "unix", path });
    const request = new TextEncoder().encode(
      (JSON.stringify({ version: 2, id: "x".repeat(200), command: "list" }) + "\n").repeat(200),
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
    assertEquals((await client.ask("list", {})).vms.length, 1);
    deaf.close();
    await sending;
  });
});

Deno.test("a kernel that says nothing, or another version, is given up", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/mute.sock`;
  using listener = Deno.listen({ transport: "unix", path });
  try {
    const silent = ControlClient.connect(path, 50);
    // It may be given up before anybody looks at it.
    silent.catch(() => {});
    const first = await listener.accept();
    await assertRejects(() => silent, HostError, "said nothing within 50 ms");
    first.close();
    const newer = ControlClient.connect(path);
    const second = await listener.accept();
    const hello = { version: 3, program: "9", process: 77 };
    await second.write(new TextEncoder().encode(JSON.stringify({ hello }) + "\n"));
    await assertRejects(() => newer, HostError, "Process 77 speaks version 3");
    second.close();
    const slow = ControlClient.connect(path);
    using third = await listener.accept();
    hello.version = 2;
    await third.write(new TextEncoder().encode(JSON.stringify({ hello }) + "\n"));
    using client = await slow;
    const asking = client.ask("list", {}, { milliseconds: 50 });
    await assertRejects(() => asking, HostError, "did not reply within 50 ms");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
