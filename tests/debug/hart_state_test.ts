/**
 * Registers and memory as a debugger reads and writes them, and steps of one hart among several.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { HostError } from "../../kernel/base/errors.ts";
import { CSR_ROWS, csrNumber } from "../../kernel/cpu/csr_table.ts";
import { MachineDebugger } from "../../kernel/debug/machine_debugger.ts";
import type { DebugRegister } from "../../kernel/debug/target.ts";
import { readImage } from "../../kernel/machine/image.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import { encode } from "../../tools/asm/encode.ts";
import { changeCsr, enterMode, openMemory, START } from "../_support/hot_program.ts";
import { testMachine } from "../_support/machine.ts";
import { Program } from "../_support/program.ts";

const SMP = new URL("../../guests/bare/smp.elf", import.meta.url);
const TABLES = START + 0x20_0000;

async function smp(harts = 4): Promise<Machine> {
  return testMachine({
    kernel: await readImage(await Deno.readFile(SMP)),
    harts,
    memoryBytes: 8 << 20,
  });
}

const x = (number: number): DebugRegister => ({ file: "x", number });
const csr = (name: string): DebugRegister => ({ file: "csr", number: csrNumber(name) });
const PC: DebugRegister = { file: "pc" };

/** All but `seed`, which reading changes. */
const CSRS = CSR_ROWS.filter(({ name }) => name !== "seed");
const EVERY: readonly DebugRegister[] = [
  ...Array.from({ length: 32 }, (_, i) => x(i)),
  ...Array.from({ length: 32 }, (_, number): DebugRegister => ({ file: "f", number })),
  PC,
  { file: "privilege" },
  ...CSRS.map(({ number }): DebugRegister => ({ file: "csr", number })),
];

Deno.test("reading everything of every hart at any time changes nothing", async () => {
  const [plain, machine] = [await smp(), await smp()];
  const hold = new MachineDebugger(machine);
  let reserved = 0;
  for (let i = 0; i < 300; i++) {
    plain.run(37);
    machine.run(37);
    reserved += machine.core.word(machine.core.current, "reservation") === 0 ? 0 : 1;
    for (let hart = 0; hart < 4; hart++) {
      const values = hold.registers(hart, EVERY);
      assert(values.every((value) => value !== undefined));
      assertEquals(
        values[
          EVERY.length - CSRS.length + CSRS.findIndex(({ name }) => name === "mhartid")
        ],
        BigInt(hart),
      );
      hold.memory(hart, BigInt(START), 64);
    }
    assertEquals(machine.digest(), plain.digest(), `look ${i}`);
  }
  assert(reserved > 10, "reservations were there to be lost");
});

Deno.test("registers that do not exist read as undefined, and are refused to be written", async () => {
  const hold = new MachineDebugger(await smp(1));
  const missing: DebugRegister[] = [
    x(32),
    x(-1),
    { file: "f", number: 99 },
    { file: "csr", number: 0x7ff },
    { file: "csr", number: 5000 },
  ];
  assertEquals(hold.registers(0, missing), missing.map(() => undefined));
  for (const register of missing) {
    assertThrows(() => hold.setRegister(0, register, 1n), HostError, "there is no");
  }
  assertThrows(() => hold.setRegister(0, csr("cycle"), 1n), HostError, "cycle can only be read");
  assertThrows(() => hold.setRegister(0, PC, 1n), HostError, "pc is even");
  assertThrows(() => hold.setRegister(0, { file: "privilege" }, 2n), HostError, "0, 1 or 3");
});

Deno.test("what is written is read back, on any hart, by the rules of the register", async () => {
  const hold = new MachineDebugger(await smp(2));
  hold.run(100);
  for (const hart of [0, 1]) {
    const check = (register: DebugRegister, value: bigint, expected = value) => {
      hold.setRegister(hart, register, value);
      assertEquals(hold.registers(hart, [register]), [expected], JSON.stringify(register));
    };
    check(x(5), -1n, (1n << 64n) - 1n);
    check(x(0), 7n, 0n);
    check({ file: "f", number: 31 }, 0x7ff8_0000_0000_0001n);
    check(PC, 0x8000_0000n);
    check({ file: "privilege" }, 1n);
    check(csr("fcsr"), 0x1ffn, 0xffn);
    check(csr("fflags"), 3n);
    check(csr("frm"), 2n);
    assertEquals(hold.registers(hart, [csr("fcsr")]), [0x43n]);
    check(csr("mepc"), 0x8000_0001n, 0x8000_0000n);
    check(csr("satp"), 8n << 60n | 0x80000n);
    check(csr("satp"), 3n << 60n, 8n << 60n | 0x80000n);
    check(csr("mscratch"), 0x1234n);
    check(csr("minstret"), 1000n);
    check(csr("mcycle"), 1000n);
    check(csr("misa"), 0n, 0x8000_0000_0014_112dn);
    hold.setRegister(hart, csr("satp"), 0n);
    hold.setRegister(hart, { file: "privilege" }, 3n);
  }
  assertEquals(hold.registers(1, [csr("time")]), [BigInt(hold.machine.ticks())]);
  const before = hold.machine.icount;
  hold.run(1);
  assertEquals(hold.machine.icount, before + 1);
});

