/**
 * Loads and stores of every size and alignment, in RAM and on the bus (unprivileged ISA, "Load and Store
 * Instructions"; privileged ISA, "Physical Memory Attributes").
 *
 * Invariant tested: RAM takes any alignment; the bus sees naturally aligned accesses of 1, 2 or 4 bytes
 * only, and what it refuses is an access fault without a trace in the hart.
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { CODE, DATA, machineTrap, PrivilegedCore } from "../_support/privileged.ts";

const DEVICE = 0x1000_0000;
const LOADS = [
  ["lb", 1, true],
  ["lh", 2, true],
  ["lw", 4, true],
  ["ld", 8, true],
  ["lbu", 1, false],
  ["lhu", 2, false],
  ["lwu", 4, false],
] as const;
const STORES = [["sb", 1], ["sh", 2], ["sw", 4], ["sd", 8]] as const;
const PATTERN = 0x8f9e_adbc_cbda_e9f8n;

/** A device that notes what it is asked and answers with its own address. */
function withDevice(refuse = -1): { hart: PrivilegedCore; log: string[] } {
  const log: string[] = [];
  const inside = (address: number) =>
    address >= DEVICE && address < DEVICE + 4096 && address !== refuse;
  const hart = new PrivilegedCore({
    bus: {
      read(address, size) {
        log.push(`read ${size} at ${(address - DEVICE).toString(16)}`);
        return inside(address) ? (0x8000_0080 + address - DEVICE) >>> 0 : undefined;
      },
      write(address, size, value) {
        log.push(`write ${size} at ${(address - DEVICE).toString(16)}: ${value.toString(16)}`);
        return inside(address);
      },
    },
  });
  return { hart, log };
}

function access(hart: PrivilegedCore, name: string, address: number, value = 0n): string {
  hart.setX(11, BigInt(address));
  hart.setX(12, value);
  return hart.attempt([encode(name, { rd: 10, rs1: 11, rs2: 12 })], "machine");
}

Deno.test("RAM takes loads and stores of every size at every alignment", () => {
  const hart = new PrivilegedCore();
  for (let offset = 0; offset < 16; offset++) {
    for (const [name, size] of STORES) {
      hart.setMemory(DATA + offset - 8, 0n);
      for (let at = 0; at < 32; at += 8) hart.setMemory(DATA + at, 0n);
      assertEquals(access(hart, name, DATA + offset, PATTERN), "no trap");
      const bytes = new Uint8Array(hart.core.buffer, hart.core.plan.ram + DATA % 0x8000_0000, 32);
      bytes.forEach((byte, i) => {
        const inside = i >= offset && i < offset + size;
        const expected = inside ? Number(PATTERN >> BigInt(8 * (i - offset)) & 255n) : 0;
        assertEquals(byte, expected, `${name} at ${offset}, byte ${i}`);
      });
    }
    access(hart, "sd", DATA + offset, PATTERN);
    for (const [name, size, signed] of LOADS) {
      assertEquals(access(hart, name, DATA + offset), "no trap");
      const low = BigInt.asUintN(8 * size, PATTERN);
      const expected = signed ? BigInt.asUintN(64, BigInt.asIntN(8 * size, low)) : low;
      assertEquals(hart.x(10), expected, `${name} at ${offset}`);
    }
  }
});

Deno.test("the bus is read in 1, 2 or 4 bytes and what it answers is extended", () => {
  const expected: Readonly<Record<string, bigint>> = {
    lb: 0xffff_ffff_ffff_ff88n,
    lh: 0x88n,
    lw: 0xffff_ffff_8000_0088n,
    lbu: 0x88n,
    lhu: 0x88n,
    lwu: 0x8000_0088n,
    ld: 0x8000_008c_8000_0088n,
  };
  for (const [name, size] of LOADS) {
    const { hart, log } = withDevice();
    assertEquals(access(hart, name, DEVICE + 8), "no trap");
    // The device answers with more bits than were asked for; only the low ones count.
    assertEquals(hart.x(10), expected[name], name);
    assertEquals(log, size === 8 ? ["read 4 at 8", "read 4 at c"] : [`read ${size} at 8`]);
  }
});

Deno.test("the bus is written in 1, 2 or 4 bytes, eight as two words with the low one first", () => {
  const written: Readonly<Record<string, readonly string[]>> = {
    sb: ["write 1 at 8: f8"],
    sh: ["write 2 at 8: e9f8"],
    sw: ["write 4 at 8: cbdae9f8"],
    sd: ["write 4 at 8: cbdae9f8", "write 4 at c: 8f9eadbc"],
  };
  for (const [name] of STORES) {
    const { hart, log } = withDevice();
    assertEquals(access(hart, name, DEVICE + 8, PATTERN), "no trap");
    assertEquals(log, written[name]);
  }
});

// Devices support no misaligned accesses (PMAs): those raise access faults.
Deno.test("misaligned accesses to the bus fault without reaching it", () => {
  for (const [name, size] of [...LOADS.map(([n, s]) => [n, s] as const), ...STORES]) {
    for (let offset = 1; offset < size; offset++) {
      const { hart, log } = withDevice();
      const cause = name.startsWith("s") ? 7 : 5;
      const at = DEVICE + offset;
      assertEquals(access(hart, name, at), machineTrap(cause, at), `${name} at ${offset}`);
      assertEquals(log, []);
    }
  }
});

Deno.test("what the bus refuses is an access fault that leaves rd alone, also in the second half", () => {
  for (const refuse of [DEVICE + 8, DEVICE + 12]) {
    const { hart } = withDevice(refuse);
    hart.setX(10, 3n);
    assertEquals(access(hart, "ld", DEVICE + 8), machineTrap(5, DEVICE + 8));
    assertEquals(hart.x(10), 3n);
    assertEquals(access(hart, "sd", DEVICE + 8), machineTrap(7, DEVICE + 8));
    // The refusal is forgotten: the next access is judged by itself.
    assertEquals(access(hart, "lw", DEVICE + 16), "no trap");
    assertEquals(access(hart, "sw", DEVICE + 16), "no trap");
  }
});

Deno.test("atomics, block operations and fetches never reach the bus", () => {
  const { hart, log } = withDevice();
  assertEquals(access(hart, "lr.w", DEVICE), "machine: cause 5, epc 0x80010000, value 0x10000000");
  for (const name of ["amoadd.w", "amoswap.d", "cbo.zero", "cbo.clean", "cbo.flush"]) {
    hart.setX(11, BigInt(DEVICE));
    const word = encode(name, { rd: name.startsWith("c") ? 0 : 10, rs1: 11, rs2: 0 });
    assertEquals(hart.attempt([word], "machine"), machineTrap(7, DEVICE), name);
  }
  hart.set("pc", BigInt(DEVICE));
  assertEquals(hart.step()?.cause, 1n);
  assertEquals(log, []);
  assertEquals(CODE, 0x8001_0000);
});

Deno.test("addresses that differ above bit 31 are not taken for a device", () => {
  const { hart, log } = withDevice();
  for (const high of [1n << 32n, 1n << 40n, 1n << 55n]) {
    hart.setX(11, high | BigInt(DEVICE));
    const told = hart.attempt([encode("lw", { rd: 10, rs1: 11 })], "machine");
    assertEquals(told, machineTrap(5, high | BigInt(DEVICE)));
  }
  assertEquals(log, []);
});
