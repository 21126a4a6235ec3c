/**
 * Nondeterministic instructions (requirements S20): what is recorded, what a replay of it is, which reads
 * make no entry, and that a machine is whole wherever its log refuses or ends.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Divergence, HostError, LogExhausted } from "../../../kernel/base/errors.ts";
import { csrNumber } from "../../../kernel/cpu/csr_table.ts";
import type { Machine, MachineConfig } from "../../../kernel/machine/machine.ts";
import { saveImage } from "../../../kernel/machine/machine_image.ts";
import { NONDET_KIND, NONDET_MODE } from "../../../kernel/memory/nondet_buffer.ts";
import { encode } from "../../../tools/asm/encode.ts";
import { runToEnd, testMachine } from "../../_support/machine.ts";
import { absentHost, MemoryLog, randomHost } from "../../_support/nondet_log.ts";
import { PrivilegedCore } from "../../_support/privileged.ts";
import { Program } from "../../_support/program.ts";

const BASE = 0x8000_0000;
const DATA = 0x8010_0000;
const READS = 1_000_000;
const EAGER = { heat: 20, batch: 1 };
/** Regions appear between slices. */
const SLICE = 10_000;
const HASH = 10;
const LAST = 11;
const COUNT = 31;
const HART = 30;

const time = (rd: number) => encode("csrrs", { rd, imm: csrNumber("time") });
const seed = (rd: number) => encode("csrrw", { rd, imm: csrNumber("seed") });

/** Each hart reads in a loop into a hash, which it stores at the end; hart 0 then ends the machine. */
function reader(rounds: number, reads: readonly number[], harts = 1) {
  const program = new Program(BASE);
  program.op("csrrs", { rd: HART, imm: csrNumber("mhartid") });
  program.set(COUNT, rounds);
  program.set(12, 31);
  const head = program.place();
  for (const word of reads) {
    program.word(word);
    program.op("mul", { rd: HASH, rs1: HASH, rs2: 12 });
    program.op("add", { rd: HASH, rs1: HASH, rs2: LAST });
  }
  program.op("addi", { rd: COUNT, rs1: COUNT, imm: -1 });
  program.to("bne", head, { rs1: COUNT, rs2: 0 });
  program.setLong(5, BigInt(DATA));
  program.op("slli", { rd: 6, rs1: HART, imm: 4 });
  program.op("add", { rd: 5, rs1: 5, rs2: 6 });
  program.op("sd", { rs1: 5, rs2: HASH });
  program.set(7, 1);
  program.op("sd", { rs1: 5, rs2: 7, imm: 8 });
  // Hart 0 waits until all others have said that they are done.
  const wait = program.place();
  program.to("bne", wait, { rs1: HART, rs2: 0 });
  program.setLong(5, BigInt(DATA + 8));
  for (let hart = 1; hart < harts; hart++) {
    const again = program.place();
    program.op("ld", { rd: 6, rs1: 5, imm: 16 * hart });
    program.to("beq", again, { rs1: 6, rs2: 0 });
  }
  program.set(5, 0x0010_0000);
  program.set(6, 0x5555);
  program.op("sw", { rs1: 5, rs2: 6 });
  return { kind: "raw", bytes: program.bytes() } as const;
}

const MILLION = reader(READS, [time(LAST)]);
/** Reads of both kinds, and some whose result goes nowhere. */
const MIXED = [time(LAST), time(0), seed(LAST), seed(0), time(LAST)];

function exactMachine(config: Partial<MachineConfig>): Machine {
  return testMachine({ clock: "exact", memoryBytes: 4 << 20, translator: EAGER, ...config });
}

function finish(machine: Machine): void {
  assertEquals(runToEnd(machine, { slice: SLICE }).stop, { kind: "off", code: 0 });
}

function counters({ core }: Machine) {
  const [entries, full, refills, flushes] =
    (["statNondetEntries", "statNondetFull", "statNondetRefills", "statNondetFlushes"] as const)
      .map((name) => Number(core.control(name)));
  return { entries, full, refills, flushes };
}

function record(config: Partial<MachineConfig>): { machine: Machine; log: MemoryLog } {
  const machine = exactMachine({ host: randomHost(1), ...config });
  const log = new MemoryLog();
  machine.nondeterminism.record(log);
  finish(machine);
  machine.nondeterminism.flush();
  return { machine, log };
}

function replay(log: MemoryLog, config: Partial<MachineConfig>): Machine {
  const machine = exactMachine({ host: absentHost, ...config });
  machine.nondeterminism.replay(log.first());
  finish(machine);
  return machine;
}

