/**
 * The page-table tracker and the cache group by what they count (requirements S12.3 to S12.8, S21.9):
 * switches keep translations, an edit drops exactly what depends on its slot, tracking ends.
 *
 * Invariant tested: no more is dropped than depends on an edit, and never less.
 */
import { assert, assertEquals } from "@std/assert";
import type { CONTROL } from "../../kernel/memory/control_layout.ts";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import { entryFor, LEAF, PageTables } from "../_support/page_tables.ts";
import { DATA } from "../_support/privileged.ts";
import { PAGE_FAULT, Translation } from "./translation.ts";

const VIRTUAL = 0x4567_8000n;
const PAGES = 8;
const SECOND_ROOT = RAM + 0x60_0000;
const STORE = encode("sd", { rs1: 13, rs2: 12 });
const hart = new Translation();

type Counter = keyof typeof CONTROL.fields;

/** How much counters grow while `body` runs. */
function counted<N extends Counter>(names: readonly N[], body: () => void): Record<N, number> {
  const before = names.map((name) => hart.core.control(name));
  body();
  return Object.fromEntries(
    names.map((name, i) => [name, Number(hart.core.control(name) - before[i]!)]),
  ) as Record<N, number>;
}

/** A store by machine mode without translation. */
function storePhysical(address: number, value: bigint): void {
  hart.core.setWord(0, "privilege", 3);
  hart.set("mstatus", 0n);
  hart.setX(13, BigInt(address));
  hart.setX(12, value);
  hart.program([STORE]);
  hart.run(1);
}

/** Maps some pages in a row, one frame each. */
function mapPages(tables: PageTables, frames: number): void {
  for (let page = 0; page < PAGES; page++) {
    tables.map(VIRTUAL + BigInt(page * 4096), frames + page * 4096, LEAF.all);
  }
}

function readPages(): void {
  for (let page = 0; page < PAGES; page++) {
    assertEquals(hart.access("load", VIRTUAL + BigInt(page * 4096)), 0);
  }
}

/** What a load of the first page sees. */
function seen(): bigint {
  assertEquals(hart.access("load", VIRTUAL), 0);
  return hart.x(10);
}

/** The table page that an entry lies in. */
function tableOf(slot: number): number {
  return slot - slot % 4096;
}

function isTracked(table: number): boolean {
  return (hart.core.flags.get((table - RAM) / 4096) & PAGE_FLAG.table) !== 0;
}

/** Two address spaces with the same pages in different frames, both in the caches. */
function twoSpaces(): [PageTables, PageTables] {
  const first = hart.begin("sv39");
  const second = new PageTables(hart, "sv39", SECOND_ROOT);
  mapPages(first, DATA);
  mapPages(second, DATA + 0x10000);
  for (let page = 0; page < PAGES; page++) {
    hart.setMemory(DATA + page * 4096, 1n);
    hart.setMemory(DATA + 0x10000 + page * 4096, 2n);
  }
  for (const space of [first, second]) {
    space.turnOn();
    readPages();
  }
  return [first, second];
}

Deno.test("address spaces that alternate miss nothing from the second round on", () => {
  const spaces = twoSpaces();
  const { statFillsRead, statElementSwitches, statElementHits } = counted(
    ["statFillsRead", "statElementSwitches", "statElementHits"],
    () => {
      for (let round = 0; round < 10; round++) {
        for (const space of spaces) {
          space.turnOn();
          readPages();
        }
      }
    },
  );
  assertEquals(statFillsRead, 0);
  assert(statElementSwitches >= 20 && statElementHits === statElementSwitches);
});

Deno.test("an edit of another space's table costs it just the page that was edited", () => {
  const [first, second] = twoSpaces();
  first.turnOn();
  readPages();
  const slot = second.slot(VIRTUAL);
  const edit = counted(["statDependentsDropped", "statFlushes"], () => {
    storePhysical(slot, entryFor(DATA, LEAF.all));
  });
  assertEquals(edit, { statDependentsDropped: 1, statFlushes: 0 });
  second.turnOn();
  assertEquals(counted(["statFillsRead"], readPages), { statFillsRead: 1 });
  assertEquals(seen(), 1n);
});

