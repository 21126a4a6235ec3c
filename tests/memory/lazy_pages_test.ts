/**
 * Pages that are loaded when they are touched, by every way to touch memory (S19.6, S19.7, X1): the access
 * finds what was loaded, each page is loaded once, and what cannot be loaded is told. The source's steps
 * are interleaved by the test; tests/memory/memory_threads_test.ts has a real thread.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../kernel/base/assert.ts";
import { HostError } from "../../kernel/base/errors.ts";
import { ramBytes } from "../../kernel/machine/guest_view.ts";
import { CopyAside } from "../../kernel/memory/copy_aside.ts";
import { DirtyPages } from "../../kernel/memory/dirty_pages.ts";
import { FrozenPages } from "../../kernel/memory/frozen_pages.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { LazyPages } from "../../kernel/memory/lazy_pages.ts";
import { LazySource } from "../../kernel/memory/lazy_source.ts";
import { PAGE_FLAG } from "../../kernel/memory/page_flags.ts";
import { PageUndo } from "../../kernel/memory/page_undo.ts";
import { encode } from "../../tools/asm/encode.ts";
import { RAM } from "../_support/bare_core.ts";
import { LEAF } from "../_support/page_tables.ts";
import { CODE, DATA, NOP, PrivilegedCore } from "../_support/privileged.ts";
import { Translation } from "./translation.ts";

const page = (address: number) => (address - RAM) / 4096 | 0;

/** Makes pages of a hart absent; their contents are scrambled until they are loaded. */
class Absent {
  readonly source: LazySource;
  readonly lazy: LazyPages;
  readonly loads: number[] = [];
  readonly #contents = new Map<number, Uint8Array>();

  constructor(
    private readonly hart: PrivilegedCore,
    addresses: readonly number[],
    private readonly onWait?: (page: number | undefined) => void,
  ) {
    const { core } = hart;
    const pages = addresses.map(page);
    for (const at of pages) {
      const bytes = this.#bytes(at);
      this.#contents.set(at, bytes.slice());
      bytes.fill(0x5a);
    }
    core.decodedPages.clear();
    this.source = LazySource.make(core.plan.ramPages, pages);
    this.lazy = new LazyPages(core.flags, core.plan, this.source.table, () => {
      const wanted = this.source.wanted();
      if (this.onWait !== undefined) this.onWait(wanted);
      else this.load(wanted!);
    });
  }

  load(at: number): void {
    assert(this.source.begin(at), `page ${at} is loaded once`);
    this.finish(at);
  }

  finish(at: number): void {
    this.#bytes(at).set(this.#contents.get(at)!);
    this.loads.push(at);
    this.source.done(at);
  }

  #bytes(at: number): Uint8Array {
    const { buffer, plan } = this.hart.core;
    return new Uint8Array(buffer, plan.ram + at * 4096, 4096);
  }
}

function guestMemory({ core }: PrivilegedCore): GuestMemory {
  return new GuestMemory(core.buffer, core.plan, core.flags, (gpa, length) => {
    core.exports.dmaWrote(BigInt(gpa), length);
  });
}

/** A hart with something at DATA and on the page behind it. */
function hartWithData(): PrivilegedCore {
  const hart = new PrivilegedCore();
  hart.setMemory(DATA, 0x1111n);
  hart.setMemory(DATA + 4088, 0x2222_3333_4444_5555n);
  hart.setMemory(DATA + 4096, 0x6666_7777_8888_9999n);
  return hart;
}

Deno.test("every access of an instruction finds the page that was loaded for it", () => {
  const cases: [name: string, address: number, x10: bigint | undefined, memory: bigint][] = [
    ["ld", DATA, 0x1111n, 0x1111n],
    ["sb", DATA, undefined, 0x1107n],
    ["sd", DATA, undefined, 7n],
    ["amoadd.d", DATA, 0x1111n, 0x1118n],
    ["lr.d", DATA, 0x1111n, 0x1111n],
    ["cbo.zero", DATA, undefined, 0n],
  ];
  for (const [name, address, loaded, memory] of cases) {
    const hart = hartWithData();
    const absent = new Absent(hart, [DATA]);
    hart.setX(11, BigInt(address));
    hart.setX(12, 7n);
    const row = name === "cbo.zero" ? { rs1: 11 } : { rd: 10, rs1: 11, rs2: 12 };
    assertEquals(hart.attempt([encode(name, row)], "machine"), "no trap", name);
    assertEquals(absent.loads, [page(DATA)], name);
    if (loaded !== undefined) assertEquals(hart.x(10), loaded, name);
    assertEquals(hart.memory(DATA), memory, name);
    const { demanded, left } = absent.lazy.counters;
    assertEquals([demanded, left], [1, 0], name);
  }
});

