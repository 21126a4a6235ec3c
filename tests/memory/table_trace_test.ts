/**
 * Page tables that change while their translations are cached (requirements S21.1 to S21.9: the T bit).
 * The privileged ISA asks for SFENCE.VMA before a change must be seen; this machine promises more, so
 * that replay from any point sees the same memory: the very next access obeys the new entry.
 *
 * Invariant tested: no store to a valid entry of a table that a walk has met, by whatever way it comes,
 * leaves a stale translation in any cache element.
 */
import { assertEquals } from "@std/assert";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import { entryFor, LEAF, PageTables, TABLES } from "../_support/page_tables.ts";
import { CODE, DATA, MSTATUS, NOP } from "../_support/privileged.ts";
import { PAGE_FAULT, PAGINGS, Translation } from "./translation.ts";

const VIRTUAL = 0x4567_8000n;
const ALIAS = 0x1234_5000n;
const OTHER = DATA + 0x1000;
const LOAD = encode("ld", { rd: 10, rs1: 11 });
const hart = new Translation();

/** Maps VIRTUAL to DATA, puts a value in each frame, and brings the translation into the caches. */
function begin(paging: "sv39" | "sv48" | "sv57" = "sv39"): PageTables {
  const tables = hart.begin(paging);
  tables.map(VIRTUAL, DATA, LEAF.all);
  hart.setMemory(DATA, 1n);
  hart.setMemory(OTHER, 2n);
  seen();
  return tables;
}

/** What a load of VIRTUAL sees: a value, or "fault". */
function seen(): bigint | "fault" {
  const cause = hart.access("load", VIRTUAL);
  if (cause === 0) return hart.x(10);
  assertEquals(cause, PAGE_FAULT.load);
  return "fault";
}

/**
 * Stores to an entry and loads VIRTUAL in the next instruction, both by a guest in machine mode with
 * MPRV; the store goes to a virtual address.
 */
function storeThenLoad(at: bigint, value: bigint, store: number): bigint {
  hart.core.setWord(0, "privilege", 3);
  hart.set("mstatus", MSTATUS.MPRV | 1n << 11n);
  hart.setX(11, VIRTUAL);
  hart.setX(12, value);
  hart.setX(13, at);
  hart.setX(10, 99n);
  // The load before the store proves that the translation is cached.
  hart.program([LOAD, store, LOAD]);
  hart.run(1);
  assertEquals(hart.x(10), 1n);
  hart.run(2);
  return hart.x(10);
}

const STORES: readonly (readonly [string, number])[] = [
  ["sd", encode("sd", { rs1: 13, rs2: 12 })],
  ["amoswap.d", encode("amoswap.d", { rd: 14, rs1: 13, rs2: 12 })],
  ["fsd", encode("fsd", { rs1: 13, rs2: 12 })],
];

Deno.test("a store to an entry is obeyed by the next instruction, by whatever instruction it comes", () => {
  for (const paging of PAGINGS) {
    for (const [name, store] of STORES) {
      const tables = begin(paging);
      const slot = tables.slot(VIRTUAL);
      tables.map(ALIAS, slot, LEAF.all);
      hart.core.setRegister(0, "f", entryFor(OTHER, LEAF.all), 12);
      hart.set("mstatus", MSTATUS.FS);
      const at = ALIAS + BigInt(slot & 4095);
      assertEquals(storeFloatSafe(name, at, store), 2n, `${paging} ${name}`);
      assertEquals(seen(), 2n);
    }
  }
});

/** As storeThenLoad, with the float unit on for float stores. */
function storeFloatSafe(name: string, at: bigint, store: number): bigint {
  if (name !== "fsd") return storeThenLoad(at, entryFor(OTHER, LEAF.all), store);
  hart.core.setWord(0, "privilege", 3);
  hart.set("mstatus", MSTATUS.MPRV | 1n << 11n | MSTATUS.FS);
  hart.setX(11, VIRTUAL);
  hart.setX(13, at);
  hart.program([LOAD, store, LOAD]);
  hart.run(3);
  return hart.x(10);
}

Deno.test("an entry written in parts counts as soon as a part changes it", () => {
  const tables = begin();
  const slot = tables.slot(VIRTUAL);
  tables.map(ALIAS, slot, LEAF.all);
  const at = ALIAS + BigInt(slot & 4095);
  // Bits 10 to 17 of the entry hold the low bits of the page number: one byte moves the page by one.
  const entry = entryFor(OTHER, LEAF.all);
  const byte = encode("sb", { rs1: 13, rs2: 12, imm: 1 });
  assertEquals(storeThenLoad(at, entry >> 8n & 0xffn, byte), 2n);
});

Deno.test("every level counts: an entry above the leaf may be changed as well", () => {
  for (const paging of PAGINGS) {
    for (let level = 1; level < 3; level++) {
      const tables = begin(paging);
      const elsewhere = new PageTables(hart, paging, RAM + 0x60_0000);
      elsewhere.map(VIRTUAL, OTHER, LEAF.all);
      const slot = tables.slot(VIRTUAL, level);
      tables.map(ALIAS, slot, LEAF.all);
      const entry = hart.memory(elsewhere.slot(VIRTUAL, level));
      const at = ALIAS + BigInt(slot & 4095);
      assertEquals(storeThenLoad(at, entry, STORES[0]![1]), 2n, `${paging} level ${level}`);
    }
  }
});