Deno.test("an edit of a slot that led to nothing drops nothing", () => {
  const [first] = twoSpaces();
  const unused = first.slot(VIRTUAL) + 8 * PAGES;
  storePhysical(unused, entryFor(DATA, LEAF.all));
  const edit = counted(["statUnusedEdits", "statDependentsDropped"], () => {
    storePhysical(unused, entryFor(DATA + 4096, LEAF.all));
  });
  assertEquals(edit, { statUnusedEdits: 1, statDependentsDropped: 0 });
  first.turnOn();
  assertEquals(counted(["statFillsRead"], readPages), { statFillsRead: 0 });
});

Deno.test("an edit above the leaves drops what lies below, and nothing else", () => {
  for (const paging of ["sv39", "sv48", "sv57"] as const) {
    const tables = hart.begin(paging);
    mapPages(tables, DATA);
    const elsewhere = VIRTUAL + (1n << 30n) + 0x2_0000n;
    tables.map(elsewhere, DATA + 0x20000, LEAF.all);
    readPages();
    assertEquals(hart.access("load", elsewhere), 0);
    const slot = tables.slot(VIRTUAL, 1);
    const edit = counted(["statDependentsDropped", "statFlushes"], () => storePhysical(slot, 0n));
    assertEquals(edit, { statDependentsDropped: PAGES, statFlushes: 0 }, paging);
    assertEquals(hart.access("load", VIRTUAL), PAGE_FAULT.load);
    assertEquals(
      counted(["statFillsRead"], () => assertEquals(hart.access("load", elsewhere), 0)),
      { statFillsRead: 0 },
    );
  }
});

Deno.test("the upper half of a root is dropped as the upper half", () => {
  const tables = hart.begin("sv39");
  const high = BigInt.asUintN(64, -0x4000_0000n);
  tables.map(high, DATA, LEAF.all);
  tables.map(VIRTUAL, DATA, LEAF.all);
  assertEquals([hart.access("load", high), hart.access("load", VIRTUAL)], [0, 0]);
  const edit = counted(["statDependentsDropped"], () => storePhysical(tables.slot(high, 2), 0n));
  assertEquals(edit, { statDependentsDropped: 1 });
  assertEquals(hart.access("load", high), PAGE_FAULT.load);
  assertEquals(hart.access("load", VIRTUAL), 0);
});

Deno.test("a table that its parent no longer leads to is a page like others", () => {
  const tables = hart.begin("sv39");
  mapPages(tables, DATA);
  readPages();
  const table = tableOf(tables.slot(VIRTUAL));
  assert(isTracked(table));
  for (let page = 0; page < PAGES; page++) {
    storePhysical(tables.slot(VIRTUAL + BigInt(page * 4096)), 0n);
  }
  assert(isTracked(table), "a table without valid entries is one still");
  storePhysical(tables.slot(VIRTUAL, 1), 0n);
  assert(!isTracked(table));
});

Deno.test("a table that two address spaces share stays tracked for the other", () => {
  const tables = hart.begin("sv39");
  mapPages(tables, DATA);
  const second = new PageTables(hart, "sv39", SECOND_ROOT);
  hart.setMemory(second.slot(VIRTUAL, 1), hart.memory(tables.slot(VIRTUAL, 1)));
  readPages();
  second.turnOn();
  readPages();
  const table = tableOf(tables.slot(VIRTUAL));
  storePhysical(tables.slot(VIRTUAL, 1), 0n);
  assert(isTracked(table));
  second.turnOn();
  assertEquals(counted(["statFillsRead"], readPages), { statFillsRead: 0 });
  storePhysical(table + 8 * Number(VIRTUAL >> 12n & 511n), 0n);
  assertEquals(hart.access("load", VIRTUAL), PAGE_FAULT.load);
});