for (const tier of ["interpreter", "translator"] as const) {
  Deno.test(`a million time reads leave the ${tier} 244 times for a full buffer, and for one flush`, () => {
    const { machine, log } = record({ kernel: MILLION, tier });
    assertEquals(counters(machine), { entries: READS, full: 244, refills: 0, flushes: 1 });
    assertEquals([log.length, machine.nondeterminism.entriesRecorded], [READS, READS]);
    const inRegions = Number(machine.core.control("statRegionInstructions"));
    assertEquals(inRegions > 4 * 0.9 * READS, tier === "translator");
    machine.nondeterminism.flush();
    machine.nondeterminism.stop();
    assertEquals(counters(machine).flushes, 1, "an empty buffer is not handed over");
  });
}

Deno.test("a replay is the recorded machine, on every tier and with every size of buffer", () => {
  const { machine, log } = record({ kernel: MILLION, nondetEntries: 4096 });
  for (const tier of ["interpreter", "translator"] as const) {
    for (const nondetEntries of [100, 4096, 100_000]) {
      const again = replay(log, { kernel: MILLION, tier, nondetEntries });
      const refills = Math.ceil(READS / nondetEntries);
      assertEquals(counters(again), { entries: READS, full: 0, refills, flushes: 0 });
      assertEquals(again.nondeterminism.entriesConsumed, READS);
      assertEquals([again.icount, again.digest()], [machine.icount, machine.digest()]);
    }
  }
});

Deno.test("reads of both kinds, also into x0, on several harts: a replay on any tier is the same", () => {
  const harts = 3;
  const config = { kernel: reader(10_000, MIXED, harts), harts };
  for (const tier of ["interpreter", "translator", "check"] as const) {
    const { machine, log } = record({ ...config, tier, nondetEntries: 7 });
    assertEquals(log.length, 10_000 * MIXED.length * harts);
    const entries = Array.from({ length: log.length }, (_, i) => log.entry(i));
    assertEquals(new Set(entries.map(({ hart }) => hart)).size, harts);
    const kinds = entries.filter(({ hart }) => hart === 1).slice(0, 5).map(({ kind }) => kind);
    const { time, seed } = NONDET_KIND;
    assertEquals(kinds, [time, time, seed, seed, time]);
    for (const other of ["interpreter", "translator", "check"] as const) {
      const again = replay(log, { ...config, tier: other, nondetEntries: 1 });
      assertEquals(again.nondeterminism.entriesConsumed, log.length);
      assertEquals(again.digest(), machine.digest(), `${tier}, then ${other}`);
    }
  }
});

Deno.test("a read that traps makes no entry and takes none", () => {
  const hart = new PrivilegedCore({ nondetEntries: 4 });
  const { core } = hart;
  for (const mode of [NONDET_MODE.record, NONDET_MODE.replay]) {
    hart.restart();
    core.setControlWord("nondetMode", mode);
    core.setControlWord("nondetNext", 0);
    core.setControlWord("nondetEnd", 4);
    for (const [privilege, counteren] of [["supervisor", 0n], ["user", 2n]] as const) {
      hart.set("mcounteren", counteren);
      hart.set("scounteren", 0n);
      for (const word of [time(10), time(0), seed(10), seed(0)]) {
        assert(hart.attempt([word], privilege) !== "no trap");
      }
    }
    // A form that does not write may not read `seed` anywhere.
    const word = encode("csrrs", { rd: 10, imm: csrNumber("seed") });
    assert(hart.attempt([word], "machine") !== "no trap");
    assertEquals([core.controlWord("nondetNext"), core.control("statNondetEntries")], [0, 0n]);
  }
  core.setControlWord("nondetMode", NONDET_MODE.record);
  assertEquals(hart.attempt([time(0)], "machine"), "no trap");
  assertEquals(core.controlWord("nondetNext"), 1, "the one that did not trap");
});

