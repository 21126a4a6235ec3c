/** Claims of the gdb server, made by Debian's gdb itself over TCP against a machine of a few lines. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import {
  COUNTER,
  FakeDebugTarget,
  LOOP_JUMP,
  LOOP_LOAD,
} from "../../tests/_support/fake_debug_target.ts";
import { continueForASecond, GDB, GDB_PATIENCE } from "../../tests/_support/gdb.ts";
import { peerTest, runPeer } from "../../tests/_support/peers.ts";
import { parseSymbolText, writeSymbolElf } from "../symbols/mod.ts";
import { startGdbServer } from "./mod.ts";

/** gdb would like to have the program's file; the machine has none. */
const NO_PROGRAM = /warning: No executable has been specified[^]*?"file" command\.\n/;

/** What gdb prints, on both streams, for commands behind its connecting. */
async function gdb(target: FakeDebugTarget, ...commands: string[]): Promise<string> {
  await using server = startGdbServer(target, 0);
  const all = [
    ...GDB_PATIENCE,
    "set confirm off",
    `target remote 127.0.0.1:${server.port}`,
    ...commands,
  ];
  const args = ["-nx", "-batch", ...all.flatMap((command) => ["-ex", command])];
  const { stdout, stderr } = await runPeer(GDB, args);
  return new TextDecoder().decode(stdout) + stderr.replace(NO_PROGRAM, "");
}

const hex = (value: bigint) => `0x${value.toString(16)}`;

peerTest("gdb takes the target description and shows all kinds of registers", [GDB], async () => {
  const target = new FakeDebugTarget({ harts: 2 });
  const text = await gdb(
    target,
    "info registers",
    "p/x $mstatus",
    "p $fa0",
    "p $priv",
    "p/x $mhartid",
    "p $satp",
    "p/x $fcsr",
    "show architecture",
    "thread 2",
    "p/x $mhartid",
  );
  for (const warning of ["warning", "rror", "nrecognized"]) {
    assert(!text.includes(warning), `gdb has nothing to say against it:\n${text}`);
  }
  assertMatch(text, /sp\s+0x80002000/);
  assertMatch(text, /a0\s+0x80001000/);
  assertMatch(text, /pc\s+0x80000000/);
  assertStringIncludes(text, "$1 = 0xa00001800");
  assertStringIncludes(text, "double = 1.5");
  assertStringIncludes(text, "$3 = 3");
  assertStringIncludes(text, "$4 = 0x0");
  assertStringIncludes(text, "$5 = <unavailable>");
  assertStringIncludes(text, "riscv:rv64");
  assertStringIncludes(text, "$7 = 0x1");
});

peerTest("gdb reads every register that there is", [GDB], async () => {
  const text = await gdb(new FakeDebugTarget(), "info all-registers", "echo the end\\n");
  for (const name of ["ft11", "pmpaddr15", "hpmcounter31", "menvcfg", "stimecmp", "mepc"]) {
    assertMatch(text, new RegExp(`^${name}\\s`, "m"));
  }
  assertStringIncludes(text, "the end");
});

peerTest("gdb shows harts as threads, and the memory map with its gaps", [GDB], async () => {
  const text = await gdb(new FakeDebugTarget({ harts: 3 }), "info threads", "info mem");
  assertMatch(text, /\* 1 .*Thread 1 "hart 0" \(machine mode\).*0x0*80000000/);
  assertMatch(text, /^ +3 .*Thread 3 "hart 2" \(machine mode\)/m);
  assertMatch(text, /0x0*10000000 0x0*10000100 rw/);
  assertMatch(text, /0x0*80000000 0x0*80002000 rw/);
  assertMatch(text, /0x0*80002000 0x0*10000000000000000 rw/);
});

peerTest("gdb reads and writes memory and registers of a live machine", [GDB], async () => {
  const target = new FakeDebugTarget();
  const text = await gdb(
    target,
    `x/4i ${hex(LOOP_LOAD - 8n)}`,
    `set {long}${hex(COUNTER)} = 0x23242a7d03`,
    `p/x *(long *)${hex(COUNTER)}`,
    "set $t2 = -2",
    "p $t2",
    "set $priv = 1",
    "p $priv",
    "p *(int *)0x1234",
    "p *(int *)0xffffffff80000000",
  );
  assertMatch(text, /add\s+t0,t0,1/);
  assertStringIncludes(text, "$1 = 0x23242a7d03");
  assertStringIncludes(text, "$2 = -2");
  assertStringIncludes(text, "$3 = 1");
  assertStringIncludes(text, "Cannot access memory at address 0x1234");
  assertStringIncludes(text, "Cannot access memory at address 0xffffffff80000000");
  assertEquals(target.hart(0)[7], 0xffff_ffff_ffff_fffen);
});

