/**
 * What the permission bits of leaves allow to whom, and who sets A and D (privileged ISA, "Sv32" for the
 * bits, "Memory Privilege in mstatus Register" for SUM, MXR and MPRV, Svade and Svadu).
 */
import { MENVCFG_ADUE } from "../../kernel/memory/hart_layout.ts";
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { LEAF } from "../_support/page_tables.ts";
import { DATA, type Mode, MSTATUS } from "../_support/privileged.ts";
import { ACCESS_FAULT, type Kind, KINDS, PAGE_FAULT, Translation } from "./translation.ts";

const VIRTUAL = 0x4567_8000n;
const AD = LEAF.A | LEAF.D;
const hart = new Translation();

/** Whether the specification allows an access to a leaf. */
function allowed(kind: Kind, flags: bigint, mode: Mode, status: bigint): boolean {
  const has = (bit: bigint) => (flags & bit) !== 0n;
  if (mode === "user" && !has(LEAF.U)) return false;
  // "Irrespective of SUM, the supervisor may not execute code on pages with U=1."
  if (mode === "supervisor" && has(LEAF.U)) {
    if (kind === "fetch" || (status & MSTATUS.SUM) === 0n) return false;
  }
  if (kind === "fetch") return has(LEAF.X);
  if (kind === "store") return has(LEAF.W);
  // "When MXR=1, loads from pages marked either readable or executable (R=1 or X=1) will succeed."
  return has(LEAF.R) || ((status & MSTATUS.MXR) !== 0n && has(LEAF.X));
}

// "Attempting to fetch an instruction from a page that does not have execute permissions raises a fetch
// page-fault exception", and so on for loads and stores.
Deno.test("every combination of R, W, X, U, mode, SUM and MXR allows what the manual says", () => {
  const leaves = [0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n].map((bits) => bits << 1n)
    // W without R is reserved, and without any of the three it is no leaf.
    .filter((bits) => bits !== 0n && (bits & (LEAF.R | LEAF.W)) !== LEAF.W);
  assertEquals(leaves.length, 5);
  for (const bits of leaves) {
    for (const user of [0n, LEAF.U]) {
      const flags = LEAF.V | AD | bits | user;
      for (const status of [0n, MSTATUS.SUM, MSTATUS.MXR, MSTATUS.SUM | MSTATUS.MXR]) {
        for (const mode of ["user", "supervisor"] as const) {
          hart.begin("sv39").map(VIRTUAL, DATA, flags);
          hart.setMemory(DATA, 0x13_0000_0013n);
          const expected = KINDS.map((kind) =>
            allowed(kind, flags, mode, status) ? 0 : PAGE_FAULT[kind]
          );
          const name = `flags ${flags.toString(2)}, ${mode}, status ${status}`;
          assertEquals(hart.all(VIRTUAL, { mode, status }), expected, name);
        }
      }
    }
  }
});

// Cached translations belong to a view: what one view may do does not leak into another.
Deno.test("changing SUM, MXR and the mode takes effect on cached translations at once", () => {
  const tables = hart.begin("sv39");
  tables.map(VIRTUAL, DATA, LEAF.V | AD | LEAF.X | LEAF.U);
  for (let round = 0; round < 2; round++) {
    assertEquals(hart.access("load", VIRTUAL, { mode: "user", status: MSTATUS.MXR }), 0);
    assertEquals(hart.access("load", VIRTUAL, { mode: "user" }), PAGE_FAULT.load);
    const both = MSTATUS.MXR | MSTATUS.SUM;
    assertEquals(hart.access("load", VIRTUAL, { mode: "supervisor", status: both }), 0);
    const none = hart.access("load", VIRTUAL, { mode: "supervisor", status: MSTATUS.MXR });
    assertEquals(none, PAGE_FAULT.load);
  }
});

// "While SUM is ordinarily ignored when not executing in S-mode, it is in effect when MPRV=1 and MPP=S."
// (All loads of this file are made that way.) "MXR has no effect when page-based virtual memory is not
// in effect."
Deno.test("MPRV leaves fetches alone, and MPP=M leaves loads alone", () => {
  hart.begin("sv39");
  hart.setMemory(DATA, 77n);
  assertEquals(hart.access("load", BigInt(DATA), { mode: "machine", status: MSTATUS.SUM }), 0);
  assertEquals(hart.x(10), 77n);
  assertEquals(hart.access("load", BigInt(DATA), { mode: "supervisor" }), PAGE_FAULT.load);
});