Deno.test("an edit under a root is seen under each of its ASIDs", () => {
  const tables = hart.begin("sv39");
  mapPages(tables, DATA);
  hart.setMemory(DATA, 1n);
  hart.setMemory(DATA + 0x10000, 2n);
  const under = (identifier: bigint) => hart.set("satp", tables.satp | identifier << 44n);
  for (const identifier of [5n, 6n]) {
    under(identifier);
    readPages();
  }
  const slot = tables.slot(VIRTUAL);
  const edit = counted(["statDependentsDropped"], () => {
    storePhysical(slot, entryFor(DATA + 0x10000, LEAF.all));
  });
  assertEquals(edit, { statDependentsDropped: 2 });
  for (const identifier of [5n, 6n]) {
    under(identifier);
    assertEquals(seen(), 2n);
    assertEquals(counted(["statFillsRead"], readPages), { statFillsRead: 0 });
  }
});

Deno.test("a former table that only gets stores becomes data, and its entries are seen to go", () => {
  const tables = hart.begin("sv39");
  mapPages(tables, DATA);
  readPages();
  const table = tableOf(tables.slot(VIRTUAL));
  const { statTableWrites } = counted(["statTableWrites"], () => {
    for (let store = 0; store < 512; store++) storePhysical(table + 8 * store, 0n);
  });
  assert(!isTracked(table));
  assert(statTableWrites < 200, `${statTableWrites} stores were traced`);
  assertEquals(hart.access("load", VIRTUAL), PAGE_FAULT.load);
});

Deno.test("an element that goes to another address space takes its bits with it", () => {
  const tables = hart.begin("sv39");
  mapPages(tables, DATA);
  readPages();
  const table = tableOf(tables.slot(VIRTUAL));
  assert(isTracked(table));
  // More address spaces than elements, with tables of their own.
  const { cacheElements } = hart.core.plan;
  for (let space = 0; space < cacheElements; space++) {
    const other = new PageTables(hart, "sv39", SECOND_ROOT + space * 0x4000);
    other.map(VIRTUAL, DATA, LEAF.all);
    other.turnOn();
    assertEquals(hart.access("load", VIRTUAL), 0);
  }
  assert(!isTracked(table));
  tables.turnOn();
  assertEquals(counted(["statFillsRead"], readPages), { statFillsRead: PAGES });
});

Deno.test("fills are counted by the size of the page that they came from", () => {
  const tables = hart.begin("sv39");
  tables.map(VIRTUAL, DATA, LEAF.all);
  const large = 0x8000_0000n;
  tables.map(large, RAM, LEAF.all, 1);
  const level = (index: number) => Number(hart.core.control("statFillsByLevel", index));
  const before = [level(1), level(2)];
  assertEquals([hart.access("load", VIRTUAL), hart.access("load", large)], [0, 0]);
  assertEquals([level(1) - before[0]!, level(2) - before[1]!], [1, 1]);
});

Deno.test("a peek finds the page of a fetch, and the guest cannot tell", () => {
  const tables = hart.begin("sv39");
  const slot = tables.map(VIRTUAL, DATA, LEAF.V | LEAF.X | LEAF.R);
  const { exports } = hart.core;
  // Makes the element of the mode current.
  assertEquals(hart.access("fetch", VIRTUAL + (1n << 30n)), PAGE_FAULT.fetch);
  hart.core.setWord(0, "privilege", 1);
  const peek = () => exports.peekFetch(Number(VIRTUAL), 0);
  const entry = entryFor(DATA, LEAF.V | LEAF.X | LEAF.R);
  hart.setMemory(slot, entry);
  assertEquals(peek(), -1, "A is clear");
  assertEquals(hart.memory(slot), entry);
  hart.setMemory(slot, entry | LEAF.A);
  assertEquals(peek(), (DATA - RAM) / 4096);
  hart.setMemory(slot, entryFor(DATA, LEAF.V | LEAF.R | LEAF.A));
  assertEquals(peek(), -1, "not executable");
  assertEquals(hart.core.controlWord("faultCause"), 0);
  assertEquals(exports.peekFetch(Number(VIRTUAL), 1), -1, "not mapped");
});
