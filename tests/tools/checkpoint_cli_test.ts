/**
 * Claims about checkpoints on the command line: each command in a process of its own, over real machines that
 * run a small guest of ours, which counts what it reads (counting_guest.ts).
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { COUNT_OFFSET, countingGuest } from "../_support/counting_guest.ts";
import { type Outcome, readUntil, REAL, User } from "./user.ts";

const MACHINE = ["--kernel", "count.bin", "--bios", "none", "--memory", "16M"];

interface Listed {
  readonly name: string;
  readonly state: string;
  readonly memoryBytes: number;
  readonly process: number | null;
}

/** A user with the guest's image in their folder. */
async function makeUser(): Promise<User> {
  const user = await User.make(REAL);
  await Deno.writeFile(`${user.home}/count.bin`, countingGuest());
  return user;
}

/** Runs a command that must succeed; gives what it prints. */
async function done(user: User, ...words: string[]): Promise<string> {
  const { code, out, err } = await user.cli(...words);
  assertEquals([words, code, err], [words, 0, ""]);
  return out;
}

function assertFailure({ code, err }: Outcome, status: number, ...texts: (string | RegExp)[]) {
  assertEquals(code, status, err);
  for (const text of texts) {
    assert(typeof text === "string" ? err.includes(text) : text.test(err), `${text}: ${err}`);
  }
}

async function list(user: User, ...more: string[]): Promise<Listed[]> {
  return JSON.parse(await done(user, "ps", "--json", ...more));
}

const states = (rows: readonly Listed[]) =>
  rows.map(({ name, state }) => `${name} ${state}`).sort();

/** Types one letter in a VM that has read `before` letters, from a terminal that detaches then. */
async function countOn(user: User, vm: string, before: number): Promise<void> {
  const child = user.start("attach", vm);
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("x"));
  await readUntil(child.stdout, (text) => text.endsWith(`${before + 1}\n`));
  child.kill("SIGINT");
  await writer.close().catch(() => {});
  await child.status;
}

const jsonOf = async (user: User, ...words: string[]) =>
  JSON.parse(await done(user, "checkpoint", ...words, "--json"));

Deno.test("a checkpoint is made, listed, shown, compared, renamed, verified, and deleted", async () => {
  await using user = await makeUser();
  const cli = (...words: string[]) => user.cli("checkpoint", ...words);
  assertEquals(await jsonOf(user, "list"), []);
  await done(user, "run", "-d", "--name", "web", ...MACHINE);
  await countOn(user, "web", 0);
  const [first, facts] = (await done(user, "checkpoint", "create", "web", "before")).split("\n");
  assertMatch(first!, /^[0-9a-f]{32}$/);
  assertMatch(facts!, /^\d+ saved: \d+ new .*zero; the VM stood still for \d+\.\d\d ms$/);
  await countOn(user, "web", 1);
  const second = await jsonOf(user, "create", "web", "after");
  assertEquals([second.vm, second.label, second.parent], ["web", "after", first]);

  const listed = await jsonOf(user, "list");
  assertEquals(listed.map(({ id, label }: { id: string; label: string }) => [id, label]), [
    [first, "before"],
    [second.id, "after"],
  ]);
  const tree = (await done(user, "checkpoint", "list", "--tree")).split("\n");
  assert(tree[1]!.startsWith(first!.slice(0, 8)), tree[1]);
  assert(tree[2]!.startsWith(`  ${second.id.slice(0, 8)}`), tree[2]);
  // The name of the VM means its newest one.
  assertEquals((await jsonOf(user, "show", "web")).id, second.id);
  assertEquals((await jsonOf(user, "show", first!.slice(0, 12))).label, "before");
  assertMatch(await done(user, "checkpoint", "show", "before"), /^memory {4}16M$/m);

  const diff = await jsonOf(user, "diff", "before", "after");
  const counted = 0x8000_0000 + COUNT_OFFSET;
  assert(
    diff.pages.ranges.some(({ address, pages }: { address: number; pages: number }) =>
      address <= counted && counted < address + pages * 4096
    ),
    JSON.stringify(diff.pages),
  );
  await Deno.writeTextFile(`${user.home}/symbols`, `${counted.toString(16)} D counter\n`);
  const words = ["diff", "before", "after", "--symbols", "symbols", "--limit", "3"];
  const text = await done(user, "checkpoint", ...words);
  assert(text.includes(`0x${counted.toString(16)}  counter\n`), text);
  assertMatch(text, /^\d+ registers differ$/m);

  assertEquals(await done(user, "checkpoint", "verify"), "2 checkpoints: no damage\n");
  await done(user, "checkpoint", "rename", "after", "before");
  assertFailure(await cli("show", "before"), 2, '2 checkpoints are "before"', first!, second.id);
  assertFailure(await cli("delete", "web"), 2, 'There is no checkpoint "web"');
  assertMatch(await done(user, "checkpoint", "delete", first!), /^1 checkpoint deleted/);
  assertEquals(await done(user, "checkpoint", "verify"), "1 checkpoint: no damage\n");
  await countOn(user, "web", 2);
});