// Load-reserved faults as a load; store-conditional, AMO and cache-block zero as a store; cache-block
// management as a store although it needs only a load's permission.
Deno.test("atomics and block operations fault by what they need", () => {
  const cases: readonly (readonly [string, bigint, number])[] = [
    ["lr.d", LEAF.X, PAGE_FAULT.load],
    ["lr.d", LEAF.R, 0],
    ["amoadd.d", LEAF.R, PAGE_FAULT.store],
    ["amoadd.d", LEAF.R | LEAF.W, 0],
    ["cbo.zero", LEAF.R, PAGE_FAULT.store],
    ["cbo.zero", LEAF.R | LEAF.W, 0],
    ["cbo.clean", LEAF.X, PAGE_FAULT.store],
    ["cbo.flush", LEAF.R, 0],
    ["cbo.inval", LEAF.R, 0],
  ];
  for (const [name, bits, expected] of cases) {
    hart.begin("sv39").map(VIRTUAL, DATA, LEAF.V | AD | bits);
    const word = encode(name, { rd: 10, rs1: 11, rs2: 0 });
    assertEquals(hart.access("load", VIRTUAL, { word }), expected, name);
  }
});

Deno.test("a store-conditional with a reservation faults where it may not write", () => {
  hart.begin("sv39").map(VIRTUAL, DATA, LEAF.V | AD | LEAF.R);
  const reserve = encode("lr.d", { rd: 10, rs1: 11 });
  assertEquals(hart.access("load", VIRTUAL, { word: reserve }), 0);
  const word = encode("sc.d", { rd: 13, rs1: 11 });
  assertEquals(hart.access("store", VIRTUAL, { word }), PAGE_FAULT.store);
});

// "When ADUE=1, hardware updating of PTE A/D bits is enabled during S-mode address translation".
Deno.test("with ADUE the walker sets A on any access and D on stores, and nothing else", () => {
  for (const [kind, expected] of [["load", LEAF.A], ["fetch", LEAF.A], ["store", AD]] as const) {
    const tables = hart.begin("sv39");
    const flags = LEAF.all & ~AD | 3n << 8n;
    const slot = tables.map(VIRTUAL, DATA, flags);
    const before = hart.memory(slot);
    hart.setMemory(DATA, 0x13n);
    assertEquals(hart.access(kind, VIRTUAL), 0);
    assertEquals(hart.memory(slot), before | expected, kind);
  }
});

Deno.test("a store after a load sets D as well: the load's translation does not hide it", () => {
  const tables = hart.begin("sv39");
  const slot = tables.map(VIRTUAL, DATA, LEAF.all & ~AD);
  assertEquals(hart.access("load", VIRTUAL), 0);
  assertEquals(hart.memory(slot) & AD, LEAF.A);
  assertEquals(hart.access("store", VIRTUAL), 0);
  assertEquals(hart.memory(slot) & AD, AD);
});

Deno.test("an access that faults sets neither A nor D", () => {
  const tables = hart.begin("sv39");
  const slot = tables.map(VIRTUAL, DATA, LEAF.V | LEAF.R);
  const before = hart.memory(slot);
  assertEquals(hart.access("store", VIRTUAL), PAGE_FAULT.store);
  assertEquals(hart.access("fetch", VIRTUAL), PAGE_FAULT.fetch);
  assertEquals(hart.access("load", VIRTUAL, { mode: "user" }), PAGE_FAULT.load);
  assertEquals(hart.memory(slot), before);
});

// "When a virtual page is accessed and the A bit is clear, or is written and the D bit is clear, a
// page-fault exception is raised."
Deno.test("without ADUE a clear A faults, and a clear D faults stores", () => {
  const cases: readonly (readonly [bigint, readonly number[]])[] = [
    [0n, KINDS.map((kind) => PAGE_FAULT[kind])],
    [LEAF.D, KINDS.map((kind) => PAGE_FAULT[kind])],
    [LEAF.A, [0, PAGE_FAULT.store, 0]],
    [AD, [0, 0, 0]],
  ];
  for (const [bits, expected] of cases) {
    const tables = hart.begin("sv39");
    hart.set("menvcfg", 0n);
    const slot = tables.map(VIRTUAL, DATA, LEAF.all & ~AD | bits);
    const before = hart.memory(slot);
    hart.setMemory(DATA, 0x13n);
    assertEquals(hart.all(VIRTUAL), expected);
    assertEquals(hart.memory(slot), before, "hardware changes nothing");
  }
});

