/**
 * stimecmp on a whole machine with the virtual clock (privileged ISA, "Sstc" and "Supervisor Timer
 * (stimecmp) Register"), its gates, and waiting for it.
 */
import { assert, assertEquals } from "@std/assert";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import { encode } from "../../tools/asm/encode.ts";
import { testMachine } from "../_support/machine.ts";
import { machineTrap, type Mode, PrivilegedCore } from "../_support/privileged.ts";

const STIP = 1n << 5n;
const STCE = 1n << 63n;
const read = (rd: number, name: string) => encode("csrrs", { rd, imm: csrNumber(name) });
const write = (name: string, rs1: number) => encode("csrrw", { rs1, imm: csrNumber(name) });
const STAY = encode("jal", { imm: 0 });

/** A machine-mode machine with a program at the start of RAM that ends in a jump to itself. */
function machineWith(words: readonly number[]): Machine {
  const bytes = new Uint8Array(Uint32Array.from([...words, STAY]).buffer);
  const machine = testMachine({ memoryBytes: 16 << 20, kernel: { kind: "raw", bytes } });
  machine.core.setRegister(0, "menvcfg", STCE);
  return machine;
}

const x = (machine: Machine, index: number) => machine.core.register(0, "x", index);

// "A supervisor timer interrupt becomes pending, as reflected in the STIP bit in the mip and sip
// registers whenever time contains a value greater than or equal to stimecmp".
Deno.test("STIP is clear before stimecmp and set from that tick on", () => {
  const machine = machineWith([
    read(5, "time"),
    encode("addi", { rd: 5, rs1: 5, imm: 100 }),
    write("stimecmp", 5),
    read(10, "mip"),
    // Until STIP shows.
    read(11, "mip"),
    encode("andi", { rd: 6, rs1: 11, imm: 32 }),
    encode("beq", { rs1: 6, imm: -8 }),
    read(12, "time"),
  ]);
  machine.run(100_000);
  assertEquals([x(machine, 10) & STIP, x(machine, 11) & STIP], [0n, STIP]);
  const late = x(machine, 12) - x(machine, 5);
  assert(late >= 0n && late <= 4n, `${late} ticks after stimecmp`);
});

// "The interrupt remains posted until stimecmp becomes greater than time, typically as a result of
// writing stimecmp."
Deno.test("a write of stimecmp posts and withdraws the interrupt before the next instruction", () => {
  const machine = machineWith([
    encode("addi", { rd: 6, imm: -1 }),
    write("stimecmp", 0),
    read(10, "mip"),
    write("stimecmp", 6),
    read(11, "mip"),
    // "Treating the values as unsigned integers": the sign bit is only a very late time.
    encode("slli", { rd: 7, rs1: 6, imm: 63 }),
    write("stimecmp", 7),
    read(12, "mip"),
  ]);
  machine.run(1000);
  assertEquals([x(machine, 10), x(machine, 11), x(machine, 12)], [STIP, 0n, 0n]);
});

// "If the stimecmp … register is implemented, STIP is read-only in mip and reflects the
// supervisor-level timer interrupt signal resulting from stimecmp"; "STCE in menvcfg is zero …, STIP in
// mip and sip reverts to its defined behavior as if this extension is not implemented."
Deno.test("STIP has one source: software without STCE, stimecmp with it", () => {
  const machine = machineWith([
    encode("addi", { rd: 6, imm: 32 }),
    encode("addi", { rd: 7, imm: -1 }),
    encode("slli", { rd: 8, rs1: 7, imm: 63 }),
    write("stimecmp", 7),
    write("mip", 6),
    read(10, "mip"),
    write("menvcfg", 0),
    write("mip", 6),
    read(11, "mip"),
    // What software wrote does not outlive the switch to stimecmp …
    write("menvcfg", 8),
    read(12, "mip"),
    write("stimecmp", 0),
    read(13, "mip"),
    // … nor what stimecmp posted the switch back.
    write("menvcfg", 0),
    read(14, "mip"),
  ]);
  machine.run(1000);
  const seen = [10, 11, 12, 13, 14].map((index) => x(machine, index));
  assertEquals(seen, [0n, STIP, 0n, STIP, 0n]);
});

// "The hart must resume if a locally enabled interrupt becomes pending" though globally disabled.
Deno.test("a hart that waits is woken by stimecmp at its tick and goes on behind the wfi", () => {
  const machine = machineWith([
    read(5, "time"),
    encode("addi", { rd: 5, rs1: 5, imm: 1000 }),
    write("stimecmp", 5),
    encode("addi", { rd: 6, imm: 32 }),
    write("mie", 6),
    encode("wfi"),
    read(10, "time"),
    read(11, "mcause"),
  ]);
  const stop = machine.run(1000);
  assertEquals(stop, { kind: "idle", wakeTicks: Number(x(machine, 5)) });
  assertEquals(machine.run(1000), stop, "it waits as long as time stands still");
  machine.skipTo(Number(x(machine, 5)));
  machine.run(1000);
  assertEquals([x(machine, 10), x(machine, 11)], [x(machine, 5), 0n]);
});

Deno.test("an interrupt that is not locally enabled does not end the wait", () => {
  const machine = machineWith([
    write("mie", 0),
    write("stimecmp", 0),
    encode("wfi"),
    encode("addi", { rd: 10, imm: 1 }),
  ]);
  const stop = machine.run(1000);
  assertEquals([stop.kind, x(machine, 10)], ["idle", 0n]);
});

// "When this extension is implemented and STCE in menvcfg is zero, an attempt to access stimecmp in a
// mode other than M-mode raises an illegal-instruction exception"; mcounteren: "when the TM bit in the
// mcounteren register is clear, attempts to access the stimecmp … register while executing in a mode
// less privileged than M will cause an illegal-instruction exception."
Deno.test("S reaches stimecmp with both STCE and TM, M always, U never", () => {
  const hart = new PrivilegedCore();
  const word = read(10, "stimecmp");
  for (const enabled of [0n, STCE]) {
    for (const timer of [0n, 2n]) {
      for (const mode of ["user", "supervisor", "machine"] as Mode[]) {
        hart.restart();
        hart.set("menvcfg", enabled);
        hart.set("mcounteren", timer);
        hart.set("scounteren", 2n);
        const open = mode === "machine" || (mode === "supervisor" && enabled > 0n && timer > 0n);
        assertEquals(hart.attempt([word], mode), open ? "no trap" : machineTrap(2, word));
      }
    }
  }
});
