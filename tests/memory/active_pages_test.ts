/**
 * Which pages are noted as in use, by every way to touch memory, and that watches stay what they are (S19.1,
 * S19.3, S19.4, S19.8).
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { newMemory } from "../../kernel/memory/memory_plan.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { resumeImage, saveImage } from "../../kernel/machine/machine_image.ts";
import { ActivePages } from "../../kernel/memory/active_pages.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { MemoryWatch, type Watch } from "../../kernel/memory/watch.ts";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import { START } from "../_support/hot_program.ts";
import { testMachine } from "../_support/machine.ts";
import { copyRam, Loader } from "../_support/memory_services.ts";
import { LEAF } from "../_support/page_tables.ts";
import { CODE, DATA, NOP, PrivilegedCore } from "../_support/privileged.ts";
import { type Place, Program } from "../_support/program.ts";
import { Prng } from "../../kernel/base/prng.ts";
import { Translation } from "./translation.ts";

const page = (address: number) => (address - RAM) / 4096 | 0;

function activeOf<H extends PrivilegedCore>(hart: H): {
  readonly hart: H;
  readonly watch: MemoryWatch;
  readonly active: ActivePages;
} {
  const watch = new MemoryWatch(hart.core.flags, hart.core.plan);
  return { hart, watch, active: new ActivePages(watch, hart.core.plan) };
}

/** Executes one instruction in machine mode with x11 = address, x12 = value. */
function execute(hart: PrivilegedCore, name: string, address: number): void {
  hart.setX(11, BigInt(address));
  hart.setX(12, 7n);
  assertEquals(hart.attempt([encode(name, { rd: 10, rs1: 11, rs2: 12 })], "machine"), "no trap");
}

Deno.test("pages are noted once, in the order of their first touch, whatever was cached before", () => {
  const { hart, active } = activeOf(new PrivilegedCore());
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < 6; at++) execute(hart, "sd", DATA + 4096 * at);
  }
  active.begin();
  execute(hart, "ld", DATA + 4096);
  execute(hart, "sd", DATA);
  execute(hart, "sd", DATA + 4096);
  execute(hart, "amoadd.d", DATA + 3 * 4096);
  execute(hart, "sd", DATA + 4 * 4096 - 4);
  execute(hart, "ld", DATA);
  const touched = [page(CODE), page(DATA) + 1, page(DATA), page(DATA) + 3, page(DATA) + 4];
  assertEquals([...active.pages], touched);
  assertEquals(active.counters, { fetches: 1, reads: 2, writes: 2, walks: 0, dma: 0 });
  assertEquals([...active.end()], touched);
  assertEquals([...active.end()], touched);
  assertEquals(hart.core.flags.get(page(DATA) + 5), 0);
});

Deno.test("a page's first touch is the last that costs anything", () => {
  const { hart, active } = activeOf(new PrivilegedCore());
  hart.load(new Array<number>(8).fill(encode("sd", { rs1: 11, rs2: 12 })), CODE);
  hart.setX(11, BigInt(DATA));
  hart.set("pc", BigInt(CODE));
  active.begin();
  const hits = () => {
    const { watchedRead, watchedWrite } = hart.core.flags.hits();
    return watchedRead + watchedWrite;
  };
  hart.run(1);
  assertEquals(hits(), 2, "the fetch and the store");
  const slow = hart.core.control("statSlowStores");
  hart.run(7);
  assertEquals(hits(), 2);
  assert(hart.core.control("statSlowStores") - slow <= 1n, "the second store fills the write TLB");
});

Deno.test("page tables that are walked and what a device reads and writes are touched", () => {
  const { hart, active } = activeOf(new Translation());
  const tables = hart.begin("sv39");
  const address = 0x1000_0000n;
  const slot = tables.map(address, DATA, LEAF.all);
  assertEquals(hart.access("load", address), 0);
  active.begin();
  assertEquals(hart.access("load", address), 0);
  const walked = [page(tables.root), page(tables.root) + 1, page(slot), page(DATA)];
  assertEquals([...active.pages].filter((at) => at !== page(CODE)), walked);
  assertEquals(active.counters.walks, 3);
  const memory = new GuestMemory(hart.core.buffer, hart.core.plan, hart.core.flags, () => {});
  memory.read(DATA + 8 * 4096, new Uint8Array(4));
  memory.write(DATA + 9 * 4096 + 4000, new Uint8Array(200));
  assertEquals([...active.pages].slice(-3), [8, 9, 10].map((at) => page(DATA) + at));
  assertEquals(active.counters.dma, 3);
});

Deno.test("looks from outside touch nothing", () => {
  const { hart, watch, active } = activeOf(new PrivilegedCore());
  const memory = new GuestMemory(hart.core.buffer, hart.core.plan, hart.core.flags, () => {});
  active.begin();
  hart.core.hash.ram();
  copyRam(hart.core);
  watch.unseen(() => memory.write(DATA, new Uint8Array(9000)));
  assertEquals([...active.pages], []);
  memory.read(DATA, new Uint8Array(1));
  assertEquals([...active.pages], [page(DATA)]);
});