Deno.test("a store through any of several aliases of the table counts, cached for writing before", () => {
  const tables = begin();
  const slot = tables.slot(VIRTUAL);
  for (const alias of [ALIAS, ALIAS + 0x10_0000n, -0x7000n]) {
    tables.map(VIRTUAL, DATA, LEAF.all);
    tables.map(alias, slot, LEAF.all);
    const at = BigInt.asUintN(64, alias + BigInt(slot & 4095));
    // S21.3: the table's page is written through the alias before it is first walked as a table.
    hart.core.exports.flushAll();
    hart.setX(12, hart.memory(slot));
    assertEquals(hart.access("store", at), 0);
    assertEquals(seen(), 1n);
    assertEquals(storeThenLoad(at, entryFor(OTHER, LEAF.all), STORES[0]![1]), 2n);
  }
});

Deno.test("machine mode without translation reaches the tables too", () => {
  const tables = begin();
  const slot = tables.slot(VIRTUAL);
  hart.core.setWord(0, "privilege", 3);
  hart.set("mstatus", 0n);
  hart.setX(12, entryFor(OTHER, LEAF.all));
  hart.setX(13, BigInt(slot));
  hart.program([STORES[0]![1]]);
  hart.run(1);
  assertEquals(seen(), 2n);
});

// S21.8: "Writes by DMA … obey the same rule."
Deno.test("DMA into a table counts", () => {
  const tables = begin();
  const { core } = hart;
  const memory = new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
    core.exports.dmaWrote(BigInt(gpa), length);
  });
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, entryFor(OTHER, LEAF.all), true);
  assertEquals(memory.write(tables.slot(VIRTUAL), bytes), true);
  assertEquals(seen(), 2n);
  // Also when the table is somewhere in the middle of a long transfer.
  tables.map(VIRTUAL, DATA, LEAF.all);
  assertEquals(seen(), 1n);
  const long = new Uint8Array(3 * 4096);
  const start = tables.slot(VIRTUAL) - 4096;
  memory.read(start, long);
  new DataView(long.buffer).setBigUint64(4096, entryFor(OTHER, LEAF.all), true);
  memory.write(start, long);
  assertEquals(seen(), 2n);
});

Deno.test("an entry that becomes valid is seen without a fence, and one that stops being so", () => {
  const tables = hart.begin("sv39");
  hart.setMemory(OTHER, 2n);
  const slot = tables.slot(VIRTUAL);
  tables.map(ALIAS, slot, LEAF.all);
  const at = ALIAS + BigInt(slot & 4095);
  assertEquals(seen(), "fault");
  hart.setX(12, entryFor(OTHER, LEAF.all));
  assertEquals(hart.access("store", at), 0);
  assertEquals(seen(), 2n);
  hart.setX(12, 0n);
  assertEquals(hart.access("store", at), 0);
  assertEquals(seen(), "fault");
});

Deno.test("taking a permission away counts at once", () => {
  const tables = begin();
  const slot = tables.slot(VIRTUAL);
  tables.map(ALIAS, slot, LEAF.all);
  const at = ALIAS + BigInt(slot & 4095);
  assertEquals(hart.access("store", VIRTUAL), 0);
  hart.setX(12, entryFor(DATA, LEAF.all & ~LEAF.W));
  assertEquals(hart.access("store", at), 0);
  assertEquals(hart.access("store", VIRTUAL), PAGE_FAULT.store);
  assertEquals(hart.access("load", VIRTUAL), 0);
});

Deno.test("clearing A and D lets the walker set them again", () => {
  const tables = begin();
  const slot = tables.slot(VIRTUAL);
  assertEquals(hart.access("store", VIRTUAL), 0);
  const clean = LEAF.all & ~(LEAF.A | LEAF.D);
  tables.map(VIRTUAL, DATA, clean);
  assertEquals(hart.access("load", VIRTUAL), 0);
  assertEquals(hart.memory(slot) & 0xffn, clean | LEAF.A);
  assertEquals(hart.access("store", VIRTUAL), 0);
  assertEquals(hart.memory(slot) & 0xffn, LEAF.all);
});

Deno.test("a table that maps itself can be edited through itself", () => {
  const tables = begin();
  const slot = tables.slot(VIRTUAL);
  const table = slot - slot % 4096;
  // The entry after the one of VIRTUAL maps the very table that holds both.
  const self = VIRTUAL + 0x1000n;
  tables.map(self, table, LEAF.all);
  const at = self + BigInt(slot & 4095);
  assertEquals(storeThenLoad(at, entryFor(OTHER, LEAF.all), STORES[0]![1]), 2n);
  // The entry that maps the table takes itself away: the next store through it faults.
  hart.setX(12, 0n);
  assertEquals(hart.access("store", at + 8n), 0);
  assertEquals(hart.access("store", at + 8n), PAGE_FAULT.store);
  assertEquals(seen(), 2n);
});