Deno.test("a checkpoint is restored as often as one likes, on the terminal and detached", async () => {
  await using user = await makeUser();
  await done(user, "run", "-d", "--name", "web", ...MACHINE);
  await countOn(user, "web", 0);
  await done(user, "checkpoint", "create", "web", "one");
  await countOn(user, "web", 1);
  const restored = await user.feed("xq", "checkpoint", "restore", "one");
  assertEquals(restored, { code: 0, out: "2\n", err: "" });
  const late = await user.feed("x", "checkpoint", "restore", "one", "--until", "2\n", "--lazy");
  assertEquals([late.code, late.out], [0, "2\n"]);
  // The name is taken by the VM that runs.
  assertEquals(await done(user, "checkpoint", "restore", "one", "-d", "--eager"), "web-2\n");
  await countOn(user, "web-2", 1);
  await countOn(user, "web", 2);
  const named = await user.cli("checkpoint", "restore", "one", "-d", "--name", "web");
  assertFailure(named, 2, 'There is a VM "web" already');
  await done(user, "stop", "web", "web-2");
});

Deno.test("a suspended VM goes on where it was, once; --fork makes others of it", async () => {
  await using user = await makeUser();
  await done(user, "run", "-d", "--name", "web", ...MACHINE);
  await countOn(user, "web", 0);
  const attached = user.start("attach", "web");
  await readUntil(attached.stdout, (text) => text === "ready\n1\n");
  const [id] = (await done(user, "suspend", "web")).split("\n");
  const said = await readUntil(attached.stderr, (text) => text.endsWith("\n"));
  assertEquals(said, 'chronovisor: the VM "web" was suspended\n');
  assertEquals(await list(user), []);
  assertEquals(states(await list(user, "--all")), ["web suspended"]);

  assertEquals(await done(user, "resume", "web", "-d"), "web\n");
  await countOn(user, "web", 1);
  assertEquals(states(await list(user, "--all")), ["web running"]);
  assertFailure(await user.cli("resume", "web"), 2, 'There is a VM "web" already');
  assertFailure(await user.cli("resume", id!, "--name", "b"), 2, "a VM runs from it already");
  await done(user, "stop", "web");
  assertFailure(await user.cli("resume", "web"), 2, "was resumed before", "--fork");
  const fork = await user.feed("xq", "resume", "web", "--fork");
  assertEquals(fork, { code: 0, out: "2\n", err: "" });
  // Its own name is free, and it is who it was.
  const again = await user.feed("xq", "checkpoint", "restore", id!);
  assertEquals(again, { code: 0, out: "2\n", err: "" });
  assertFailure(await user.cli("resume", "webb"), 2, "did you mean web?");
});

Deno.test("a VM on a terminal is suspended from elsewhere: its command says so, and ends", async () => {
  await using user = await makeUser();
  const running = user.start("run", "--name", "here", ...MACHINE);
  const writer = running.stdin.getWriter();
  await readUntil(running.stdout, (text) => text === "ready\n");
  await writer.write(new TextEncoder().encode("xx"));
  await readUntil(running.stdout, (text) => text === "1\n2\n");
  const { id } = JSON.parse(await done(user, "suspend", "here", "--label", "lunch", "--json"));
  assertEquals((await running.status).code, 0);
  const said = await readUntil(running.stderr, (text) => text.endsWith("\n"));
  assert(said.includes(`the VM "here" was suspended to checkpoint ${id}`), said);
  await writer.close().catch(() => {});
  assertEquals(await user.feed("xq", "resume", "lunch"), { code: 0, out: "3\n", err: "" });
  assertFailure(
    await user.cli("suspend", "here"),
    2,
    'There is no running VM "here"',
    "hint: `ps`",
  );
});

