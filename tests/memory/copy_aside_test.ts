/**
 * Saving frozen pages behind a guest that writes them, by every way to write guest memory (S17, S19.5, X1):
 * what is saved is what memory held when the save began. The reader's steps are interleaved by the test
 * here; tests/memory/save_threads_test.ts has a real one.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { CopyAside } from "../../kernel/memory/copy_aside.ts";
import { FrozenPages, NO_PAGE } from "../../kernel/memory/frozen_pages.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { PageUndo } from "../../kernel/memory/page_undo.ts";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import { Saves } from "../_support/memory_services.ts";
import { entryFor, LEAF } from "../_support/page_tables.ts";
import { CODE, DATA, MSTATUS, PrivilegedCore } from "../_support/privileged.ts";
import { START } from "../_support/hot_program.ts";
import { testMachine } from "../_support/machine.ts";
import { Program } from "../_support/program.ts";
import { forSeeds } from "../_support/tiers.ts";
import { Translation } from "./translation.ts";

const page = (address: number) => (address - RAM) / 4096 | 0;

/** A hart whose instructions write where a register points, without touching the page of code twice. */
class Writer {
  readonly hart = new PrivilegedCore();
  readonly memory: GuestMemory;

  constructor() {
    const { core } = this.hart;
    this.hart.load([encode("sd", { rs1: 11, rs2: 12 })], CODE);
    this.memory = new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
      core.exports.dmaWrote(BigInt(gpa), length);
    });
  }

  /** Executes an instruction with x11 = address, x12 = value; the instruction gets there unseen. */
  execute(name: string, address: number, value = 7n): void {
    const { hart } = this;
    const row = name === "cbo.zero" ? { rs1: 11 } : { rd: 10, rs1: 11, rs2: 12 };
    new DataView(hart.core.buffer).setUint32(
      hart.core.plan.ram + CODE - RAM,
      encode(name, row),
      true,
    );
    hart.core.decodedPages.clear();
    hart.set("mstatus", MSTATUS.FS);
    hart.core.setWord(0, "privilege", 3);
    this.#go(address, value);
  }

  store(address: number, value: bigint): void {
    this.#go(address, value);
  }

  #go(address: number, value: bigint): void {
    this.hart.set("pc", BigInt(CODE));
    this.hart.setX(11, BigInt(address));
    this.hart.setX(12, value);
    this.hart.run(1);
  }
}

function asideOf({ core }: PrivilegedCore, slots?: number): CopyAside {
  return new CopyAside({ ...core, ...slots === undefined ? {} : { slots } });
}

function readerOf({ core }: PrivilegedCore, area: SharedArrayBuffer): FrozenPages {
  return new FrozenPages({ area, memory: core.buffer, ram: core.plan.ram });
}

/** Reads all that is left; gives the pages in ascending order, and ends the save. */
function pagesOf(hart: PrivilegedCore, aside: CopyAside, area: SharedArrayBuffer): number[] {
  const reader = readerOf(hart, area);
  const pages: number[] = [];
  const into = new Uint8Array(4096);
  for (let at = reader.next(into); at !== NO_PAGE.finished; at = reader.next(into)) pages.push(at);
  aside.end();
  return pages.sort((a, b) => a - b);
}

Deno.test("whatever writes a frozen page, what is saved is what it held", () => {
  const writer = new Writer();
  const { hart, memory } = writer;
  const saves = new Saves(hart.core, 8);
  saves.ignored = page(CODE);
  const names = ["sb", "sh", "sw", "sd", "fsw", "fsd", "amoadd.w", "amoswap.d", "cbo.zero"];
  const writes: (() => void)[] = [
    ...names.map((name) => () => writer.execute(name, DATA)),
    () => {
      writer.execute("lr.d", DATA);
      writer.execute("sc.d", DATA, 99n);
    },
    () => writer.execute("sd", DATA + 4096 - 3, 0x1122_3344_5566_7788n),
    () => memory.write(DATA - 100, new Uint8Array(9000).fill(3)),
    () => memory.setInteger(DATA + 4094, 4, 0xaabb_ccdd),
  ];
  hart.setMemory(DATA, 0x0101_0101_0101_0101n);
  for (const [i, write] of writes.entries()) {
    const aside = saves.aside.counters.aside;
    saves.begin(i === 0);
    write();
    assert(saves.aside.counters.aside > aside, `write ${i} was asked about`);
    saves.finish();
  }
  assertEquals(saves.compared, writes.length);
});