Deno.test("a large page becomes small pages and small pages a large one", () => {
  const tables = hart.begin("sv39");
  const base = VIRTUAL & ~0x1f_ffffn;
  const large = BigInt(DATA) & ~0x1f_ffffn;
  const within = base + (BigInt(DATA) & 0x1f_ffffn);
  tables.map(base, large, LEAF.all, 1);
  hart.setMemory(DATA, 1n);
  hart.setMemory(OTHER, 2n);
  const read = () => {
    assertEquals(hart.access("load", within), 0);
    return hart.x(10);
  };
  assertEquals(read(), 1n);
  const slot = tables.slot(base, 1);
  const small = new PageTables(hart, "sv39", RAM + 0x60_0000);
  small.map(within, OTHER, LEAF.all);
  const pointer = hart.memory(small.slot(within, 1));
  hart.setMemory(slot, pointer);
  assertEquals(read(), 2n);
  hart.setMemory(slot, entryFor(large, LEAF.all));
  assertEquals(read(), 1n);
});

Deno.test("a change is seen by address spaces that share the table and are not current", () => {
  const tables = begin();
  const second = new PageTables(hart, "sv39", RAM + 0x60_0000);
  const shared = tables.slot(VIRTUAL, 1);
  hart.setMemory(second.slot(VIRTUAL, 1), hart.memory(shared));
  second.turnOn();
  assertEquals(seen(), 1n);
  tables.turnOn();
  assertEquals(seen(), 1n);
  tables.map(VIRTUAL, OTHER, LEAF.all);
  assertEquals(seen(), 2n);
  second.turnOn();
  assertEquals(seen(), 2n);
});

Deno.test("a store that unmaps the code it lies in stops the next instruction", () => {
  const tables = hart.begin("sv39");
  const slot = tables.map(BigInt(CODE), CODE, LEAF.all);
  tables.map(ALIAS, slot, LEAF.all);
  hart.core.setWord(0, "privilege", 1);
  hart.setX(12, 0n);
  hart.setX(13, ALIAS + BigInt(slot & 4095));
  hart.program([NOP, STORES[0]![1], NOP, NOP]);
  const trap = hart.step(3)!;
  assertEquals([trap.cause, trap.epc, trap.value], [12n, BigInt(CODE + 8), BigInt(CODE + 8)]);
});

// A service may write guest memory, tables included, which empties the caches in the middle of an access:
// what that access found must not be kept without its marks.
Deno.test("a trace service that edits a table during an access leaves no untraced translation", () => {
  for (const kind of ["load", "store", "fetch"] as const) {
    const traced = new Translation();
    const tables = traced.begin("sv39");
    const slot = tables.map(VIRTUAL, DATA, LEAF.all);
    const unrelated = tables.map(ALIAS, OTHER, LEAF.all);
    traced.load([NOP, NOP], DATA);
    const { flags } = traced.core;
    flags.register(PAGE_FLAG.absent, () => {
      traced.setMemory(unrelated, entryFor(DATA, LEAF.all));
      return false;
    });
    flags.set((DATA - RAM) / 4096, PAGE_FLAG.absent);
    assertEquals(traced.access("load", ALIAS), 0);
    assertEquals(traced.access(kind, VIRTUAL), 0);
    // A store by machine mode, so that no walk of its own marks the table again.
    traced.set("mstatus", 0n);
    traced.core.setWord(0, "privilege", 3);
    traced.setX(12, 0n);
    traced.setX(13, BigInt(slot));
    traced.program([STORES[0]![1]]);
    traced.run(1);
    assertEquals(traced.access(kind, VIRTUAL), PAGE_FAULT[kind], kind);
  }
});

// Decoded pages make room for others by emptying every cache; what is fetched next must be traced again.
Deno.test("entries of code pages stay traced however many code pages there are", () => {
  const few = new Translation({ decodedPages: 4 });
  const tables = few.begin("sv39");
  const pages = Array.from({ length: 12 }, (_, i) => DATA + 0x1000 * i);
  pages.forEach((page) => few.load([NOP, NOP, NOP], page));
  few.load([encode("ebreak")], CODE);
  pages.forEach((page, i) => {
    const address = VIRTUAL + BigInt(i) * 0x1_0000n;
    tables.map(address, page, LEAF.all);
  });
  pages.forEach((_page, i) => {
    const address = VIRTUAL + BigInt(i) * 0x1_0000n;
    assertEquals(few.access("fetch", address), 0, `page ${i}`);
    // Edited while it is the page that was fetched last, with no other walk between.
    few.core.setWord(0, "privilege", 3);
    few.set("mstatus", 0n);
    const slot = tables.slot(address);
    few.setX(12, 0n);
    few.setX(13, BigInt(slot));
    few.load([STORES[0]![1]], TABLES + 0x10_0000);
    few.core.setWord(0, "privilege", 3);
    few.set("pc", BigInt(TABLES + 0x10_0000));
    few.run(1);
    assertEquals(few.access("fetch", address), PAGE_FAULT.fetch, `page ${i}`);
  });
});