/** A supervisor or machine whose gigabyte at 0x40000000 is RAM, and which loops over two instructions. */
function mapped(): MachineDebugger {
  const program = new Program(START);
  openMemory(program);
  program.setLong(10, 8n << 60n | BigInt(TABLES) >> 12n);
  changeCsr(program, "csrrw", "satp", 10);
  enterMode(program, "s");
  const loop = program.place();
  program.op("addi", { rd: 11, rs1: 11, imm: 1 });
  program.to("jal", loop);
  const bytes = new Uint8Array(TABLES + 8192 - START);
  bytes.set(program.bytes());
  const view = new DataView(bytes.buffer);
  const leaf = BigInt(START) >> 12n << 10n | 0xcfn;
  view.setBigUint64(TABLES - START + 8, leaf, true);
  view.setBigUint64(TABLES - START + 16, leaf, true);
  // Two pages at the end of the address space: RAM, and nothing; a page of a device before them.
  view.setBigUint64(TABLES - START + 8 * 511, BigInt(TABLES + 4096) >> 12n << 10n | 1n, true);
  view.setBigUint64(TABLES - START + 4096 + 8 * 511, 0x1000_0000n >> 12n << 10n | 0xcfn, true);
  const config = { kernel: { kind: "raw", bytes }, translator: { heat: 5, batch: 1 } } as const;
  const hold = new MachineDebugger(testMachine({ ...config, memoryBytes: 8 << 20 }));
  for (let i = 0; i < 100; i++) hold.run(10);
  assertEquals(hold.machine.core.word(0, "privilege"), 1);
  return hold;
}

Deno.test("memory is read and written as the hart sees it, devices are left alone", () => {
  const hold = mapped();
  const high = 0x4000_0000n + 0x10_0ff0n;
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => i);
  hold.setMemory(0, high, bytes);
  assertEquals(hold.memory(0, high, 64), bytes);
  assertEquals(hold.memory(0, BigInt(START) + 0x10_0ff0n, 64), bytes);
  assertEquals(hold.memory(0, 0n, 8).length, 0);
  const device = (1n << 64n) - (1n << 21n);
  assertEquals(hold.memory(0, device, 8).length, 0, "a device");
  assertThrows(() => hold.setMemory(0, device, bytes), HostError, "no memory mapped");
  assertEquals(hold.memory(0, 0x4000_0000n + (8n << 20n) - 4n, 64).length, 4, "the end of RAM");
  const end = 0x4000_0000n + (8n << 20n) - 4n;
  const before = hold.machine.digest();
  assertThrows(() => hold.setMemory(0, end, bytes), HostError, "0x40800000");
  assertEquals(hold.machine.digest(), before, "whole or not at all");
  assertEquals(hold.memory(0, (1n << 64n) - 4n, 64).length, 0);
  assertThrows(() => hold.setMemory(0, (1n << 64n) - 4n, bytes), HostError);
  // In machine mode addresses are physical.
  hold.setRegister(0, { file: "privilege" }, 3n);
  assertEquals(hold.memory(0, high, 8).length, 0);
  assertEquals(hold.memory(0, BigInt(START) + 0x10_0ff0n, 64), bytes);
  assertEquals(hold.memory(0, 0x1000_0000n, 8).length, 0, "a device");
  assertEquals(hold.memory(0, (1n << 64n) - 8n, 8).length, 0);
});

Deno.test("code and tables that are written take effect at once", () => {
  const hold = mapped();
  const { machine } = hold;
  const [pc] = hold.registers(0, [PC]);
  const loop = hold.memory(0, pc! - 4n, 4)[0] === 0x93 ? pc! - 4n : pc!;
  const addTwo = new Uint8Array(Uint32Array.of(encode("addi", { rd: 11, rs1: 11, imm: 2 })).buffer);
  assertEquals(machine.run(pc === loop ? 2 : 1), { kind: "budget" });
  const from = machine.core.register(0, "x", 11);
  hold.setMemory(0, loop, addTwo);
  machine.run(100);
  assertEquals(machine.core.register(0, "x", 11) - from, 100n);
  // Without its table the next fetch faults, to nowhere.
  hold.setMemory(0, BigInt(TABLES + 16), new Uint8Array(8));
  machine.run(1);
  assertEquals(hold.registers(0, [csr("mcause")]), [12n]);
});

Deno.test("the memory map is the board's", () => {
  const ranges = mapped().memoryMap();
  assertEquals(ranges.at(-1), { kind: "ram", start: START, bytes: 8 << 20 });
  assert(ranges.some(({ kind, start }) => kind === "device" && start === 0x1000_0000));
  ranges.slice(1).forEach(({ start }, i) => {
    assert(ranges[i]!.start + ranges[i]!.bytes <= start, "in order, apart");
  });
});

Deno.test("a step executes one instruction of its hart, after the turns of others", async () => {
  const plain = await smp(2);
  const hold = new MachineDebugger(await smp(2));
  const { machine } = hold;
  const executed = (hart: number) => machine.core.register(hart, "executed");
  for (let i = 0; i < 20; i++) {
    const hart = i % 2;
    const before = executed(hart);
    const stop = hold.step(hart);
    if (stop.kind === "idle" || stop.kind === "off") break;
    assertEquals(stop, { kind: "step" });
    assertEquals(executed(hart), before + 1n);
  }
  plain.run(machine.icount);
  assertEquals(machine.digest(), plain.digest());
});

Deno.test("a step that has no turn in its budget ends with it, and one breakpoint of another hart stops it", async () => {
  const hold = new MachineDebugger(await smp(2));
  hold.run(10);
  const other = hold.machine.hart;
  const [pc] = hold.registers(other, [PC]);
  assertEquals(hold.step(1 - other, 5), { kind: "budget" });
  const [next] = hold.registers(other, [PC]);
  assert(pc !== undefined && next !== undefined);
  hold.addPoint({ kind: "execute", address: next, size: 2 });
  assertEquals(hold.step(1 - other), { kind: "breakpoint", hart: other, pc: next });
  const { icount } = hold.machine;
  hold.step(1 - other);
  assert(hold.machine.icount > icount, "the other hart goes on from there");
});