Deno.test("switching ADUE off takes effect on the next walk of a clear D", () => {
  const tables = hart.begin("sv39");
  tables.map(VIRTUAL, DATA, LEAF.all & ~LEAF.D);
  assertEquals(hart.access("load", VIRTUAL), 0);
  hart.set("mstatus", 0n);
  hart.writeCsr("menvcfg", 0n);
  assertEquals(hart.access("store", VIRTUAL), PAGE_FAULT.store);
  hart.set("mstatus", 0n);
  hart.writeCsr("menvcfg", MENVCFG_ADUE);
  assertEquals(hart.access("store", VIRTUAL), 0);
});

// "If a store to the PTE at address a+va.vpn[i]×PTESIZE would violate a PMA or PMP check, raise an
// access-fault exception corresponding to the original access type."
Deno.test("a walker that may not write the entry raises an access fault and leaves it alone", () => {
  for (const kind of KINDS) {
    const tables = hart.begin("sv39");
    const slot = tables.map(VIRTUAL, DATA, LEAF.all & ~AD);
    const before = hart.memory(slot);
    // Entry 0: read-only, just the eight bytes of the entry; entry 1: everything else.
    hart.core.setRegister(0, "pmpaddr", BigInt(slot) >> 2n, 0);
    hart.core.setRegister(0, "pmpaddr", (1n << 54n) - 1n, 1);
    hart.set("pmpcfg", 0x1f19n);
    hart.core.exports.flushAll();
    assertEquals(hart.access(kind, VIRTUAL), ACCESS_FAULT[kind], kind);
    assertEquals(hart.memory(slot), before);
  }
});

// A page-crossing store checks both pages before it writes: no half of it is seen.
Deno.test("a store whose second page faults has written nothing, and names that page", () => {
  for (const [name, size] of [["sh", 2], ["sw", 4], ["sd", 8]] as const) {
    for (let first = 1; first < size; first++) {
      const tables = hart.begin("sv39");
      tables.map(VIRTUAL, DATA, LEAF.all);
      tables.map(VIRTUAL + 0x1000n, DATA + 0x1000, LEAF.V | AD | LEAF.R);
      hart.setMemory(DATA + 4088, 0x1111_1111_1111_1111n);
      hart.setX(12, (1n << 64n) - 1n);
      hart.set("mstatus", MSTATUS.MPRV | 1n << 11n);
      hart.setX(11, VIRTUAL + BigInt(4096 - first));
      hart.program([encode(name, { rs1: 11, rs2: 12 })]);
      const trap = hart.step()!;
      assertEquals([trap.cause, trap.value], [15n, VIRTUAL + 0x1000n], `${name}, ${first} first`);
      assertEquals(hart.memory(DATA + 4088), 0x1111_1111_1111_1111n);
    }
  }
});

// "mtval will contain the virtual address of the portion of the access that caused the fault."
Deno.test("loads and stores of all sizes cross from one page to another anywhere in memory", () => {
  const sizes = [["lhu", "sh", 2], ["lwu", "sw", 4], ["ld", "sd", 8]] as const;
  for (const [load, store, size] of sizes) {
    for (let first = 1; first < size; first++) {
      const tables = hart.begin("sv39");
      tables.map(VIRTUAL, DATA, LEAF.all);
      tables.map(VIRTUAL + 0x1000n, DATA + 0x5000, LEAF.all);
      const value = BigInt.asUintN(8 * size, 0x8877_6655_4433_2211n);
      const at = VIRTUAL + BigInt(4096 - first);
      hart.setX(12, value);
      const write = encode(store, { rs1: 11, rs2: 12 });
      const read = encode(load, { rd: 10, rs1: 11 });
      assertEquals(hart.access("store", at, { word: write }), 0);
      assertEquals(hart.access("load", at, { word: read }), 0);
      assertEquals(hart.x(10), value, `${store}, ${first} bytes first`);
      // The bytes lie at the end of one frame and the start of the other, and nowhere else.
      const low = hart.memory(DATA + 4088) >> BigInt(8 * (8 - first));
      const high = hart.memory(DATA + 0x5000) & (1n << BigInt(8 * (size - first))) - 1n;
      assertEquals(low | high << BigInt(8 * first), value);
      tables.map(VIRTUAL + 0x1000n, 0, 0n);
      hart.set("mstatus", MSTATUS.MPRV | 1n << 11n);
      hart.setX(11, at);
      hart.program([read]);
      const trap = hart.step()!;
      assertEquals([trap.cause, trap.value], [13n, VIRTUAL + 0x1000n]);
      hart.setMemory(DATA + 4088, 0n);
      hart.setMemory(DATA + 0x5000, 0n);
    }
  }
});