Deno.test("a read that traps in a hot loop makes no entry on either tier", () => {
  const program = new Program(BASE);
  program.set(COUNT, 20_000);
  const behind = {};
  program.to("jal", behind, { rd: 6 });
  // The handler goes on behind the instruction that trapped.
  program.op("csrrs", { rd: 7, imm: csrNumber("mepc") });
  program.op("addi", { rd: 7, rs1: 7, imm: 4 });
  program.op("csrrw", { rs1: 7, imm: csrNumber("mepc") });
  program.op("addi", { rd: HASH, rs1: HASH, imm: 1 });
  program.op("mret");
  program.place(behind);
  program.op("csrrw", { rs1: 6, imm: csrNumber("mtvec") });
  program.setLong(8, -1n);
  program.op("csrrw", { rs1: 8, imm: csrNumber("pmpaddr0") });
  program.op("csrrwi", { rs1: 0x1f, imm: csrNumber("pmpcfg0") });
  const user = {};
  program.address(9, user);
  program.op("csrrw", { rs1: 9, imm: csrNumber("mepc") });
  program.op("mret");
  program.place(user);
  const head = program.place();
  program.word(time(LAST));
  program.op("addi", { rd: COUNT, rs1: COUNT, imm: -1 });
  program.to("bne", head, { rs1: COUNT, rs2: 0 });
  program.set(5, 0x0010_0000);
  program.set(6, 0x5555);
  program.op("sw", { rs1: 5, rs2: 6 });
  const kernel = { kind: "raw", bytes: program.bytes() } as const;
  for (const tier of ["interpreter", "translator"] as const) {
    const { machine, log } = record({ kernel, tier });
    assertEquals(log.length, 0);
    assertEquals(machine.core.register(0, "x", HASH), 20_000n);
  }
});

function assertSameLog(log: MemoryLog, expected: MemoryLog): void {
  assertEquals(log.length, expected.length);
  const differs = log.bytes.findIndex((byte, i) => byte !== expected.bytes[i]);
  assertEquals(differs, -1, "the first byte that differs");
}