Deno.test("page tables and their A and D bits are copied aside, and translations stay right", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const saves = new Saves(hart.core, 8);
  saves.ignored = page(CODE);
  const address = 0x1000_0000n;
  const slot = tables.map(address, DATA, LEAF.V | LEAF.R | LEAF.W);
  hart.setMemory(DATA, 5n);
  saves.begin(true);
  for (const [kind, value] of [["load", 5n], ["store", 6n]] as const) {
    hart.setX(12, value);
    assertEquals(hart.access(kind, address), 0);
    assertEquals(hart.memory(DATA), value);
  }
  assertEquals(hart.memory(slot) & (LEAF.A | LEAF.D), LEAF.A | LEAF.D);
  saves.finish();
  // A store to a frozen table drops what came from its entry.
  hart.setMemory(DATA + 4096, 77n);
  tables.map(address + 4096n, slot - slot % 4096, LEAF.all);
  hart.access("load", address);
  saves.begin(true);
  hart.setX(12, entryFor(DATA + 4096, LEAF.all));
  const offset = BigInt(slot % 4096);
  assertEquals(hart.access("store", address + 4096n + offset), 0);
  assertEquals(hart.access("load", address), 0);
  assertEquals(hart.x(10), 77n);
  saves.finish();
});

Deno.test("code that is frozen is patched, and runs as patched", () => {
  const hart = new PrivilegedCore();
  const saves = new Saves(hart.core, 8);
  const routine = RAM + 0x5_0000;
  const answer = (value: number) => encode("addi", { rd: 10, imm: value });
  const result = () => {
    hart.set("pc", BigInt(routine));
    hart.run(1);
    return hart.x(10);
  };
  hart.load([answer(1)], routine);
  assertEquals(result(), 1n);
  saves.begin(true);
  assertEquals(result(), 1n);
  hart.setX(11, BigInt(routine));
  hart.setX(12, BigInt(answer(2)));
  hart.core.bytes.set(
    new Uint8Array(Uint32Array.of(encode("sw", { rs1: 11, rs2: 12 })).buffer),
    hart.core.plan.ram + CODE - RAM,
  );
  hart.set("pc", BigInt(CODE));
  hart.run(1);
  assertEquals(result(), 2n);
  assertEquals(saves.aside.counters.aside, 1);
});

Deno.test("a page that is written while the reader copies it comes by the ring", () => {
  const writer = new Writer();
  const saves = new Saves(writer.hart.core, 2);
  const end = page(DATA);
  saves.begin(true);
  saves.read(end);
  let overtook = 0;
  // Each page from here on is written when it was copied and is not claimed yet.
  saves.read(20, () => writer.store(DATA + 4096 * (overtook++ >> 1), 9n));
  saves.finish();
  assert(saves.aside.counters.aside > 5, "pages were overtaken");
});

Deno.test("a ring that is full lets the guest wait, and holds no more than its slots", () => {
  for (const slots of [1, 2, 3]) {
    const writer = new Writer();
    const saves = new Saves(writer.hart.core, slots);
    saves.begin(true);
    for (let at = 0; at < 100; at++) writer.store(DATA + 4096 * at, BigInt(at));
    assertEquals(saves.aside.counters.aside, 100);
    assertEquals(saves.aside.counters.waits, 100 - slots);
    saves.finish();
  }
});

Deno.test("a save has what was written since the last one began, whoever writes it", () => {
  const writer = new Writer();
  const { hart } = writer;
  const aside = asideOf(hart);
  const { ramPages } = hart.core.plan;
  assertEquals(pagesOf(hart, aside, aside.begin({ all: false })).length, ramPages);
  assertEquals([...aside.writtenPages()], []);
  writer.store(DATA, 1n);
  writer.memory.write(DATA + 3 * 4096, new Uint8Array(8));
  writer.store(DATA, 2n);
  const written = [page(DATA), page(DATA) + 3];
  assertEquals([...aside.writtenPages()], written);
  const area = aside.begin({ all: false });
  // These are for the save after this one.
  writer.store(DATA + 3 * 4096, 5n);
  writer.store(DATA + 9 * 4096, 5n);
  assertEquals(pagesOf(hart, aside, area), written);
  assertEquals([...aside.writtenPages()], [page(DATA) + 3, page(DATA) + 9]);
  assertEquals(pagesOf(hart, aside, aside.begin({ all: true })).length, ramPages);
  assertEquals(pagesOf(hart, aside, aside.begin({ all: false })), []);
});

Deno.test("a machine that was restored is its checkpoint, and the next save a small one", () => {
  const writer = new Writer();
  const aside = asideOf(writer.hart);
  aside.adopt();
  writer.store(DATA, 1n);
  assertEquals(aside.counters.firstWrites, 1);
  assertEquals(pagesOf(writer.hart, aside, aside.begin({ all: false })), [page(DATA)]);
});