peerTest("gdb stops at a name of a symbol file", [GDB], async () => {
  const path = await Deno.makeTempFile({ suffix: ".elf" });
  try {
    const table = parseSymbolText("80000000 T loop\n80000008 T again\n80001000 D counter\n");
    await Deno.writeFile(path, writeSymbolElf(table));
    const text = await gdb(
      new FakeDebugTarget(),
      `symbol-file ${path}`,
      "break *again",
      "continue",
      "p (long)counter",
      "info symbol $pc + 4",
    );
    assertMatch(text, /Breakpoint 1, 0x0*80000008 in again \(\)/);
    assertStringIncludes(text, "$1 = 1");
    assertStringIncludes(text, "again + 4 in section .text");
  } finally {
    await Deno.remove(path);
  }
});

for (const kind of ["break", "hbreak"]) {
  peerTest(`gdb stops at a place (${kind}) and steps from it`, [GDB], async () => {
    const target = new FakeDebugTarget();
    const text = await gdb(
      target,
      `${kind} *${hex(LOOP_JUMP)}`,
      "continue",
      "continue",
      "p $t0",
      "stepi",
      "p $pc",
      "info breakpoints",
    );
    assertMatch(text, /Breakpoint 1, 0x0*8000000c/);
    assertStringIncludes(text, "$1 = 2");
    assertMatch(text, /\$2 = .*0x80000000/);
    assertMatch(text, /breakpoint already hit 2 times/);
    assertEquals(target.icount, 8);
  });
}

peerTest("gdb steps where it takes the machine for a Linux program", [GDB], async () => {
  const target = new FakeDebugTarget();
  const text = await gdb(target, "set osabi GNU/Linux", "stepi 4", "stepi", "p $pc");
  assertMatch(text, /\$1 = .*0x80000004/);
  assertEquals(target.icount, 5);
  assertEquals(target.calls, [...Array(5).fill("resume forward"), "detach"], "by breakpoints");
});

peerTest("gdb watches writes, reads and both", [GDB], async () => {
  const target = new FakeDebugTarget();
  const place = `*(long *)${hex(COUNTER)}`;
  const text = await gdb(
    target,
    `watch ${place}`,
    "continue",
    "delete",
    `rwatch ${place}`,
    "continue",
    "delete",
    `awatch ${place}`,
    "continue",
    "continue",
  );
  assertMatch(text, /Hardware watchpoint 1: .*\n\nOld value = 0\nNew value = 1\n0x0*80000008/);
  assertMatch(text, /Hardware read watchpoint 2: .*\n\nValue = 1\n0x0*8000000c/);
  assertMatch(
    text,
    /Hardware access \(read\/write\) watchpoint 3: .*\n\nOld value = 1\nNew value = 2/,
  );
  assertMatch(text, /Hardware access \(read\/write\) watchpoint 3: .*\n\nValue = 2/);
});

peerTest(
  "gdb goes backwards in a replay: steps, breakpoints, watchpoints, the start",
  [GDB],
  async () => {
    const target = new FakeDebugTarget({ replayed: 4000 });
    const text = await gdb(
      target,
      "stepi 6",
      "reverse-stepi",
      "p $pc",
      `break *${hex(LOOP_JUMP)}`,
      "reverse-continue",
      "p $t0",
      "delete",
      "continue",
      "monitor when",
      `watch *(long *)${hex(COUNTER)}`,
      "reverse-continue",
      "p $pc",
      "delete",
      "reverse-continue",
      "p $pc",
    );
    assertMatch(text, /\$1 = .*0x80000004/);
    assertMatch(text, /Breakpoint 1, 0x0*8000000c/);
    assertStringIncludes(text, "$2 = 1");
    assertStringIncludes(text, "icount 4000, guest time 0.0040000 s, turn of hart 0");
    assertMatch(text, /Old value = 1000\nNew value = 999\n/);
    assertMatch(text, /\$3 = .*0x80000004/);
    assertEquals(text.match(/No more reverse-execution history/g)?.length, 2);
    assertMatch(text, /\$4 = .*0x80000000/);
  },
);

