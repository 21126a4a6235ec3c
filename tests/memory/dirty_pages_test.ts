/**
 * Which pages were written since an epoch began, by every way to write guest memory (X1: "Every path that
 * writes guest memory honours trace flags"), and what does not count: accesses that fail.
 */
import { assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { DirtyPages } from "../../kernel/memory/dirty_pages.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import { LEAF, TABLES } from "../_support/page_tables.ts";
import { CAUSE, CODE, DATA, machineTrap, MSTATUS, PrivilegedCore } from "../_support/privileged.ts";
import { Translation } from "./translation.ts";

const page = (address: number) => (address - RAM) / 4096 | 0;
const END = RAM + (16 << 20);

function tracked(hart = new PrivilegedCore()): { hart: PrivilegedCore; dirty: DirtyPages } {
  hart.load([], CODE);
  const dirty = new DirtyPages(hart.core.flags);
  dirty.start();
  return { hart, dirty };
}

/** Executes an instruction in machine mode with x11 = address, x12 = value; gives its trap. */
function execute(hart: PrivilegedCore, name: string, address: number, value = 0n): string {
  const row = name === "cbo.zero" ? { rs1: 11 } : { rd: 10, rs1: 11, rs2: 12 };
  const word = encode(name, row);
  // The test's own way to put code into memory is no write of the guest.
  new DataView(hart.core.buffer).setUint32(hart.core.plan.ram + CODE - RAM, word, true);
  hart.core.decodedPages.clear();
  hart.set("mstatus", MSTATUS.FS);
  hart.set("pc", BigInt(CODE));
  hart.core.setWord(0, "privilege", 3);
  hart.setX(11, BigInt(address));
  hart.setX(12, value);
  const taken = hart.step();
  return taken === undefined ? "no trap" : machineTrap(Number(taken.cause), taken.value);
}

Deno.test("stores of every width, atomics and cbo.zero make their page dirty", () => {
  const { hart, dirty } = tracked();
  const writes = ["sb", "sh", "sw", "sd", "fsw", "fsd", "amoadd.w", "amoswap.d", "cbo.zero"];
  writes.forEach((name, i) => {
    assertEquals(execute(hart, name, DATA + 4096 * i), "no trap", name);
    assertEquals([...dirty.take()], [page(DATA) + i], name);
  });
  assertEquals([...dirty.take()], []);
});

Deno.test("a page is listed once, in order, and again when it is written in the next epoch", () => {
  const { hart, dirty } = tracked();
  for (const at of [3, 0, 3, 1, 0]) execute(hart, "sd", DATA + 4096 * at);
  assertEquals([...dirty.list()], [0, 1, 3].map((at) => page(DATA) + at));
  assertEquals([...dirty.take()], [0, 1, 3].map((at) => page(DATA) + at));
  execute(hart, "sd", DATA + 4096 * 3);
  assertEquals([...dirty.take()], [page(DATA) + 3]);
});

Deno.test("a store of the same value counts, a load does not", () => {
  const { hart, dirty } = tracked();
  execute(hart, "ld", DATA);
  execute(hart, "lr.d", DATA);
  assertEquals([...dirty.list()], []);
  execute(hart, "sd", DATA, 0n);
  assertEquals([...dirty.list()], [page(DATA)]);
});

Deno.test("an SC counts when it stores, and not when it fails", () => {
  const { hart, dirty } = tracked();
  execute(hart, "sc.d", DATA, 7n);
  execute(hart, "lr.d", DATA);
  execute(hart, "sc.d", DATA + 8192, 7n);
  assertEquals([[...dirty.list()], hart.x(10)], [[], 1n]);
  execute(hart, "lr.d", DATA);
  execute(hart, "sc.d", DATA, 7n);
  assertEquals([[...dirty.list()], hart.x(10)], [[page(DATA)], 0n]);
});

Deno.test("accesses that fault write nothing: misaligned atomics, and stores over the end of RAM", () => {
  const { hart, dirty } = tracked();
  assertEquals(
    execute(hart, "amoadd.d", DATA + 4),
    machineTrap(CAUSE.storeMisaligned, DATA + 4),
  );
  assertEquals(execute(hart, "sd", END), machineTrap(CAUSE.storeAccess, END));
  assertEquals([...dirty.list()], []);
});

Deno.test("a store on two pages makes both dirty, or none when one of them faults", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const low = 0x1000_0000n;
  tables.map(low, DATA, LEAF.all);
  tables.map(low + 4096n, DATA + 0x5000, LEAF.all);
  tables.map(low + 0x2000n, DATA + 0x7000, LEAF.all);
  const dirty = new DirtyPages(hart.core.flags);
  hart.access("store", low);
  dirty.start();
  assertEquals(hart.access("store", low + 4092n), 0);
  // The instruction itself was put into memory by a device.
  const written = () => [...dirty.take()].filter((at) => at !== page(CODE));
  assertEquals(written(), [page(DATA), page(DATA) + 5]);
  const word = encode("sd", { rs1: 11, rs2: 12 });
  hart.core.setWord(0, "privilege", 3);
  hart.set("mstatus", MSTATUS.MPRV | 1n << 11n);
  hart.setX(11, low + 0x2ffcn);
  hart.program([word]);
  const { cause, value } = hart.step()!;
  assertEquals([cause, value], [BigInt(CAUSE.storePage), low + 0x3000n]);
  assertEquals(written(), []);
});

