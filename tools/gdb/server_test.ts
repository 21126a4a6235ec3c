/** Claims of the server: one debugger at a time, clear refusals, and an end that leaves nothing open. */
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { ConfigError, HostError } from "../../kernel/base/errors.ts";
import { FakeDebugTarget } from "../../tests/_support/fake_debug_target.ts";
import { startGdbServer } from "./mod.ts";
import { asciiBytes, asciiText, framePacket } from "./packets.ts";

const connect = (port: number) => Deno.connect({ hostname: "127.0.0.1", port });

async function ask(connection: Deno.TcpConn, content: string): Promise<string> {
  await connection.write(framePacket(content));
  let text = "";
  while (!/\$[^#]*#..$/.test(text)) {
    const piece = await read(connection);
    if (piece === "") break;
    text += piece;
  }
  return text;
}

/** What comes next, or "" at the end. */
async function read(connection: Deno.TcpConn): Promise<string> {
  const buffer = new Uint8Array(4096);
  const count = await connection.read(buffer).catch(() => null);
  return asciiText(buffer.subarray(0, count ?? 0));
}

Deno.test("a port that is no port or is taken is refused with its number", async () => {
  const target = new FakeDebugTarget();
  for (const port of [-1, 65536, 1.5, NaN]) {
    assertThrows(() => startGdbServer(target, port), ConfigError, `${port}`);
  }
  await using server = startGdbServer(target, 0);
  assertThrows(() => startGdbServer(target, server.port), HostError, `port ${server.port}`);
});

Deno.test("a debugger that left cannot come again unless the target can be attached to", async () => {
  const target = new FakeDebugTarget();
  const server = startGdbServer(target, 0);
  using connection = await connect(server.port);
  assertEquals(await ask(connection, "D"), "+$OK#9a");
  await server.done;
  await assertRejects(() => connect(server.port), Deno.errors.ConnectionRefused);
});

Deno.test("a target that can be attached to serves one debugger after the other", async () => {
  const target = new FakeDebugTarget({ attachable: true });
  await using server = startGdbServer(target, 0);
  for (let i = 0; i < 3; i++) {
    using connection = await connect(server.port);
    assertEquals(await ask(connection, "qC"), "+$QC1#c5");
    await ask(connection, "D");
    assertEquals(await read(connection), "");
  }
  const silent = await connect(server.port);
  await silent.closeWrite();
  assertEquals(await read(silent), "");
  silent.close();
  const again = ["attach", "detach"];
  assertEquals(target.calls, ["detach", ...again, ...again, ...again]);
});

Deno.test("a machine that exited is served to nobody else", async () => {
  const server = startGdbServer(new FakeDebugTarget({ attachable: true, exitsAfter: 5 }), 0);
  const connection = await connect(server.port);
  assertStringIncludes(await ask(connection, "c"), "$W03#");
  connection.close();
  await server.done;
});

Deno.test("one that connects and says nothing leaves the machine to the next", async () => {
  const target = new FakeDebugTarget();
  await using server = startGdbServer(target, 0);
  for (let i = 0; i < 3; i++) {
    using connection = await connect(server.port);
    await connection.closeWrite();
    assertEquals(await read(connection), "");
  }
  using connection = await connect(server.port);
  assertEquals(await ask(connection, "qC"), "+$QC1#c5");
  assertEquals(target.calls, []);
});

Deno.test("a second debugger is refused, and the first does not notice", async () => {
  await using server = startGdbServer(new FakeDebugTarget(), 0);
  using first = await connect(server.port);
  await ask(first, "qC");
  using second = await connect(server.port);
  assertStringIncludes(await ask(second, "qSupported"), "+$E.another debugger is connected#");
  assertEquals(await read(second), "");
  assertEquals(await ask(first, "qC"), "+$QC1#c5");
});

Deno.test("disposing of the server detaches the machine, running or not", async () => {
  for (const packet of ["qC", "c"]) {
    const target = new FakeDebugTarget();
    const server = startGdbServer(target, 0);
    using connection = await connect(server.port);
    await connection.write(framePacket(packet));
    assertEquals((await read(connection)).startsWith("+"), true);
    await server[Symbol.asyncDispose]();
    await server.done;
    assertEquals(target.calls.at(-1), "detach");
  }
});

Deno.test("a client that reads nothing and goes is no harm", async () => {
  const target = new FakeDebugTarget();
  target.info = () => Promise.resolve("x".repeat(3_000_000));
  const server = startGdbServer(target, 0);
  const connection = await connect(server.port);
  await connection.write(framePacket("qRcmd,696e666f"));
  await connection.write(asciiBytes("+".repeat(1000)));
  connection.close();
  await server.done;
  assertEquals(target.calls, ["detach"]);
});

Deno.test("an error of ours in the target is what `done` rejects with", async () => {
  const target = new FakeDebugTarget();
  target.registers = () => Promise.reject(new Broken("a hart is missing"));
  const server = startGdbServer(target, 0);
  using connection = await connect(server.port);
  await connection.write(framePacket("g"));
  await assertRejects(() => server.done, Broken, "a hart is missing");
});