peerTest("gdb goes back and forth between the harts of a replay", [GDB], async () => {
  const target = new FakeDebugTarget({ harts: 2, replayed: 100 });
  const text = await gdb(
    target,
    "thread 2",
    "stepi 3",
    "p $pc",
    "reverse-stepi",
    "p $pc",
    "thread 1",
    "reverse-stepi",
    "monitor when",
  );
  assertMatch(text, /\$1 = .*0x8000000c/);
  assertMatch(text, /\$2 = .*0x80000008/);
  assertStringIncludes(text, "icount 4,");
  assert(target.calls.includes("resume backward step 1"), target.calls.join());
  assert(target.calls.includes("resume backward step 0"), target.calls.join());
});

peerTest("a live machine is not offered to go back", [GDB], async () => {
  const text = await gdb(new FakeDebugTarget(), "stepi", "reverse-stepi");
  assertStringIncludes(text, "Target remote does not support this command");
});

peerTest("what would change a replay is refused, and gdb shows why", [GDB], async () => {
  const target = new FakeDebugTarget({ replayed: 100 });
  const text = await gdb(
    target,
    "set $t0 = 5",
    `set {long}${hex(COUNTER)} = 1`,
    "stepi",
    `set {long}${hex(COUNTER)} = 2`,
    "monitor info",
    "monitor info",
  );
  assertStringIncludes(text, 'Could not write register "t0"');
  assertStringIncludes(text, "this is a replay: it cannot be changed");
  assertStringIncludes(text, `Cannot access memory at address ${hex(COUNTER)}`);
  const reason = `${hex(COUNTER)} was not written: this is a replay: it cannot be changed`;
  assertEquals(text.split(reason).length - 1, 2, "each refusal is told once");
});

peerTest("monitor commands print, and say how they are used", [GDB], async () => {
  const target = new FakeDebugTarget({ replayed: 100 });
  const text = await gdb(
    target,
    "monitor help",
    "monitor info",
    "monitor checkpoint list",
    "monitor checkpoint",
    "monitor seek 10",
    "maintenance flush register-cache",
    "p $t0",
    "monitor seek -3",
    "monitor seek soon",
    "monitor sek 4",
    "monitor when",
  );
  assertMatch(text, /seek \[\+\|-\]ICOUNT +go to/);
  assertStringIncludes(text, "a loop on 1 harts: $, #, } and *");
  assertStringIncludes(text, "icount 0, 8K");
  assertStringIncludes(text, "Usage: monitor checkpoint list");
  assertStringIncludes(text, "$1 = 3");
  assertStringIncludes(text, "Usage: monitor seek [+|-]ICOUNT");
  assertStringIncludes(text, "There is no command sek: did you mean seek?");
  assertMatch(text, /icount 7,[^\n]*\n$/);
});

peerTest("gdb leaves the machine running when it detaches or ends", [GDB], async () => {
  for (const commands of [["detach"], ["stepi"], ["kill"]]) {
    const target = new FakeDebugTarget();
    await gdb(target, ...commands);
    assertEquals(target.calls.filter((call) => call === "detach"), ["detach"], commands.join());
  }
});

peerTest("gdb learns that the machine exited, and with which status", [GDB], async () => {
  const text = await gdb(new FakeDebugTarget({ exitsAfter: 10 }), "continue");
  assertStringIncludes(text, "exited with code 03");
});

peerTest("gdb stops a running machine when its user wants it", [GDB], async () => {
  const target = new FakeDebugTarget();
  // Without a terminal, the interrupt comes from gdb's own Python.
  const text = await gdb(
    target,
    ...continueForASecond(),
    "p $t0 > 0",
  );
  assertStringIncludes(text, "Program received signal SIGINT");
  assertStringIncludes(text, "$1 = 1");
  assert(target.calls.includes("interrupt"));
});

peerTest("a second debugger is told that there is one already", [GDB], async () => {
  const target = new FakeDebugTarget();
  await using server = startGdbServer(target, 0);
  const first = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await first.write(new TextEncoder().encode("$?#3f"));
  await first.read(new Uint8Array(100));
  const args = ["-nx", "-batch", "-ex", `target remote 127.0.0.1:${server.port}`];
  const { stderr } = await runPeer(GDB, args);
  first.close();
  assertStringIncludes(stderr, "another debugger is connected");
});