Deno.test("the walker's accessed and dirty bits are writes, once", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const address = 0x1000_0000n;
  const slot = tables.map(address, DATA, LEAF.V | LEAF.R | LEAF.W);
  const dirty = new DirtyPages(hart.core.flags);
  dirty.start();
  const written = () => [...dirty.take()].filter((at) => at !== page(CODE));
  const steps: ["load" | "store", number[]][] = [
    ["load", [page(slot)]],
    ["load", []],
    ["store", [page(DATA), page(slot)]],
    ["store", [page(DATA)]],
  ];
  for (const [kind, expected] of steps) {
    assertEquals(hart.access(kind, address), 0);
    assertEquals(written(), expected, kind);
  }
  assertEquals(page(slot) > page(TABLES), true);
});

Deno.test("DMA makes all of its pages dirty, and nothing outside RAM", () => {
  const { hart, dirty } = tracked();
  const { core } = hart;
  const memory = new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
    core.exports.dmaWrote(BigInt(gpa), length);
  });
  memory.write(DATA + 4000, new Uint8Array(5000));
  memory.setInteger(DATA + 0x8000, 4, 0);
  memory.read(DATA + 0x9000, new Uint8Array(4096));
  assertEquals(memory.write(END - 4, new Uint8Array(8)), false);
  assertEquals([...dirty.take()], [0, 1, 2, 8].map((at) => page(DATA) + at));
});

Deno.test("the first store of an epoch fills the write TLB, so that the second one is fast", () => {
  const { hart, dirty } = tracked();
  const slow = () => Number(hart.core.control("statSlowStores"));
  const words = [0, 1, 2].map(() => encode("sd", { rs1: 11, rs2: 12 }));
  for (let epoch = 0; epoch < 3; epoch++) {
    hart.program(words);
    hart.setX(11, BigInt(DATA));
    dirty.take();
    const before = slow();
    hart.run(3);
    assertEquals([slow() - before, [...dirty.list()]], [1, [page(DATA)]]);
  }
});

Deno.test("a page with other traces is dirty after they were asked, and stays out of the write TLB", () => {
  const { hart, dirty } = tracked();
  const seen: number[] = [];
  hart.core.flags.register(PAGE_FLAG.watchedWrite, ({ flags }) => {
    seen.push(flags);
    assertEquals([...dirty.list()], []);
    return true;
  });
  hart.core.flags.set(page(DATA), PAGE_FLAG.watchedWrite);
  execute(hart, "sd", DATA);
  assertEquals(seen, [PAGE_FLAG.watchedWrite | PAGE_FLAG.clean]);
  assertEquals([...dirty.take()], [page(DATA)]);
  execute(hart, "amoadd.d", DATA);
  assertEquals(seen.length, 2);
});

Deno.test("a list that was kept can be put back", () => {
  const { hart, dirty } = tracked();
  execute(hart, "sd", DATA);
  const kept = dirty.list();
  execute(hart, "sd", DATA + 4096);
  dirty.restore(kept);
  assertEquals([...dirty.list()], [page(DATA)]);
  execute(hart, "sd", DATA + 4096);
  assertEquals([...dirty.take()], [page(DATA), page(DATA) + 1]);
});

Deno.test("nothing is traced before start and after stop", () => {
  const { hart, dirty } = tracked();
  assertThrows(() => dirty.start(), Broken, "already");
  dirty.stop();
  dirty.stop();
  assertEquals(hart.core.flags.pagesWithout(PAGE_FLAG.clean).length, hart.core.plan.ramPages);
  assertThrows(() => dirty.take(), Broken, "not tracked");
  dirty.start();
  assertEquals([...dirty.take()], []);
});
