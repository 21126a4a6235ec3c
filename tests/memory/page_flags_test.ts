/**
 * Page traces: registering a service, setting flags, and being asked before every kind of access
 * (design.md, "One mechanism"; requirement X1: "Every path that writes guest memory honours trace
 * flags").
 *
 * Invariant tested: while a flag on a page wants to see an access, no access of that kind gets past it,
 * however well cached the page was before.
 */
import { assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { PAGE_FLAG, type TracedAccess } from "../../kernel/memory/page_flags.ts";
import { encode } from "../../tools/asm/encode.ts";
import { BareCore, RAM } from "../_support/bare_core.ts";
import { LEAF } from "../_support/page_tables.ts";
import { CODE, DATA, MSTATUS, NOP, PrivilegedCore } from "../_support/privileged.ts";
import { Translation } from "./translation.ts";

const READ_FLAGS = [PAGE_FLAG.absent, PAGE_FLAG.watchedRead];
const WRITE_FLAGS = [
  PAGE_FLAG.absent,
  PAGE_FLAG.clean,
  PAGE_FLAG.frozen,
  PAGE_FLAG.watchedWrite,
  PAGE_FLAG.protected,
];
const pageOf = (address: number) => Math.floor((address - RAM) / 4096);

/** Registers a service that notes what it is asked, and what memory held then. */
function note(hart: PrivilegedCore, flag: number, stay = true): (TracedAccess & { was: bigint })[] {
  const seen: (TracedAccess & { was: bigint })[] = [];
  hart.core.flags.register(flag, (access) => {
    seen.push({ ...access, was: hart.memory(access.gpa - access.gpa % 8) });
    return stay;
  });
  return seen;
}

/** Executes one instruction in machine mode with x11 = address, x12 = value. */
function execute(hart: PrivilegedCore, name: string, address: number, value = 0n): void {
  hart.set("mstatus", MSTATUS.FS);
  hart.setX(11, BigInt(address));
  hart.setX(12, value);
  assertEquals(hart.attempt([encode(name, { rd: 10, rs1: 11, rs2: 12 })], "machine"), "no trap");
}

function guestMemory({ core }: PrivilegedCore): GuestMemory {
  return new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
    core.exports.dmaWrote(BigInt(gpa), length);
  });
}

Deno.test("a flag has one service at a time", () => {
  const { flags } = new PrivilegedCore().core;
  flags.register(PAGE_FLAG.frozen, () => true);
  assertThrows(() => flags.register(PAGE_FLAG.frozen, () => true), Broken, "has a service");
  flags.register(PAGE_FLAG.clean, () => true);
  flags.unregister(PAGE_FLAG.frozen);
  flags.register(PAGE_FLAG.frozen, () => true);
});

Deno.test("flags are set and cleared one by one, and only on pages that exist", () => {
  const { flags, plan } = new PrivilegedCore().core;
  flags.set(3, PAGE_FLAG.frozen | PAGE_FLAG.clean);
  flags.set(3, PAGE_FLAG.clean);
  assertEquals([flags.get(2), flags.get(3), flags.get(4)], [0, 24, 0]);
  flags.clear(3, PAGE_FLAG.frozen | PAGE_FLAG.absent);
  assertEquals(flags.get(3), PAGE_FLAG.clean);
  flags.set(plan.ramPages - 1, PAGE_FLAG.clean);
  for (const page of [-1, plan.ramPages]) {
    assertThrows(() => flags.get(page), Broken, "does not exist");
    assertThrows(() => flags.set(page, 1), Broken, "does not exist");
    assertThrows(() => flags.clear(page, 1), Broken, "does not exist");
  }
});

Deno.test("flags of all pages are set and cleared at once, whatever their number, and nothing else", () => {
  for (const pages of [1, 7, 8, 63, 64, 65, 200]) {
    const { core } = new BareCore({ ramBytes: pages * 4096 });
    const { flags, plan, bytes } = core;
    const around = () => [
      ...bytes.slice(plan.pageFlags - 64, plan.pageFlags),
      ...bytes.slice(Math.ceil((plan.pageFlags + pages) / 64) * 64, plan.decoded),
    ];
    flags.set(pages - 1, PAGE_FLAG.protected);
    const before = around();
    flags.setAll(PAGE_FLAG.absent | PAGE_FLAG.frozen);
    const all = Array.from({ length: pages }, (_, page) => flags.get(page));
    assertEquals(all, [...new Array(pages - 1).fill(17), 17 + PAGE_FLAG.protected]);
    const copy = new Uint8Array(pages);
    flags.copyTo(copy);
    assertEquals([...copy], all);
    flags.clearAll(PAGE_FLAG.frozen);
    assertEquals(flags.pagesWithout(PAGE_FLAG.frozen).length, pages);
    assertEquals(flags.pagesWithout(PAGE_FLAG.absent).length, 0);
    assertEquals(around(), before);
  }
});