Deno.test("behind an aborted save all pages are saved, and its reader claims none of them", () => {
  for (const fromReader of [true, false]) {
    const writer = new Writer();
    const { hart } = writer;
    const aside = asideOf(hart, 1);
    pagesOf(hart, aside, aside.begin({ all: true }));
    writer.store(DATA, 1n);
    const reader = readerOf(hart, aside.begin({ all: false }));
    if (fromReader) {
      reader.abort();
      // Nobody makes room in the ring, and nobody waits for it.
      for (let at = 0; at < 5; at++) writer.store(DATA + 4096 * at, 3n);
      assertEquals([aside.aborted, aside.finished, aside.saving], [true, false, true]);
      assertThrows(() => aside.end(), Broken, "all pages");
    }
    aside.abort();
    assertEquals([aside.saving, aside.aborted], [false, false]);
    assertEquals(aside.writtenPages().length, hart.core.plan.ramPages);
    const area = aside.begin({ all: false });
    assertEquals(reader.next(new Uint8Array(4096)), NO_PAGE.aborted);
    assertEquals(pagesOf(hart, aside, area).length, hart.core.plan.ramPages);
  }
});

Deno.test("snapshots and live checkpoints want the same trace, and say so", () => {
  const { hart } = new Writer();
  const { core } = hart;
  const aside = asideOf(hart);
  const undo = new PageUndo({
    ...core,
    limitBytes: 1 << 20,
    isZero: (at) => core.hash.isZero(at),
    wrote: () => {},
  });
  undo.begin();
  assertThrows(() => aside.begin({ all: true }), Broken, "snapshots");
  assertThrows(() => aside.adopt(), Broken, "snapshots");
  undo.stop();
  aside.begin({ all: true });
  assertThrows(() => aside.begin({ all: true }), Broken, "under way");
  assertThrows(() => undo.begin(), Broken, "live checkpoint");
  aside.stop();
});

Deno.test("X3: a save costs a guest the write entries of its pages, and no translation and no other entry", () => {
  const program = new Program(START);
  const [address, value] = [11, 12];
  program.setLong(address, BigInt(START + 0x8000));
  const head = program.place();
  program.op("ld", { rd: value, rs1: address });
  program.op("addi", { rd: value, rs1: value, imm: 1 });
  program.op("sd", { rs1: address, rs2: value });
  program.to("jal", head);
  const machine = testMachine({
    kernel: { kind: "raw", bytes: program.bytes() },
    memoryBytes: 4 << 20,
    translator: { heat: 2, batch: 1 },
  });
  const { core, translator } = machine;
  const fields = ["statFillsRead", "statFillsFetch", "statFillsWrite", "statJumpDrops"] as const;
  const counted = () => [
    translator!.statistics.dropped,
    Number(core.control("statFlushes")),
    ...fields.map((field) => Number(core.control(field))),
  ];
  const saves = new Saves(core, 4);
  machine.run(10_000);
  const before = counted();
  for (let save = 1; save <= 3; save++) {
    saves.begin(save === 1);
    machine.run(10_000);
    saves.finish();
    machine.run(10_000);
    const writes = before[4]! + save;
    assertEquals(counted(), [...before.slice(0, 4), writes, before[5]!], `save ${save}`);
  }
  assertEquals(saves.aside.counters.aside, 3);
});

Deno.test("nothing is paid when no save was begun, and none after stop", () => {
  const writer = new Writer();
  const { hart } = writer;
  const { flags, plan } = hart.core;
  const aside = asideOf(hart);
  const slow = () => Number(hart.core.control("statSlowStores"));
  writer.store(DATA, 1n);
  const before = slow();
  writer.store(DATA, 1n);
  assertEquals(slow(), before);
  aside.begin({ all: true });
  assertEquals(flags.pagesWithout(PAGE_FLAG.frozen).length, 0);
  writer.store(DATA, 1n);
  writer.store(DATA, 1n);
  assertEquals(slow(), before + 1, "the first write of a page is asked about, and no other");
  aside.stop();
  assertEquals(flags.pagesWithout(PAGE_FLAG.frozen).length, plan.ramPages);
  assertEquals([aside.saving, aside.counters.aside], [false, 1]);
  writer.store(DATA + 4096, 1n);
  assertEquals(aside.counters.firstWrites, 1);
});

Deno.test("random writes and random steps of the reader give whole saves", () => {
  let compared = 0;
  forSeeds(6, (_, rng) => {
    const writer = new Writer();
    const saves = new Saves(writer.hart.core, rng.pick([1, 3, 40]));
    for (let step = 0; step < 300; step++) {
      const address = DATA + rng.below(rng.pick([40, 2000]) * 4096 - 600);
      const write = () => {
        if (rng.below(3) > 0) writer.store(address, rng.u64());
        else writer.memory.write(address, rng.bytes(rng.below(600)));
      };
      if (rng.below(20) === 0 && !saves.aside.saving) saves.begin(rng.below(4) === 0);
      if (rng.below(300) === 0) saves.abort(rng.below(2) === 0);
      write();
      if (rng.below(2) === 0) {
        saves.read(1 + rng.below(400), rng.below(3) === 0 ? write : undefined);
      }
    }
    saves.finish();
    compared += saves.compared;
  });
  assert(compared > 20, `only ${compared} saves were compared`);
});