Deno.test("an access on two pages loads both, and a store keeps what is around it", () => {
  for (const name of ["ld", "sd"]) {
    const hart = hartWithData();
    const absent = new Absent(hart, [DATA, DATA + 4096]);
    hart.setX(11, BigInt(DATA + 4092));
    hart.setX(12, 0xaaaa_bbbb_cccc_ddddn);
    hart.attempt([encode(name, { rd: 10, rs1: 11, rs2: 12 })], "machine");
    assertEquals(absent.loads, [page(DATA), page(DATA) + 1]);
    if (name === "ld") assertEquals(hart.x(10), 0x8888_9999_2222_3333n);
    else {
      assertEquals(hart.memory(DATA + 4088), 0xcccc_dddd_4444_5555n);
      assertEquals(hart.memory(DATA + 4096), 0x6666_7777_aaaa_bbbbn);
    }
  }
});

Deno.test("an instruction is fetched from pages that are absent, and from two of them", () => {
  const hart = new PrivilegedCore();
  const routine = RAM + 0x5_0000;
  hart.load([encode("addi", { rd: 10, imm: 5 }), NOP], routine + 4094);
  const absent = new Absent(hart, [routine, routine + 4096]);
  hart.set("pc", BigInt(routine + 4094));
  hart.run(1);
  assertEquals(hart.x(10), 5n);
  assertEquals(absent.loads, [page(routine), page(routine) + 1]);
});

Deno.test("a walk finds absent tables, and sets A and D in them", () => {
  const hart = new Translation();
  const tables = hart.begin("sv39");
  const address = 0x1000_0000n;
  const slot = tables.map(address, DATA, LEAF.V | LEAF.R | LEAF.W);
  hart.setMemory(DATA, 0x77n);
  const absent = new Absent(hart, [tables.root, tables.root + 4096, slot, DATA]);
  assertEquals(hart.access("store", address), 0);
  assertEquals(absent.loads.length, 4);
  assertEquals(hart.memory(slot) & (LEAF.A | LEAF.D), LEAF.A | LEAF.D);
  assertEquals(hart.memory(slot) >> 10n, BigInt(DATA) >> 12n);
});

Deno.test("DMA, debuggers and hashes find what was loaded, and dirty pages stay what they are", () => {
  const hart = hartWithData();
  const { core } = hart;
  const digest = core.hash.ram();
  const memory = guestMemory(hart);
  const dirty = new DirtyPages(core.flags);
  dirty.start();
  const absent = new Absent(hart, [DATA, DATA + 4096, DATA + 8192, DATA + 3 * 4096]);
  const bytes = new Uint8Array(16);
  memory.read(DATA + 4088, bytes);
  assertEquals(new DataView(bytes.buffer).getBigUint64(8, true), 0x6666_7777_8888_9999n);
  assertEquals(absent.loads, [page(DATA), page(DATA) + 1]);
  assertEquals(ramBytes(core, DATA + 3 * 4096 - 2, 4), new Uint8Array(4));
  assertEquals(absent.loads.length, 4);
  const [, , third] = absent.loads;
  assertEquals(third, page(DATA) + 2);
  assertEquals([core.hash.ram(), core.hash.isZero(page(DATA))], [digest, false]);
  assertEquals([...dirty.list()], []);
  const other = hartWithData();
  const again = new Absent(other, [DATA, DATA + 4096]);
  assertEquals([other.core.hash.ram(), again.loads.length], [digest, 2]);
  const third_ = hartWithData();
  const written = new Absent(third_, [DATA]);
  guestMemory(third_).write(DATA, new Uint8Array(4096).fill(1));
  written.lazy.settle();
  assertEquals([third_.memory(DATA), written.loads], [0x0101_0101_0101_0101n, [page(DATA)]]);
});