Deno.test("a service is told of the access, before it happens, with the value to be written", () => {
  const hart = new PrivilegedCore();
  const seen = note(hart, PAGE_FLAG.watchedWrite);
  hart.setMemory(DATA + 16, 5n);
  hart.core.flags.set(pageOf(DATA), PAGE_FLAG.watchedWrite | PAGE_FLAG.clean);
  execute(hart, "sw", DATA + 20, 0x1_2345_6789n);
  assertEquals(seen.length, 1);
  const { kind, gpa, size, flags, was } = seen[0]!;
  assertEquals({ kind, gpa, size, was }, { kind: "write", gpa: DATA + 20, size: 4, was: 5n });
  assertEquals(BigInt.asUintN(32, seen[0]!.value), 0x2345_6789n);
  assertEquals(
    flags,
    PAGE_FLAG.watchedWrite | PAGE_FLAG.clean,
    "all flags that were hit are named",
  );
  assertEquals(hart.memory(DATA + 16), 0x2345_6789_0000_0005n);
});

Deno.test("a service that lets the flag go is asked once, one that keeps it every time", () => {
  for (const stay of [true, false]) {
    for (const flag of WRITE_FLAGS) {
      const hart = new PrivilegedCore();
      const seen = note(hart, flag, stay);
      hart.core.flags.set(pageOf(DATA), flag);
      for (let i = 0; i < 3; i++) execute(hart, "sd", DATA + 8 * i);
      assertEquals(seen.length, stay ? 3 : 1, `flag ${flag}`);
      assertEquals(hart.core.flags.get(pageOf(DATA)), stay ? flag : 0);
    }
  }
});

Deno.test("reads hit absent and watched-read alone, writes all service flags but watched-read", () => {
  for (let flag = 1; flag <= 0x80; flag <<= 1) {
    const hart = new PrivilegedCore();
    const seen = note(hart, flag);
    hart.core.flags.set(pageOf(DATA), flag);
    execute(hart, "ld", DATA);
    assertEquals(seen.length, READ_FLAGS.some((f) => f === flag) ? 1 : 0, `read, flag ${flag}`);
    seen.length = 0;
    execute(hart, "sd", DATA);
    assertEquals(seen.length, WRITE_FLAGS.some((f) => f === flag) ? 1 : 0, `write, flag ${flag}`);
  }
});

Deno.test("several flags on a page ask their services from the lowest flag up", () => {
  const hart = new PrivilegedCore();
  const order: number[] = [];
  for (const flag of [PAGE_FLAG.protected, PAGE_FLAG.absent, PAGE_FLAG.frozen]) {
    hart.core.flags.register(flag, () => order.push(flag) > 0);
  }
  hart.core.flags.set(pageOf(DATA), PAGE_FLAG.protected | PAGE_FLAG.absent | PAGE_FLAG.frozen);
  execute(hart, "sb", DATA);
  assertEquals(order, [PAGE_FLAG.absent, PAGE_FLAG.frozen, PAGE_FLAG.protected]);
});

Deno.test("setting a flag reaches pages whose translations are cached", () => {
  const hart = new PrivilegedCore();
  const [reads, writes] = [note(hart, PAGE_FLAG.watchedRead), note(hart, PAGE_FLAG.watchedWrite)];
  for (let i = 0; i < 2; i++) {
    execute(hart, "sd", DATA);
    execute(hart, "ld", DATA);
  }
  const slow = hart.core.control("statSlowStores") + hart.core.control("statSlowLoads");
  execute(hart, "sd", DATA);
  execute(hart, "ld", DATA);
  const after = hart.core.control("statSlowStores") + hart.core.control("statSlowLoads");
  assertEquals(after, slow, "without a flag there is no slow path");
  hart.core.flags.set(pageOf(DATA), PAGE_FLAG.watchedRead | PAGE_FLAG.watchedWrite);
  execute(hart, "sd", DATA);
  execute(hart, "ld", DATA);
  assertEquals([reads.length, writes.length], [1, 1]);
  hart.core.flags.clear(pageOf(DATA), PAGE_FLAG.watchedRead | PAGE_FLAG.watchedWrite);
  execute(hart, "sd", DATA);
  execute(hart, "ld", DATA);
  assertEquals([reads.length, writes.length], [1, 1]);
});

Deno.test("a flag without a service stays and slows accesses down, no more", () => {
  const hart = new PrivilegedCore();
  hart.core.flags.set(pageOf(DATA), PAGE_FLAG.frozen);
  execute(hart, "sd", DATA, 7n);
  assertEquals(hart.memory(DATA), 7n);
  assertEquals(hart.core.flags.get(pageOf(DATA)), PAGE_FLAG.frozen);
});