/** Runs until something is thrown, which is given. */
function thrownBy(machine: Machine): unknown {
  try {
    finish(machine);
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** A machine that ran to the same icount as another one, on the interpreter. */
function sameAs(machine: Machine, log: MemoryLog, config: Partial<MachineConfig>): Machine {
  const other = exactMachine({ ...config, host: absentHost, tier: "interpreter" });
  other.nondeterminism.replay(log.first());
  other.run(machine.icount);
  return other;
}

Deno.test("an entry of another kind or hart is a Divergence, and the machine stands before the read", () => {
  const config = { kernel: reader(3000, MIXED), nondetEntries: 64 };
  const { machine: recorded, log } = record(config);
  const at = 9002;
  for (const tier of ["interpreter", "translator", "check"] as const) {
    for (const change of [{ kind: NONDET_KIND.time }, { kind: 77 }, { hart: 1 }]) {
      const machine = exactMachine({ ...config, tier, host: absentHost });
      machine.nondeterminism.replay(log.changed(at, change));
      const error = thrownBy(machine);
      assert(error instanceof Divergence, `${error}`);
      assert(/a read of seed on hart 0 at icount \d+; as result 9002 /.test(error.message));
      assertEquals(machine.nondeterminism.entriesConsumed, at);
      const pc = machine.core.register(0, "pc");
      const word = new Uint8Array(4);
      machine.memory.read(Number(pc), word);
      assertEquals(new DataView(word.buffer).getUint32(0, true), seed(LAST));
      assertEquals(machine.digest(), sameAs(machine, log, config).digest());
      // It is refused again, at the same place, and goes on once it is given the right entries.
      assertThrows(() => machine.run(1), Divergence);
      assertEquals(machine.core.register(0, "pc"), pc);
      machine.nondeterminism.replay(new MemoryLog(log.bytes.slice(at * 16)));
      finish(machine);
      assertEquals(machine.digest(), recorded.digest());
    }
  }
});

Deno.test("a log that is too short ends in LogExhausted, from where the machine can go on live", () => {
  const config = { kernel: reader(3000, MIXED), nondetEntries: 64 };
  const { log } = record(config);
  for (const tier of ["interpreter", "translator", "check"] as const) {
    for (const length of [0, 1, 64, 9003]) {
      const machine = exactMachine({ ...config, tier, host: randomHost(2) });
      machine.nondeterminism.replay(log.first(length));
      const error = thrownBy(machine);
      assert(error instanceof LogExhausted, `${error}`);
      assert(error.message.includes(`it held ${length} results`), error.message);
      assertEquals(machine.nondeterminism.entriesConsumed, length);
      assertEquals(machine.digest(), sameAs(machine, log, config).digest());
      const { icount } = machine;
      assertThrows(() => machine.run(1), LogExhausted);
      assertEquals(machine.icount, icount);
      machine.nondeterminism.stop();
      finish(machine);
    }
  }
});

Deno.test("a log that refuses entries for a while loses none and has none twice", () => {
  const config = { kernel: reader(3000, MIXED), nondetEntries: 50 };
  const { machine: expected, log: whole } = record(config);
  for (const tier of ["interpreter", "translator"] as const) {
    const machine = exactMachine({ ...config, tier, host: randomHost(1) });
    const log = new MemoryLog();
    let refusals = 0;
    const full = (entries: Uint8Array) => {
      if (++refusals % 3 === 0) throw new HostError("the disk is full");
      log.full(entries);
    };
    machine.nondeterminism.record({ full, refill: () => 0 });
    let thrown = 0;
    for (let ended = false; !ended;) {
      try {
        ended = machine.run(SLICE).kind === "off";
      } catch (error) {
        assert(error instanceof HostError);
        thrown++;
      }
    }
    machine.nondeterminism.record(log);
    assertEquals(thrown, 149);
    assertSameLog(log, whole);
    assertEquals(machine.digest(), expected.digest());
  }
});

Deno.test("time is the host's or the clock's, whichever is ahead, and never goes back", () => {
  const values = [5000, 4000, 0, 7_000_000, 6_000_000, 6_999_999];
  let asked = 0;
  const host = { ticks: () => values[asked++]!, entropy16: () => 0 };
  const words = Array.from({ length: 6 }, (_, i) => time(i + 10));
  const kernel = { kind: "raw", bytes: new Uint8Array(Uint32Array.from(words).buffer) } as const;
  const machine = exactMachine({ kernel, host });
  machine.run(3);
  const read = (i: number) => machine.core.register(0, "x", 10 + i);
  assertEquals([read(0), read(1), read(2)], [5000n, 5000n, 5000n]);
  assertEquals(machine.ticks(), 5000, "devices do not tell less");
  machine.clock.anchor(machine.icount, 6_500_000);
  machine.run(3);
  assertEquals([read(3), read(4), read(5)], [7_000_000n, 7_000_000n, 7_000_000n]);
  machine.clock.anchor(machine.icount, 8_000_000);
  assertEquals(machine.csr(csrNumber("time")), 8_000_000n);
});

Deno.test("looking at a machine's time makes no entry, takes none and asks no host", () => {
  const { log } = record({ kernel: reader(10, MIXED) });
  for (const mode of ["record", "replay"] as const) {
    const machine = exactMachine({ kernel: reader(10, MIXED), host: absentHost });
    machine.nondeterminism[mode](log.first());
    const before = machine.digest();
    assertEquals(machine.csr(csrNumber("time")), 0n);
    assertEquals(machine.csr(csrNumber("seed")), 0n);
    assertEquals([machine.nondeterminism.mode, machine.digest()], [mode, before]);
    assertEquals(counters(machine).entries, 0);
  }
});

Deno.test("flushing in between hands every entry over once, in order", () => {
  const config = { kernel: reader(3000, MIXED), nondetEntries: 64 };
  const { log: whole } = record(config);
  const machine = exactMachine({ ...config, host: randomHost(1) });
  const log = new MemoryLog();
  machine.nondeterminism.record(log);
  machine.nondeterminism.flush();
  while (machine.run(1234).kind === "budget") machine.nondeterminism.flush();
  machine.nondeterminism.stop();
  assertSameLog(log, whole);
  assert(counters(machine).flushes! > 10);
});

Deno.test("a machine's image is made with nothing left in the buffer", () => {
  const machine = exactMachine({ kernel: reader(100, MIXED), host: randomHost(1) });
  const log = new MemoryLog();
  machine.nondeterminism.record(log);
  machine.run(700);
  assertEquals(log.length, 0);
  saveImage(machine);
  assertEquals(log.length, machine.nondeterminism.entriesRecorded);
  assert(log.length > 0);
});

Deno.test("without an exact clock nothing is recorded, and entropy is a function of the seed", () => {
  const kernel = reader(3000, MIXED);
  const digests = [1n, 1n, 2n].flatMap((seed) =>
    (["interpreter", "translator", "check"] as const).map((tier) => {
      const machine = exactMachine({ kernel, clock: "virtual", tier, seed, host: absentHost });
      const log = new MemoryLog();
      machine.nondeterminism.record(log);
      finish(machine);
      machine.nondeterminism.stop();
      assertEquals(log.length, 0);
      return `${machine.core.register(0, "x", HASH)}`;
    })
  );
  const [first, ...others] = digests;
  assertEquals(others.slice(0, 5), Array(5).fill(first));
  assertEquals(new Set(digests.slice(6)).size, 1);
  assert(digests[6] !== first);
});