Deno.test("a page that somebody is loading is waited for, and not begun again", () => {
  const hart = hartWithData();
  let waits = 0;
  const absent: Absent = new Absent(hart, [DATA, DATA + 4096], (wanted) => {
    assertEquals(wanted, undefined, "nobody else takes it on");
    assertEquals(absent.source.begin(page(DATA)), false);
    // Another page's end wakes the machine, which goes on waiting for its own.
    if (waits++ === 0) absent.load(page(DATA) + 1);
    else absent.finish(page(DATA));
  });
  assert(absent.source.begin(page(DATA)));
  hart.setX(11, BigInt(DATA));
  hart.attempt([encode("ld", { rd: 10, rs1: 11 })], "machine");
  assertEquals([hart.x(10), waits], [0x1111n, 2]);
  assertEquals(absent.source.begin(page(DATA)), false, "a page that is present is the guest's");
  assertThrows(() => absent.source.done(page(DATA)), Broken, "not taken on");
});

Deno.test("pages that were loaded in the background cost a touch, and nothing when all are there", () => {
  const hart = hartWithData();
  const { flags } = hart.core;
  const absent = new Absent(hart, [DATA, DATA + 4096]);
  assertEquals(flags.get(page(CODE)) & PAGE_FLAG.absent, 0, "settled when it began");
  absent.load(page(DATA));
  assertEquals(absent.source.nextAbsent(0), page(DATA) + 1);
  hart.setX(11, BigInt(DATA));
  hart.attempt([encode("ld", { rd: 10, rs1: 11 })], "machine");
  assertEquals([hart.x(10), absent.lazy.counters.demanded], [0x1111n, 0]);
  assertEquals([absent.lazy.ended, flags.mayBeAbsent], [false, true]);
  absent.load(page(DATA) + 1);
  absent.lazy.settle();
  assertEquals([absent.lazy.ended, flags.mayBeAbsent], [true, false]);
  assertEquals(flags.get(page(DATA) + 1), 0);
  assertEquals(absent.lazy.counters, {
    absent: 2,
    demanded: 0,
    waits: 0,
    background: 2,
    left: 0,
  });
  // The trace is somebody else's again.
  flags.register(PAGE_FLAG.absent, () => true);
});

Deno.test("a peek asks for an absent page and does not wait; code there is found when it has come", () => {
  const hart = hartWithData();
  const absent = new Absent(hart, [DATA]);
  const peek = () => hart.core.exports.peekFetch(DATA | 0, 0);
  assertEquals([peek(), absent.source.wanted()], [-1, page(DATA)]);
  assertEquals(absent.source.wanted(), page(DATA));
  absent.load(page(DATA));
  assertEquals([peek(), absent.source.wanted()], [page(DATA), undefined]);
  assertEquals(hart.core.flags.get(page(DATA)) & PAGE_FLAG.absent, 0);
  assertEquals(absent.lazy.counters.demanded, 0);
});

Deno.test("X3: a page that comes costs no cached translation", () => {
  const hart = hartWithData();
  const absent = new Absent(hart, [DATA + 4096]);
  hart.load(new Array<number>(4).fill(encode("ld", { rd: 10, rs1: 11 })), CODE);
  const loads = (address: number) => {
    hart.setX(11, BigInt(address));
    hart.set("pc", BigInt(CODE));
    hart.run(4);
  };
  loads(DATA);
  const fields = ["statFillsRead", "statFillsFetch", "statFlushes", "statJumpDrops"] as const;
  const counted = () => fields.map((field) => Number(hart.core.control(field)));
  const before = counted();
  loads(DATA + 4096);
  loads(DATA);
  absent.lazy.settle();
  loads(DATA + 4096);
  assertEquals(counted(), [before[0]! + 1, ...before.slice(1)]);
  assertEquals([hart.x(10), absent.lazy.ended], [0x6666_7777_8888_9999n, true]);
});

