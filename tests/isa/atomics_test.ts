/** Atomics: read-modify-write, reservations, and what misalignment does (A extension). */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { BareCore, RAM } from "../_support/bare_core.ts";

const AT = RAM + 0x1000;

function amo(name: string, memory: bigint, operand: bigint): { old: bigint; now: bigint } {
  const bare = new BareCore();
  bare.load([encode(name, { rd: 10, rs1: 11, rs2: 12 })]);
  bare.setMemory(AT, memory);
  bare.setX(11, BigInt(AT));
  bare.setX(12, operand);
  bare.run(1);
  return { old: bare.x(10), now: bare.memory(AT) };
}

Deno.test("amo*.d gives the old value and stores the new one", () => {
  const minus = (1n << 64n) - 5n;
  assertEquals(amo("amoadd.d", 7n, 5n), { old: 7n, now: 12n });
  assertEquals(amo("amoswap.d", 7n, 5n), { old: 7n, now: 5n });
  assertEquals(amo("amoxor.d", 6n, 5n), { old: 6n, now: 3n });
  assertEquals(amo("amoand.d", 6n, 5n), { old: 6n, now: 4n });
  assertEquals(amo("amoor.d", 6n, 5n), { old: 6n, now: 7n });
  assertEquals(amo("amomin.d", minus, 5n).now, minus);
  assertEquals(amo("amomax.d", minus, 5n).now, 5n);
  assertEquals(amo("amominu.d", minus, 5n).now, 5n);
  assertEquals(amo("amomaxu.d", minus, 5n).now, minus);
});

Deno.test("amo*.w works on the low word and sign-extends the old value", () => {
  const memory = 0x1234_5678_8000_0000n;
  assertEquals(amo("amoadd.w", memory, 1n), {
    old: 0xffff_ffff_8000_0000n,
    now: 0x1234_5678_8000_0001n,
  });
  assertEquals(amo("amominu.w", memory, 1n).now, 0x1234_5678_0000_0001n);
  assertEquals(amo("amomin.w", memory, 1n).now, memory);
  assertEquals(amo("amomax.w", memory, (1n << 64n) - 1n).now, 0x1234_5678_ffff_ffffn);
});

Deno.test("sc succeeds once after lr to the same address, and only there", () => {
  const bare = new BareCore();
  bare.load([
    encode("lr.d", { rd: 10, rs1: 11 }),
    encode("sc.d", { rd: 13, rs1: 11, rs2: 12 }),
    encode("sc.d", { rd: 14, rs1: 11, rs2: 12 }),
    encode("lr.d", { rd: 10, rs1: 11 }),
    encode("sc.d", { rd: 15, rs1: 16, rs2: 12 }),
  ]);
  bare.setMemory(AT, 5n);
  bare.setX(11, BigInt(AT));
  bare.setX(12, 9n);
  bare.setX(16, BigInt(AT + 8));
  bare.run(5);
  assertEquals([bare.x(13), bare.x(14), bare.x(15)], [0n, 1n, 1n]);
  assertEquals(bare.memory(AT), 9n);
});

Deno.test("misaligned lr raises cause 4, misaligned sc and amo raise cause 6", () => {
  for (const [name, cause] of [["lr.w", 4n], ["sc.w", 6n], ["amoadd.d", 6n]] as const) {
    const bare = new BareCore();
    bare.set("mtvec", BigInt(RAM + 0x100));
    bare.load([encode(name, { rd: 10, rs1: 11, rs2: 0 })]);
    bare.setX(11, BigInt(AT + 2));
    bare.run(1);
    assertEquals([bare.get("mcause"), bare.get("mtval")], [cause, BigInt(AT + 2)], name);
    assertEquals(bare.get("pc"), BigInt(RAM + 0x100));
  }
});
