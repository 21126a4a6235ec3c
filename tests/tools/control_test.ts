/** Claims about commands for VMs of other processes, over fake machines and the real command line. */
import { assert, assertEquals } from "@std/assert";
import { ECHO, MAIN, User } from "./user.ts";

/** A process that nobody has. */
const NOBODY = 4_194_305;

/** Something else than a kernel at a socket of a user; `serve` has each connection. */
async function listenAs(
  user: User,
  serve: (connection: Deno.Conn, path: string) => Promise<void>,
): Promise<AsyncDisposable> {
  await Deno.mkdir(user.sockets, { mode: 0o700 });
  const path = `${user.sockets}/${NOBODY}-0000.sock`;
  const listener = Deno.listen({ transport: "unix", path });
  const serving = (async () => {
    for await (const connection of listener) await serve(connection, path);
  })();
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

Deno.test("a running VM is listed, recorded from another process, and gone when it ends", async () => {
  await using user = await User.make();
  const vm = await user.runEcho("--name", "web");
  const [socket] = user.files();
  const { mode } = await Deno.stat(`${user.sockets}/${socket}`);
  assertEquals(mode! & 0o777, 0o600);
  assertEquals((await Deno.stat(user.sockets)).mode! & 0o777, 0o700);

  const listed = await user.cli("ps");
  const [head, row, ...others] = listed.out.trimEnd().split("\n");
  assertEquals([listed.code, others], [0, []]);
  const columns = "NAME GUEST STATE INSTRUCTIONS MEMORY UPTIME PROCESS RECORDING";
  assertEquals(head!.split(/ +/), columns.split(" "));
  assert(new RegExp(`^web +- +running +\\d+ +1M +\\d+s +${vm.pid} +-$`).test(row!), listed.out);

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
  assertEquals(user.files(), []);
  assertEquals((await user.cli("ps", "--json")).out, "[]\n");
  const gone = await user.cli("record", "stop", "web");
  assertEquals([gone.code, gone.err], [2, 'chronovisor: There is no running VM "web"\n']);
});

Deno.test("a name that was asked for is one VM's alone, in all processes", async () => {
  await using user = await User.make();
  const first = await user.runEcho("--name", "web");
  const refusal = `chronovisor: There is a VM "web" already, in process ${first.pid}: expected ` +
    "another name\n";
  for (const words of [["run", ...ECHO], ["exec", "agent", "--", "true"], ["run", "-d", ...ECHO]]) {
    const { code, out, err } = await user.cli(words[0]!, "--name", "web", ...words.slice(1));
    assertEquals([code, out, err], [2, "", refusal]);
  }
  await user.end(first);
  await user.end(await user.runEcho("--name", "web"));
  // Of many who ask at once, one gets it.
  const asked = Array.from({ length: 4 }, () => user.cli("run", "-d", "--name", "web", ...ECHO));
  const codes = (await Promise.all(asked)).map(({ code }) => code);
  assertEquals(codes.sort(), [0, 2, 2, 2]);
  assertEquals((await user.cli("stop", "web")).code, 0);
});

Deno.test("a name that two VMs share, because nobody chose it, is refused, and both are named", async () => {
  await using user = await User.make();
  const [a, b] = [await user.runGuest("echo"), await user.runGuest("echo")];
  const { code, err } = await user.cli("record", "start", "echo", "folder");
  assertEquals(code, 2);
  const [first, second] = [a.pid, b.pid].toSorted((x, y) => x - y);
  assert(err.includes(`2 VMs have the name "echo" (processes ${first}, ${second})`), err);
  await user.end(a);
  assertEquals((await user.cli("record", "start", "echo", "folder")).code, 0);
});

Deno.test("the socket of a kernel that was killed is removed by whoever looks next", async () => {
  await using user = await User.make();
  const [killed, kept] = [
    await user.runEcho("--name", "killed"),
    await user.runEcho("--name", "kept"),
  ];
  killed.kill("SIGKILL");
  await killed.status;
  assertEquals(user.files().length, 2);
  const rows = JSON.parse((await user.cli("ps", "--json")).out) as { name: string }[];
  assertEquals(rows.map(({ name }) => name), ["kept"]);
  assertEquals(user.files().length, 1);
  await user.end(kept);
});

Deno.test("a kernel that ends while it is asked is none, whenever it hangs up", async () => {
  for (
    const hello of ["", JSON.stringify({ hello: { version: 2, program: "", process: NOBODY } })]
  ) {
    await using user = await User.make();
    let times = 0;
    await using _ending = await listenAs(user, async (connection, path) => {
      if (hello !== "") await connection.write(new TextEncoder().encode(`${hello}\n`));
      // Its process closes the connection a moment before its socket is gone.
      if (times++ === 1) await Deno.remove(path);
      connection.close();
    });
    assertEquals(await user.cli("ps", "--json"), { code: 0, out: "[]\n", err: "" });
    assertEquals(times, 2);
  }
});

Deno.test("no name is given away while a kernel does not say which it has", async () => {
  await using user = await User.make();
  await using _other = await listenAs(user, async (connection) => {
    const hello = { version: 9, program: "", process: NOBODY };
    await connection.write(new TextEncoder().encode(`${JSON.stringify({ hello })}\n`));
    await connection.readable.pipeTo(new WritableStream()).catch(() => {});
  });
  const { code, err } = await user.cli("run", "-d", "--name", "web", ...ECHO);
  assertEquals(code, 1);
  assert(err.includes(`process ${NOBODY} does not answer: Process ${NOBODY} speaks`), err);
});

Deno.test("a VM whose socket cannot be made runs all the same, and says so", async () => {
  await using user = await User.make();
  await Deno.writeTextFile(user.sockets, "in the way");
  const machine = ["--kernel", MAIN, "--memory", "1M", "--append", "say 7 hello"];
  const { code, out, err } = await user.cli("run", "--name", "web", ...machine);
  assertEquals([code, out], [7, "hello"]);
  assert(err.startsWith("chronovisor: Cannot open the control socket "), err);
  await Deno.remove(user.sockets);
});

Deno.test("a VM that runs a command is listed too, under its guest's name", async () => {
  await using user = await User.make();
  const asked = user.cli("exec", "agent", "--timeout", "120", "--", "sleep", "60");
  let rows: { name: string; process: number }[] = [];
  while (rows.length === 0) rows = JSON.parse((await user.cli("ps", "--json")).out);
  assertEquals(rows.map(({ name }) => name), ["agent"]);
  Deno.kill(rows[0]!.process, "SIGTERM");
  assertEquals((await asked).code, 143);
  assertEquals(user.files(), []);
});