Deno.test("watches are told while pages are noted and afterwards, and may come and go", () => {
  const { hart, watch, active } = activeOf(new PrivilegedCore());
  const told: string[] = [];
  const watchAt = (gpa: number, kind: Watch["kind"]): Watch => ({
    kind,
    gpa,
    size: 8,
    service: (access) => told.push(`${kind} ${access.kind} ${page(access.gpa) - page(DATA)}`),
  });
  const first = watchAt(DATA, "write");
  watch.add(first);
  active.begin();
  execute(hart, "ld", DATA);
  execute(hart, "sd", DATA);
  const { watchedRead, watchedWrite } = PAGE_FLAG;
  assertEquals(hart.core.flags.get(page(DATA)), watchedWrite);
  const second = watchAt(DATA + 4096, "access");
  watch.add(second);
  execute(hart, "ld", DATA + 4096);
  execute(hart, "sd", DATA + 4096);
  // A watch that goes from a page that was not touched leaves it traced.
  const third = watchAt(DATA + 8192, "read");
  watch.add(third);
  watch.remove(third);
  execute(hart, "sd", DATA + 8192);
  const fourth = watchAt(DATA + 3 * 4096, "access");
  watch.add(fourth);
  assertEquals(
    [...active.pages].filter((at) => at !== page(CODE)),
    [0, 1, 2].map((at) => page(DATA) + at),
  );
  active.end();
  assertEquals(hart.core.flags.get(page(DATA)), watchedWrite);
  assertEquals(hart.core.flags.get(page(DATA) + 3), watchedRead | watchedWrite);
  execute(hart, "sd", DATA);
  execute(hart, "ld", DATA + 3 * 4096);
  watch.remove(first);
  execute(hart, "sd", DATA);
  assertEquals(told, [
    "write write 0",
    "access read 1",
    "access write 1",
    "write write 0",
    "access read 3",
  ]);
  assertEquals(hart.core.flags.get(page(DATA)), 0);
});

Deno.test("a hot loop is fast while pages are noted, though a part of its code is never reached", () => {
  const program = new Program(START);
  const rare: Place = {};
  const head = program.place();
  for (let i = 0; i < 10; i++) program.op("addi", { rd: 5, rs1: 5, imm: 1 });
  program.to("beq", rare, { rs1: 5, rs2: 6 });
  program.to("jal", head);
  program.align(4096);
  program.place(rare);
  program.to("jal", head);
  const machine = testMachine({
    kernel: { kind: "raw", bytes: program.bytes() },
    memoryBytes: 4 << 20,
    translator: { heat: 2, batch: 1 },
  });
  machine.core.setRegister(0, "x", 10n, 6);
  machine.run(1000);
  const active = new ActivePages(machine.watch, machine.core.plan);
  active.begin();
  const before = Number(machine.core.control("statRegionInstructions"));
  machine.run(100_000);
  const inRegions = Number(machine.core.control("statRegionInstructions")) - before;
  assert(inRegions > 90_000, `${inRegions} instructions ran in regions`);
  assertEquals([...active.end()].sort(), [0, 1]);
});

Deno.test("one at a time follows first touches; beginning again forgets", () => {
  const { hart, watch, active } = activeOf(new PrivilegedCore());
  active.begin();
  const other = new ActivePages(watch, hart.core.plan);
  assertThrows(() => other.begin(), Broken, "followed already");
  execute(hart, "ld", DATA);
  active.begin();
  assertEquals([...active.pages], []);
  assertEquals(active.running, true);
  hart.attempt([NOP], "machine");
  assertEquals([...active.end()], [page(CODE)]);
  assertEquals(active.running, false);
});

const MEMORY = 64 << 20;
/** Of 10,000 pages the guest writes all, then 100 of them again and again. */
const ALL = 10_000;
const FEW = 100;
const PAGES_START = START + (4 << 20);
const STEP = 97;

function looper(config: Partial<MachineConfig> = {}): Machine {
  const program = new Program(START);
  const [at, count, value, step] = [20, 21, 22, 23];
  const walk = (pages: number, bytes: number) => {
    program.setLong(at, BigInt(PAGES_START));
    program.setLong(step, BigInt(bytes));
    program.set(count, pages);
    const head = program.place();
    program.op("ld", { rd: value, rs1: at });
    program.op("addi", { rd: value, rs1: value, imm: 1 });
    program.op("sd", { rs1: at, rs2: value });
    program.op("add", { rd: at, rs1: at, rs2: step });
    program.op("addi", { rd: count, rs1: count, imm: -1 });
    program.to("bne", head, { rs1: count, rs2: 0 });
  };
  walk(ALL, 4096);
  const round = program.place();
  walk(FEW, STEP * 4096);
  program.to("jal", round);
  return testMachine({
    kernel: { kind: "raw", bytes: program.bytes() },
    memoryBytes: MEMORY,
    translator: { heat: 2, batch: 1 },
    ...config,
  });
}

Deno.test("of 10,000 pages the 100 in use are found, and spare a resumed guest its faults", () => {
  const second = 100_000;
  const plain = looper();
  plain.run(100_000);
  const active = new ActivePages(plain.watch, plain.core.plan);
  active.begin();
  plain.run(second);
  const pages = active.end();
  const first = (PAGES_START - START) / 4096;
  const inUse = Array.from({ length: FEW }, (_, i) => first + i * STEP);
  const found = [...pages].filter((at) => at >= first).sort((a, b) => a - b);
  assertEquals(found, inUse);
  assert(pages.length <= FEW + 2, `${pages.length - FEW} pages besides`);
  const image = saveImage(plain);
  const ram = copyRam(plain.core);
  plain.run(second);
  const demanded = [true, false].map((usesList) => {
    const memory = newMemory(plain.core.plan);
    const loaded = new Set(usesList ? pages : []);
    const absent = Array.from({ length: plain.core.plan.ramPages }, (_, at) => at)
      .filter((at) => !loaded.has(at));
    const loader = new Loader(memory, plain.core.plan, ram, absent, new Prng(1));
    const machine = looper({
      restored: { memory, lazy: loader.source.table, wait: loader.wait },
    });
    resumeImage(machine, image);
    machine.run(second);
    const { demanded } = machine.lazy!.counters;
    assertEquals(machine.digest(), plain.digest(), "it is the guest that was not stopped");
    return demanded;
  });
  assertEquals([demanded[0], demanded[1]! >= FEW], [0, true]);
});