// X1: stores, AMO and SC, block operations, page-crossing stores on both pages.
Deno.test("every kind of store asks, with the bytes it will write", () => {
  const cases: [string, number, number[][]][] = [
    ["sb", 3, [[3, 1]]],
    ["sh", 2, [[2, 2]]],
    ["sd", 8, [[8, 8]]],
    ["fsw", 4, [[4, 4]]],
    ["amoadd.w", 12, [[12, 4]]],
    ["amoxor.d", 16, [[16, 8]]],
    ["cbo.zero", 70, [64, 72, 80, 88, 96, 104, 112, 120].map((offset) => [offset, 8])],
    ["sd", 4093, [[4093, 1], [4094, 1], [4095, 1]]],
    ["sd", -3, [[0, 1], [1, 1], [2, 1], [3, 1], [4, 1]]],
  ];
  for (const [name, offset, expected] of cases) {
    const hart = new PrivilegedCore();
    const seen = note(hart, PAGE_FLAG.watchedWrite);
    hart.core.flags.set(pageOf(DATA), PAGE_FLAG.watchedWrite);
    execute(hart, name, DATA + offset);
    assertEquals(seen.map(({ gpa, size }) => [gpa - DATA, size]), expected, name);
  }
});

Deno.test("a store-conditional asks when it stores and not when it fails", () => {
  const hart = new PrivilegedCore();
  const seen = note(hart, PAGE_FLAG.watchedWrite);
  hart.core.flags.set(pageOf(DATA), PAGE_FLAG.watchedWrite);
  execute(hart, "sc.d", DATA);
  assertEquals(seen.length, 0);
  hart.setX(11, BigInt(DATA));
  hart.attempt([encode("lr.d", { rd: 10, rs1: 11 })], "machine");
  execute(hart, "sc.d", DATA);
  assertEquals(seen.map(({ gpa, size }) => [gpa - DATA, size]), [[0, 8]]);
});

Deno.test("loads, load-reserved, read-modify-write and fetches ask the read traces", () => {
  for (const name of ["lb", "lwu", "ld", "fld", "lr.w", "amoadd.w"]) {
    const hart = new PrivilegedCore();
    const seen = note(hart, PAGE_FLAG.watchedRead);
    hart.core.flags.set(pageOf(DATA), PAGE_FLAG.watchedRead);
    execute(hart, name, DATA + 8);
    assertEquals(seen.map(({ kind, gpa }) => [kind, gpa - DATA]), [["read", 8]], name);
  }
  const hart = new PrivilegedCore();
  const seen = note(hart, PAGE_FLAG.watchedRead);
  hart.load([NOP, NOP], DATA);
  hart.set("pc", BigInt(DATA));
  hart.run(1);
  hart.core.flags.set(pageOf(DATA), PAGE_FLAG.watchedRead);
  for (let i = 0; i < 2; i++) {
    hart.set("pc", BigInt(DATA));
    hart.run(1);
  }
  assertEquals(seen.length, 2, "a flag that stays sees each time the page is entered");
});

// Demand loading: the page gets its content when it is first asked for, by whatever access.
Deno.test("a page that is absent is filled before the first access of any kind", () => {
  const half = encode("addi", { rd: 10, imm: 42 });
  const fill = (hart: PrivilegedCore, page: number, word: bigint) => {
    hart.core.flags.set(page, PAGE_FLAG.absent);
    hart.core.flags.register(PAGE_FLAG.absent, (access) => {
      const start = access.gpa - access.gpa % 4096;
      new DataView(hart.core.buffer, hart.core.plan.ram).setBigUint64(start - RAM, word, true);
      return false;
    });
  };
  const loads = new PrivilegedCore();
  fill(loads, pageOf(DATA), 99n);
  execute(loads, "ld", DATA);
  assertEquals(loads.x(10), 99n);

  const atomics = new PrivilegedCore();
  fill(atomics, pageOf(DATA), 99n);
  execute(atomics, "amoadd.d", DATA, 1n);
  assertEquals([atomics.x(10), atomics.memory(DATA)], [99n, 100n]);

  const fetches = new PrivilegedCore();
  fill(fetches, pageOf(DATA), BigInt(half));
  fetches.set("pc", BigInt(DATA));
  fetches.run(1);
  assertEquals(fetches.x(10), 42n);

  // The second half of an instruction is on the page that is absent.
  const straddles = new PrivilegedCore();
  fill(straddles, pageOf(DATA), BigInt(half >>> 16));
  straddles.load([half << 16], DATA - 4);
  straddles.set("pc", BigInt(DATA - 2));
  straddles.run(1);
  assertEquals(straddles.x(10), 42n);
});