Deno.test("forks are parked until they are used, and the process stays for them", async () => {
  await using user = await makeUser();
  await done(user, "run", "-d", "--name", "web", ...MACHINE);
  await countOn(user, "web", 0);
  assertEquals(await done(user, "fork", "web", "-n", "3"), "web-1\nweb-2\nweb-3\n");
  assertEquals(await done(user, "fork", "web", "--name", "other"), "other\n");
  const rows = await list(user);
  const parked = rows.filter(({ state }) => state === "parked");
  assertEquals(parked.map(({ memoryBytes }) => memoryBytes), [0, 0, 0, 0]);
  // Nobody finds what their frozen states are kept in; it goes with the last of them.
  assertEquals((await jsonOf(user, "list")).map(({ kind }: { kind: string }) => kind), [
    "fork",
    "fork",
  ]);
  assertFailure(await user.cli("suspend", "web-1"), 2, "is parked");
  assertFailure(await user.cli("fork", "web", "--name", "web-2"), 2, "There is a VM");

  await countOn(user, "web-1", 1);
  await countOn(user, "web", 1);
  await done(user, "stop", "web");
  // Its process stays, and its name is free.
  assertEquals(await done(user, "run", "-d", "--name", "web", ...MACHINE), "web\n");
  await done(user, "stop", "web");
  assertEquals(states(await list(user)), [
    "other parked",
    "web-1 running",
    "web-2 parked",
    "web-3 parked",
  ]);
  await countOn(user, "web-1", 2);
  // Whoever comes at once finds the one VM.
  const both = ["attach", "attach"].map((word) => user.start(word, "web-2"));
  await countOn(user, "web-2", 1);
  for (const child of both) {
    await readUntil(child.stdout, (text) => text.endsWith("2\n"));
    child.kill("SIGINT");
    await child.status;
  }
  // What was fork is a VM like others.
  await done(user, "checkpoint", "create", "web-2", "from a fork");
  await done(user, "stop", "web-1", "web-2", "web-3", "other");
  // What the forks were made of goes with their process.
  await user.ended();
  assertEquals((await jsonOf(user, "list")).map(({ label }: { label: string }) => label), [
    "from a fork",
  ]);

  assertEquals(await done(user, "fork", "from a fork", "-n", "2", "--name", "t"), "t-1\nt-2\n");
  assertEquals(states(await list(user)), ["t-1 parked", "t-2 parked"]);
  await countOn(user, "t-2", 2);
  const [{ process }] = await list(user) as [Listed];
  Deno.kill(process!, "SIGTERM");
  await user.ended();
  assertEquals(user.files(), []);
});

Deno.test("forks of a VM on a terminal keep its command until they are gone", async () => {
  await using user = await makeUser();
  const running = user.start("run", "--name", "here", ...MACHINE);
  await readUntil(running.stdout, (text) => text === "ready\n");
  assertEquals(await done(user, "fork", "here", "-n", "2"), "here-1\nhere-2\n");
  const writer = running.stdin.getWriter();
  await writer.write(new TextEncoder().encode("q"));
  const said = await readUntil(running.stderr, (text) => text.endsWith("\n"));
  assertEquals(said, "chronovisor: here-1, here-2 here go on; Ctrl-C ends them\n");
  await countOn(user, "here-2", 0);
  await done(user, "stop", "here-1", "here-2");
  assertEquals((await running.status).code, 0);
  await writer.close().catch(() => {});
});

