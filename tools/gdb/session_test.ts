/** Claims of a session, packet by packet: what each command answers, and how sessions end. */
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import {
  COUNTER,
  FakeDebugTarget,
  type FakeOptions,
} from "../../tests/_support/fake_debug_target.ts";
import { hexText } from "./numbers.ts";
import { asciiBytes, asciiText, framePacket, PACKET_BYTES, PacketReader } from "./packets.ts";
import { Session } from "./session.ts";

/** A client that talks to a session in memory. */
class Client {
  readonly target: FakeDebugTarget;
  readonly session: Session;
  raw = "";
  readonly #reader = new PacketReader();
  readonly #replies: string[] = [];
  #wake: () => void = () => {};

  constructor(options: FakeOptions = {}, target: FakeDebugTarget = new FakeDebugTarget(options)) {
    this.target = target;
    this.session = new Session(target, (bytes) => {
      this.raw += asciiText(bytes);
      for (const arrival of this.#reader.push(bytes)) {
        if (arrival.kind === "packet") this.#replies.push(asciiText(arrival.content));
      }
      this.#wake();
      return Promise.resolve();
    });
  }

  async reply(): Promise<string> {
    while (this.#replies.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
    return this.#replies.shift()!;
  }

  /** Sends a packet and gives its reply. */
  async ask(content: string | Uint8Array): Promise<string> {
    this.session.receive(framePacket(content));
    return await this.reply();
  }

  async end(): Promise<void> {
    this.session.close();
    await this.session.ended;
  }
}

/** Whether each packet gets its reply from a fresh machine. */
function answers(
  name: string,
  options: FakeOptions,
  table: readonly (readonly [string, string])[],
): void {
  Deno.test(name, async () => {
    const client = new Client(options);
    for (const [packet, reply] of table) {
      assertEquals([packet, await client.ask(packet)], [packet, reply]);
    }
    await client.end();
  });
}

answers("packets that are not known get the empty reply", {}, [
  ["vMustReplyEmpty", ""],
  ["vRun;", ""],
  ["!", ""],
  ["", ""],
  ["bx", ""],
  ["qTStatus", ""],
  ["qconstructor", ""],
  ["constructor", "E01"],
  ["QNonStop:1", ""],
  ["\xff\0", ""],
]);

answers("queries say what there is", { harts: 3 }, [
  ["qfThreadInfo", "m1,2,3"],
  ["qsThreadInfo", "l"],
  ["qC", "QC1"],
  ["qAttached", "1"],
  ["qSymbol::", "OK"],
  ["qOffsets", "Text=0;Data=0;Bss=0"],
  ["qThreadExtraInfo,2", hexText("machine mode")],
  ["qThreadExtraInfo,4", "E01"],
  ["T3", "OK"],
  ["T4", "E01"],
  ["Hg2", "OK"],
  ["qC", "QC2"],
  ["Hg4", "E01"],
  ["Hg0", "OK"],
  ["Hc-1", "OK"],
  ["Hx1", "E01"],
  ["vCont?", "vCont;c;C;s;S;t"],
  ["qXfer:features:read:other.xml:0,100", "E00"],
  ["qXfer:features:read:target.xml:zz,100", "E00"],
  ["qXfer:features:read:target.xml:ffffff,100", "l"],
]);

answers("registers and memory are checked whole before anything is done", {}, [
  ["p20", "0000008000000000"],
  ["p0", "0000000000000000"],
  ["p1c1", "x".repeat(16)],
  ["p2000", "E.there is no register 8192"],
  ["p", "E01"],
  ["P7=0102", "OK"],
  ["p7", "0102000000000000"],
  ["P7=", "E01"],
  ["P7=010203040506070809", "E01"],
  ["P0=01", "OK"],
  ["p0", "0000000000000000"],
  ["P361=00", "E.CSR 800 cannot be written"],
  ["G00", "E01"],
  [`G${"00".repeat(8)}${"x".repeat(16)}0a${"00".repeat(7)}`, "OK"],
  ["p2", "0a00000000000000"],
  ["m80001000,8", "0000000000000000"],
  ["M80001000,2:beef", "OK"],
  ["X80001002,2:#$", "OK"],
  ["m80001000,5", "beef232400"],
  ["m80001000,0", ""],
  ["X80001000,0:", "OK"],
  ["M80001000,3:beef", "E01"],
  ["M80001000", "E01"],
  ["m80001ffe,8", "0000"],
  ["m1000,8", "E01"],
  ["m10000000000000000,8", "E01"],
  ["mffffffffffffffff,ffffffff", "E01"],
  ["M1000,1:00", "E.0x1000 is not mapped"],
  ["m80001000,5,5", "E01"],
]);

answers("points are planted once, whoever asked for them how often", {}, [
  ["Z0,80000008,4", "OK"],
  ["Z0,80000008,4", "OK"],
  ["Z1,80000008,2", "OK"],
  ["z0,80000008,4", "OK"],
  ["z0,80000008,4", "OK"],
  ["Z2,80001000,0", "E.a watchpoint covers 1 to 4096 bytes, not 0"],
  ["Z2,80001000,1001", "E.a watchpoint covers 1 to 4096 bytes, not 4097"],
  ["Z5,80001000,4", "E01"],
  ["Z0,80001000", "E01"],
]);

Deno.test("a breakpoint stays until both kinds are taken back, and stops say which it was", async () => {
  const client = new Client();
  await client.ask("qSupported:swbreak+;hwbreak+");
  for (const packet of ["Z0,80000008,4", "Z1,80000008,4"]) await client.ask(packet);
  assertEquals(client.target.points.length, 1);
  assertMatch(await client.ask("c"), /^T05swbreak:;thread:1;/);
  await client.ask("z0,80000008,4");
  assertMatch(await client.ask("c"), /^T05hwbreak:;thread:1;2:.{16};8:.{16};20:0800008000000000;$/);
  await client.ask("z1,80000008,4");
  assertEquals(client.target.points, []);
  await client.end();
});

Deno.test("points are bounded", async () => {
  const client = new Client();
  for (let i = 0; i < 1024; i++) await client.ask(`Z0,${i.toString(16)},4`);
  assertStringIncludes(await client.ask("Z0,80000000,4"), "E.there are 1024");
  assertEquals(await client.ask("z0,0,4"), "OK");
  assertEquals(await client.ask("Z0,80000000,4"), "OK");
  await client.end();
});

Deno.test("vCont steps the hart that its leftmost action names, and goes on otherwise", async () => {
  const client = new Client({ harts: 3 });
  for (
    const [packet, how] of [
      ["vCont;s:2;c", "resume forward step 1"],
      ["vCont;S05:3", "resume forward step 2"],
      ["vCont;s", "resume forward step 2"],
      ["Hg1", undefined],
      ["vCont;s", "resume forward step 0"],
      ["vCont;t:1;s:1;s:-1", "resume forward step 1"],
      ["Hc3", undefined],
      ["s", "resume forward step 2"],
      ["Hg2", undefined],
      ["S05", "resume forward step 2"],
      ["Hc0", undefined],
      ["Hg2", undefined],
      ["s", "resume forward step 1"],
    ] as const
  ) {
    const before = client.target.calls.length;
    await client.ask(packet);
    assertEquals([packet, ...client.target.calls.slice(before)], [packet, ...how ? [how] : []]);
  }
  assertMatch(await client.ask("vCont;t"), /^T05thread:2;/);
  for (
    const packet of ["vCont;", "vCont;x", "vCont;s:4", "vCont;C", "vCont;c:1:1", "c8000x", "C5"]
  ) {
    assertEquals([packet, await client.ask(packet)], [packet, "E01"]);
  }
  await client.end();
});

Deno.test("the hart of a stop is the chosen one, at the start as well; a seek chooses none", async () => {
  const client = new Client({ harts: 3, replayed: 100 });
  await client.target.seek(7);
  assertMatch(await client.ask("?"), /^T05thread:2;/);
  assertEquals(await client.ask("qC"), "QC2");
  client.session.receive(framePacket(`qRcmd,${hexText("seek 3")}`));
  while (await client.reply() !== "OK");
  assertEquals(client.target.icount, 3);
  assertEquals(await client.ask("qC"), "QC2");
  assertMatch(await client.ask("c"), /^T05replaylog:end;thread:2;/);
  await client.end();
});

Deno.test("a watchpoint's stop is told with the address; the step over the access is done already", async () => {
  const client = new Client({ harts: 2 });
  const point = `Z2,${(COUNTER + 12n).toString(16)},4`;
  await client.ask(point);
  assertMatch(await client.ask("c"), /^T05watch:8000100c;thread:2;.*20:0800008000000000;$/);
  await client.ask(point.replace("Z", "z"));
  assertMatch(await client.ask("vCont;s:2"), /^T05thread:2;.*20:0800008000000000;$/);
  assertMatch(await client.ask("vCont;s:2"), /^T05thread:2;.*20:0c00008000000000;$/);
  assertEquals(client.target.calls, ["resume forward", "resume forward step 1"]);
  await client.ask(point);
  await client.ask("c");
  assertMatch(await client.ask("vCont;s:2"), /20:0c00008000000000;$/, "a watchpoint that stays");
  await client.end();
});

Deno.test("going on at an address moves the hart there first", async () => {
  const client = new Client();
  assertMatch(await client.ask("s80000008"), /20:0c00008000000000;$/);
  assertMatch(await client.ask("S05;80000000"), /20:0400008000000000;$/);
  await client.end();
});

Deno.test("a replay ends at both ends, and cannot be changed", async () => {
  const client = new Client({ replayed: 8 });
  assertStringIncludes(await client.ask("qSupported:"), "ReverseStep+;ReverseContinue+");
  assertMatch(await client.ask("bs"), /^T05replaylog:begin;thread:1;/);
  assertMatch(await client.ask("c"), /^T05replaylog:end;thread:1;/);
  assertMatch(await client.ask("bs"), /^T05thread:1;.*20:0c00008000000000;$/);
  assertMatch(await client.ask("bc"), /^T05replaylog:begin;/);
  const reason = "E.this is a replay: it cannot be changed";
  for (const packet of ["P5=01", `M${COUNTER.toString(16)},1:00`, "c80000000"]) {
    assertEquals([packet, await client.ask(packet)], [packet, reason]);
  }
  await client.end();
});

Deno.test("a live machine refuses to go back, and says so", async () => {
  const client = new Client();
  assertEquals(await client.ask("bs"), "E.the machine is not replayed: it cannot go back");
  await client.ask(`qRcmd,${hexText("seek 3")}`).then((reply) => {
    assertEquals(reply, `O${hexText("the machine is not replayed: it cannot go back\n")}`);
  });
  assertEquals(await client.reply(), "OK");
  await client.end();
});

Deno.test("a client that reads error texts gets them for memory, too", async () => {
  const client = new Client();
  await client.ask("qSupported:error-message+");
  assertEquals(await client.ask("m1000,8"), "E.no memory at 0x1000");
  await client.end();
});

Deno.test("documents come in pieces", async () => {
  const client = new Client();
  const pieces: string[] = [];
  for (let at = 0;;) {
    const reply = await client.ask(`qXfer:features:read:target.xml:${at.toString(16)},3e8`);
    pieces.push(reply.slice(1));
    at += reply.length - 1;
    if (reply.startsWith("l")) break;
  }
  const whole = pieces.join("");
  assertStringIncludes(whole, '<reg name="mstatus" bitsize="64" regnum="833" type="int"/>');
  assertMatch(whole, /<\/target>\n$/);
  assertEquals(pieces.slice(0, -1).every((piece) => piece.length === 1000), true);
  await client.end();
});

Deno.test("an interrupt stops the machine, also when it comes with the packet that starts it", async () => {
  const client = new Client();
  const going = client.ask("c");
  await new Promise((resolve) => setTimeout(resolve, 20));
  client.session.receive(asciiBytes("\x03"));
  assertMatch(await going, /^T02thread:1;/);
  client.session.receive(asciiBytes(`${asciiText(framePacket("vCont;c"))}\x03`));
  assertMatch(await client.reply(), /^T02thread:1;/);
  // One that finds the machine standing still does nothing.
  client.session.receive(asciiBytes("\x03"));
  assertMatch(await client.ask("s"), /^T05/);
  await client.end();
});

Deno.test("packets are acknowledged until the client wants no more of it", async () => {
  const client = new Client();
  await client.ask("qC");
  assertEquals(client.raw, "+$QC1#c5");
  client.session.receive(asciiBytes("-$qC#00"));
  assertEquals(await client.reply(), "QC1");
  await client.ask("QStartNoAckMode");
  assertEquals(client.raw, "+$QC1#c5$QC1#c5-+$OK#9a");
  client.raw = "";
  client.session.receive(asciiBytes("-$qC#00"));
  assertStringIncludes(await client.reply(), "E.the packet was damaged");
  assertEquals(client.raw.startsWith("$E."), true);
  await client.end();
});

Deno.test("a client that goes away while the machine runs detaches it", async () => {
  const client = new Client();
  client.session.receive(framePacket("c"));
  await new Promise((resolve) => setTimeout(resolve, 20));
  client.session.close();
  assertEquals(await client.session.ended, "left");
  assertEquals(client.target.calls, ["resume forward", "interrupt", "detach"]);
});

Deno.test("a client that never said anything detaches nothing", async () => {
  const client = new Client();
  client.session.receive(asciiBytes("GET / HTTP/1.1\r\n\r\n"));
  client.session.close();
  assertEquals(await client.session.ended, "silent");
  assertEquals(client.target.calls, []);
});

Deno.test("leaving detaches once, and ends the session", async () => {
  for (const [packet, reply] of [["D", "OK"], ["vKill;1", "OK"], ["k", undefined]] as const) {
    const client = new Client();
    client.session.receive(framePacket(packet));
    assertEquals(await client.session.ended, "left");
    if (reply !== undefined) assertEquals(await client.reply(), reply);
    assertEquals(client.target.calls, ["detach"]);
    assertEquals(client.session.receive(framePacket("qC")), false);
  }
});

Deno.test("a client that does not wait for replies is cut off", async () => {
  const client = new Client();
  const packets = Array.from({ length: 1000 }, () => asciiText(framePacket("c"))).join("");
  assertEquals(client.session.receive(asciiBytes(packets)), false);
  await client.session.ended;
});

Deno.test("long console text comes in packets that gdb can hold", async () => {
  const target = new FakeDebugTarget();
  target.info = () => Promise.resolve("ü€😀".repeat(5000));
  const client = new Client({}, target);
  let text = "";
  client.session.receive(framePacket(`qRcmd,${hexText("info")}`));
  for (let reply = await client.reply(); reply !== "OK"; reply = await client.reply()) {
    assertEquals(reply.length <= PACKET_BYTES && reply.startsWith("O"), true);
    text += reply.slice(1);
  }
  assertEquals(text, hexText("ü€😀".repeat(5000) + "\n"));
  await client.end();
});

Deno.test("an error of ours in the target ends the session with it", async () => {
  const target = new FakeDebugTarget();
  target.registers = () => Promise.reject(new Broken("a hart is missing"));
  const client = new Client({}, target);
  client.session.receive(framePacket("g"));
  await assertRejects(() => client.session.ended, Broken, "a hart is missing");
});