Deno.test("what cannot be loaded ends the access with the page's name", () => {
  for (const how of ["failed", "closed"] as const) {
    const hart = hartWithData();
    const absent: Absent = new Absent(hart, [DATA], (wanted) => {
      if (how === "closed") absent.source.close();
      else if (absent.source.begin(wanted!)) absent.source.fail(wanted!);
    });
    hart.setX(11, BigInt(DATA));
    const access = () => hart.attempt([encode("sd", { rs1: 11, rs2: 12 })], "machine");
    const text = `page ${page(DATA)} of its memory (address 0x${DATA.toString(16)})`;
    assertThrows(access, HostError, text);
    assertThrows(() => hart.core.hash.ram(), HostError, text);
    assertEquals(absent.source.wanted(), how === "closed" ? page(DATA) : undefined);
  }
});

Deno.test("a save leaves absent pages alone, and has those that were written when they had come", () => {
  const hart = hartWithData();
  const { core } = hart;
  const pages = [0, 1, 2].map((i) => DATA + 4096 * i);
  const absent = new Absent(hart, pages);
  const aside = new CopyAside(core);
  aside.adopt();
  assertEquals(core.flags.get(page(DATA)), PAGE_FLAG.absent | PAGE_FLAG.frozen);
  hart.setX(11, BigInt(DATA));
  hart.setX(12, 9n);
  const code = page(CODE);
  hart.attempt([encode("sd", { rs1: 11, rs2: 12 })], "machine");
  const written = [...aside.writtenPages()].filter((at) => at !== code);
  assertEquals([written, absent.loads], [[page(DATA)], [page(DATA)]]);
  const area = aside.begin({ all: true });
  const reader = new FrozenPages({ area, memory: core.buffer, ram: core.plan.ram });
  assertEquals(reader.left(), core.plan.ramPages - 2);
  hart.setX(11, BigInt(DATA + 4096));
  hart.attempt([encode("sd", { rs1: 11, rs2: 12 })], "machine");
  assertEquals(hart.memory(DATA + 4096), 9n);
  const seen = new Set<number>();
  const into = new Uint8Array(4096);
  for (let at = reader.next(into); at >= 0; at = reader.next(into)) seen.add(at);
  assertEquals([seen.has(page(DATA)), seen.has(page(DATA) + 1)], [true, false]);
  aside.end();
  assertEquals([...aside.writtenPages()].includes(page(DATA) + 1), true);
});

Deno.test("an interval of page undo that is written before its pages came is undone to what came", () => {
  const hart = hartWithData();
  const { core } = hart;
  const memory = guestMemory(hart);
  new Absent(hart, [DATA, DATA + 4096]);
  const undo = new PageUndo({
    ...core,
    limitBytes: 1 << 20,
    isZero: (at) => core.hash.isZero(at),
    wrote: () => {},
  });
  const interval = undo.begin();
  hart.setX(11, BigInt(DATA));
  hart.setX(12, 9n);
  hart.attempt([encode("sd", { rs1: 11, rs2: 12 })], "machine");
  memory.write(DATA + 4096, new Uint8Array(4096));
  assertEquals([hart.memory(DATA), hart.memory(DATA + 4096)], [9n, 0n]);
  undo.undoTo(interval);
  assertEquals([hart.memory(DATA), hart.memory(DATA + 4096)], [0x1111n, 0x6666_7777_8888_9999n]);
});

Deno.test("waiting for a wish ends when the machine wants a page, and in time", async () => {
  const source = LazySource.make(8, [1, 2, 3, 3]);
  assertEquals([source.left, source.wanted()], [3, undefined]);
  // A wait for shared memory does not keep the event loop going.
  const alive = setInterval(() => {}, 10);
  await source.wish(1);
  const hart = hartWithData();
  const absent: Absent = new Absent(hart, [DATA], () => {
    throw new HostError("nobody loads");
  });
  const wish = absent.source.wish();
  hart.setX(11, BigInt(DATA));
  assertThrows(() => hart.attempt([encode("ld", { rd: 10, rs1: 11 })], "machine"), HostError);
  await wish;
  assertEquals(absent.source.wanted(), page(DATA));
  await absent.source.wish();
  clearInterval(alive);
  assertThrows(() => LazySource.make(8, [8]), Broken, "does not exist");
});