Deno.test("what is damaged, missing or of another version is named, with what to do", async () => {
  await using user = await makeUser();
  await done(user, "run", "-d", "--name", "web", ...MACHINE);
  const [parent] = (await done(user, "checkpoint", "create", "web", "parent")).split("\n");
  const [child] = (await done(user, "checkpoint", "create", "web", "child")).split("\n");
  await done(user, "stop", "web");
  const file = (id: string) => `${user.home}/checkpoints/checkpoints/${id}.checkpoint`;
  const cli = (...words: string[]) => user.cli("checkpoint", ...words);

  await Deno.rename(file(parent!), `${user.home}/elsewhere`);
  const orphan = await cli("restore", "child");
  assertFailure(orphan, 1, child!, parent!, "hint:");
  const verified = await cli("verify");
  assertEquals([verified.code, verified.out.includes("1 damaged")], [1, true], verified.out);
  await Deno.rename(`${user.home}/elsewhere`, file(parent!));
  assertEquals((await cli("verify")).code, 0);

  const packs = `${user.home}/checkpoints/packs`;
  for (const { name } of Deno.readDirSync(packs)) {
    const bytes = await Deno.readFile(`${packs}/${name}`);
    for (let at = 64; at < bytes.length; at += 64) bytes[at]! ^= 0x55;
    await Deno.writeFile(`${packs}/${name}`, bytes);
  }
  assertFailure(await cli("restore", "parent", "--eager"), 1, parent!, "hint:");
  assertEquals((await cli("verify", "parent")).code, 1);

  const bytes = await Deno.readFile(file(child!));
  for (let at = 0; at < 64; at++) bytes[at]! ^= 0x55;
  await Deno.writeFile(file(child!), bytes);
  const { code, err } = await cli("delete", "parent");
  assertEquals(
    [code, err.includes(`hint: delete the one that cannot be read first`)],
    [1, true],
    err,
  );
  const shown = await cli("list");
  assertEquals([shown.code, shown.out.includes(child!.slice(0, 8))], [0, true]);
  assertFailure(await cli("show", child!), 1, "hint: `checkpoint verify`");
  assertFailure(await cli("show", "child"), 2, 'There is no checkpoint "child"');
  for (const each of [child!, "parent"]) {
    const { code, out } = await cli("delete", each);
    assertEquals([code, out.startsWith("1 checkpoint deleted")], [0, true]);
  }
  assertEquals(await jsonOf(user, "list"), []);
});

Deno.test("command lines that make no sense are refused before anything is done", async () => {
  await using user = await makeUser();
  const cases: [string[], string | RegExp][] = [
    [["checkpoint", "create", "web", "a\nb"], "on one line"],
    [["checkpoint", "create", "web", "--rate", "0"], "whole number"],
    [["checkpoint", "create", "web", "--disk", "retian"], "Did you mean retain?"],
    [["checkpoint", "diff", "a"], "missing required argument 'b'"],
    [["checkpoint", "dif", "a", "b"], "Did you mean diff?"],
    [["fork", "web", "-n", "0"], "whole number"],
    [["fork", "web"], 'no running VM and no checkpoint "web"'],
    [["resume", "web"], 'There is no checkpoint "web"'],
    [["suspend", "web"], 'There is no running VM "web"'],
  ];
  for (const [words, message] of cases) assertFailure(await user.cli(...words), 2, message);
  assertEquals([...Deno.readDirSync(user.home)].map(({ name }) => name), ["count.bin"]);
});

Deno.test("what a VM uses first is learned from a recording, and from no other", async () => {
  await using user = await makeUser();
  await done(user, "run", "-d", "--name", "counter", "--record", "recording", ...MACHINE);
  await countOn(user, "counter", 0);
  const { id } = await jsonOf(user, "create", "counter");
  await countOn(user, "counter", 1);
  await done(user, "stop", "counter");
  const learn = (...words: string[]) => user.cli("checkpoint", "learn", ...words);
  const { code, out, err } = await learn(id.slice(0, 8), "recording");
  assertEquals([code, err], [0, ""]);
  assertMatch(out, /^[1-9]\d* pages are loaded first from now on\n$/);
  assertFailure(await learn(id, "nowhere"), 1, "nowhere");
  assertFailure(await learn("none", "recording"), 2, "none");
  assertFailure(await learn(id, "recording", "--milliseconds", "0"), 2, "--milliseconds");
});