Deno.test("the page walker's reads of an absent table fill it first", () => {
  const hart = new Translation();
  const virtual = 0x4567_8000n;
  for (const level of [2, 1, 0]) {
    const tables = hart.begin("sv39");
    tables.map(virtual, DATA, LEAF.all);
    hart.setMemory(DATA, 7n);
    const slot = tables.slot(virtual, level);
    const entry = hart.memory(slot);
    hart.setMemory(slot, 0n);
    hart.core.flags.set(pageOf(slot), PAGE_FLAG.absent);
    hart.core.flags.register(PAGE_FLAG.absent, () => {
      new DataView(hart.core.buffer, hart.core.plan.ram).setBigUint64(slot - RAM, entry, true);
      return false;
    });
    assertEquals(hart.access("load", virtual), 0, `level ${level}`);
    assertEquals(hart.x(10), 7n);
    hart.core.flags.unregister(PAGE_FLAG.absent);
  }
});

// X1: "… and the page walker's own A/D-bit updates."
Deno.test("the page walker's own writes ask, and name the entry", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const slot = tables.map(0x4567_8000n, DATA, LEAF.all & ~(LEAF.A | LEAF.D));
  const before = hart.memory(slot);
  const seen = note(hart, PAGE_FLAG.frozen);
  hart.core.flags.set(pageOf(slot), PAGE_FLAG.frozen);
  assertEquals(hart.access("store", 0x4567_8000n), 0);
  assertEquals(seen.map(({ kind, gpa, size, value, was }) => ({ kind, gpa, size, value, was })), [
    { kind: "write", gpa: slot, size: 8, value: before | LEAF.A | LEAF.D, was: before },
  ]);
});

// X1: device DMA.
Deno.test("DMA asks once for each page it touches, with the bytes on that page", () => {
  const hart = new PrivilegedCore();
  const [reads, writes] = [note(hart, PAGE_FLAG.watchedRead), note(hart, PAGE_FLAG.frozen)];
  const memory = guestMemory(hart);
  for (const page of [0, 1, 2, 3]) {
    hart.core.flags.set(pageOf(DATA) + page, PAGE_FLAG.frozen | PAGE_FLAG.watchedRead);
  }
  const bytes = new Uint8Array(2 * 4096);
  assertEquals(memory.write(DATA + 4000, bytes), true);
  const where = (list: typeof reads) => list.map(({ gpa, size }) => [gpa - DATA, size]);
  const expected = [[4000, 96], [4096, 4096], [8192, 4000]];
  assertEquals([where(reads), where(writes)], [[], expected]);
  assertEquals(memory.read(DATA + 4000, bytes), true);
  assertEquals(where(reads), expected);
  memory.setInteger(DATA, 4, 1);
  memory.integer(DATA + 8, 2);
  assertEquals([where(writes).at(-1), where(reads).at(-1)], [[0, 4], [8, 2]]);
});

Deno.test("guest memory refuses what is not wholly in RAM, and asks nobody then", () => {
  const hart = new PrivilegedCore();
  const seen = note(hart, PAGE_FLAG.frozen);
  const memory = guestMemory(hart);
  const { ramPages, ramBytes } = hart.core.plan;
  hart.core.flags.set(ramPages - 1, PAGE_FLAG.frozen);
  const end = RAM + ramBytes;
  assertEquals(memory.write(end - 4, new Uint8Array(5)), false);
  assertEquals(memory.read(RAM - 1, new Uint8Array(2)), false);
  assertEquals([memory.integer(end - 1, 2), memory.integer(0, 4)], [undefined, undefined]);
  assertEquals(memory.setInteger(end - 3, 4, 1), false);
  assertEquals(seen.length, 0);
  assertEquals(memory.write(end - 4, Uint8Array.of(1, 2, 3, 4)), true);
  assertEquals(memory.integer(end - 4, 4), 0x0403_0201);
  assertEquals(seen.length, 1);
});

Deno.test("a service may use guest memory of other pages and set flags there", () => {
  const hart = new PrivilegedCore();
  const other = DATA + 0x1000;
  execute(hart, "sd", other, 1n);
  const seen = note(hart, PAGE_FLAG.clean);
  hart.core.flags.register(PAGE_FLAG.frozen, () => {
    hart.core.flags.set(pageOf(other), PAGE_FLAG.clean);
    return false;
  });
  hart.core.flags.set(pageOf(DATA), PAGE_FLAG.frozen);
  execute(hart, "sd", DATA, 2n);
  execute(hart, "sd", other, 3n);
  assertEquals(seen.map(({ was }) => was), [1n]);
  assertEquals(CODE < DATA, true);
});
