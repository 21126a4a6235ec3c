/**
 * Counters and who may read them (unprivileged ISA, "Zicntr"; privileged ISA, mcounteren, scounteren,
 * mcountinhibit and the hardware performance monitor).
 */
import { assertEquals } from "@std/assert";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import { encode } from "../../tools/asm/encode.ts";
import { CODE, machineTrap, type Mode, NOP, PrivilegedCore } from "../_support/privileged.ts";

const COUNTERS = ["cycle", "time", "instret", "hpmcounter3", "hpmcounter31"] as const;
const BITS = [0, 1, 2, 3, 31];
const hart = new PrivilegedCore();

/** Executes words, charging the hart for them as the turn-taker does. */
function execute(words: readonly number[]): void {
  const count = BigInt(words.length);
  hart.set("executed", hart.get("executed") + count);
  hart.program(words);
  hart.run(words.length);
}

const read = (name: string, rd: number) => encode("csrrs", { rd, imm: csrNumber(name) });
const write = (name: string, rs1: number) => encode("csrrw", { rs1, imm: csrNumber(name) });

// "When the CY, TM, IR, or HPMn bit in the mcounteren register is clear, attempts to read the cycle,
// time, instret, or hpmcountern register while executing in S-mode or U-mode will cause an
// illegal-instruction exception"; scounteren decides for U where mcounteren allows.
Deno.test("mcounteren opens each counter below M, and scounteren for U as well", () => {
  COUNTERS.forEach((name, i) => {
    const bit = 1n << BigInt(BITS[i]!);
    const rest = 0xffff_ffffn & ~bit;
    const cases: readonly (readonly [bigint, bigint, readonly Mode[]])[] = [
      [rest, 0xffff_ffffn, ["machine"]],
      [bit, rest, ["machine", "supervisor"]],
      [bit, bit, ["machine", "supervisor", "user"]],
      [rest, bit, ["machine"]],
    ];
    for (const [machine, supervisor, readers] of cases) {
      for (const mode of ["machine", "supervisor", "user"] as const) {
        hart.restart();
        hart.set("mcounteren", machine);
        hart.set("scounteren", supervisor);
        const word = read(name, 10);
        const expected = readers.includes(mode) ? "no trap" : machineTrap(2, word);
        assertEquals(hart.attempt([word], mode), expected, `${name} in ${mode} mode`);
      }
    }
  });
});

// "The minstret CSR counts the number of instructions the hart has retired."
Deno.test("instret counts instructions one by one", () => {
  hart.restart();
  execute([read("instret", 10), NOP, NOP, read("instret", 11), read("minstret", 12)]);
  assertEquals([hart.x(11) - hart.x(10), hart.x(12) - hart.x(11)], [3n, 1n]);
});

// "As ECALL and EBREAK cause synchronous exceptions, they are not considered to retire, and should not
// increment the minstret CSR"; nor does any other instruction that traps.
Deno.test("instructions that trap do not count as retired, but take cycles", () => {
  for (const trapping of [[encode("ecall")], [encode("ebreak")], [0], [encode("ld", { rd: 1 })]]) {
    hart.restart();
    execute([read("minstret", 10)]);
    execute([read("mcycle", 11)]);
    execute(trapping);
    execute([read("minstret", 12)]);
    execute([read("mcycle", 13)]);
    assertEquals([hart.x(12) - hart.x(10), hart.x(13) - hart.x(11)], [2n, 3n]);
  }
});

Deno.test("an instruction that cannot be fetched does not count as retired", () => {
  hart.restart();
  execute([read("minstret", 10)]);
  hart.set("executed", hart.get("executed") + 1n);
  hart.set("pc", 0x4000_0000n);
  hart.run(1);
  execute([read("minstret", 11)]);
  assertEquals(hart.x(11) - hart.x(10), 1n);
});

// "Any CSR write takes effect after the writing instruction has otherwise completed", and "an explicit
// CSR write suppresses and overrides any implicit writes … to the same CSR by the same instruction."
Deno.test("the value written to minstret is what the next instruction reads", () => {
  hart.restart();
  hart.setX(11, 1000n);
  execute([write("minstret", 11), read("minstret", 12), read("instret", 13)]);
  assertEquals([hart.x(12), hart.x(13)], [1000n, 1001n]);
});

Deno.test("writes of mcycle and minstret go their own ways", () => {
  hart.restart();
  hart.setX(11, 1n << 63n);
  hart.setX(12, 5n);
  execute([write("mcycle", 11), write("minstret", 12), read("cycle", 13), read("instret", 14)]);
  assertEquals(hart.x(13) >> 8n, 1n << 55n);
  assertEquals(hart.x(14), 6n);
});

// "If the mcountinhibit register is not implemented, the implementation behaves as though the register
// were set to zero": ours reads as zero and inhibits nothing.
Deno.test("mcountinhibit stays zero and the counters go on", () => {
  hart.restart();
  assertEquals(hart.kept("mcountinhibit", 0xffff_ffffn), 0n);
  execute([read("minstret", 10), NOP, read("minstret", 11)]);
  assertEquals(hart.x(11) - hart.x(10), 2n);
});

// "A legal implementation is to make both the counter and its corresponding event selector be read-only
// 0."
Deno.test("the other counters and their events read as zero whatever is written", () => {
  hart.restart();
  for (let n = 3; n < 32; n++) {
    assertEquals(hart.kept(`mhpmcounter${n}`, 99n), 0n);
    assertEquals(hart.kept(`mhpmevent${n}`, 99n), 0n);
    assertEquals(hart.readCsr(`hpmcounter${n}`), 0n);
  }
});

Deno.test("a counter read that is refused leaves rd alone", () => {
  hart.restart();
  hart.set("mcounteren", 0n);
  hart.setX(10, 3n);
  assertEquals(hart.attempt([read("cycle", 10)], "user"), machineTrap(2, read("cycle", 10)));
  assertEquals([hart.x(10), hart.get("mepc")], [3n, BigInt(CODE)]);
});
