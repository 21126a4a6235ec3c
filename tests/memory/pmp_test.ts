/**
 * Physical memory protection (privileged ISA, "Physical Memory Protection"): address matching, priority,
 * locking, and its meeting with paging.
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { LEAF, PageTables, TABLES } from "../_support/page_tables.ts";
import { CODE, DATA, type Mode, NOP } from "../_support/privileged.ts";
import { ACCESS_FAULT, KINDS, Translation } from "./translation.ts";

const R = 1, W = 2, X = 4, TOR = 8, NA4 = 16, NAPOT = 24, LOCK = 0x80;
const ALL = R | W | X;
const LAST = 15;
const hart = new Translation();

/** One entry: configuration byte and raw pmpaddr. */
type Entry = readonly [config: number, address: bigint];

/** NAPOT encoding of a naturally aligned range of at least 8 bytes. */
const range = (start: number, bytes: number) => BigInt(start + bytes / 2 - 1) >> 2n;
const word = (address: number) => BigInt(address) >> 2n;

/** Writes entries by CSR instructions, from a hart with none. */
function protect(entries: readonly Entry[]): void {
  hart.restart();
  hart.set("pmpcfg", 0n);
  for (let i = 0; i < 16; i++) hart.core.setRegister(0, "pmpaddr", 0n, i);
  hart.core.exports.flushAll();
  entries.forEach(([, address], i) => hart.writeCsr(`pmpaddr${i}`, address));
  let low = 0n;
  let high = 0n;
  entries.forEach(([config], i) => {
    if (i < 8) low |= BigInt(config) << BigInt(8 * i);
    else high |= BigInt(config) << BigInt(8 * (i - 8));
  });
  hart.writeCsr("pmpcfg2", high);
  hart.writeCsr("pmpcfg0", low);
}

function sized(kind: "load" | "store", address: number, bytes: number, mode: Mode): number {
  const [load, store] = { 1: ["lb", "sb"], 2: ["lh", "sh"], 4: ["lw", "sw"], 8: ["ld", "sd"] }[
    bytes
  ]! as [string, string];
  const instruction = encode(kind === "load" ? load : store, { rd: 10, rs1: 11, rs2: 12 });
  return hart.access(kind, BigInt(address), { mode, word: instruction });
}

const readable = (address: number, bytes = 1) => sized("load", address, bytes, "supervisor") === 0;

// "If no PMP entry matches an M-mode memory operation, the operation succeeds. If no PMP entry matches
// an S-mode or U-mode memory operation, the operation fails if at least one PMP entry is implemented".
Deno.test("without an entry that is on, M may do everything and S and U nothing", () => {
  protect([]);
  hart.load([NOP], DATA);
  hart.setX(12, BigInt(NOP));
  assertEquals(hart.all(BigInt(DATA), { mode: "machine" }), [0, 0, 0]);
  for (const mode of ["user", "supervisor"] as const) {
    const expected = KINDS.map((kind) => ACCESS_FAULT[kind]);
    assertEquals(hart.all(BigInt(DATA), { mode }), expected, mode);
  }
});

// "The operation succeeds only if the R, W, or X bit corresponding to the access type is set."
Deno.test("an entry allows loads by R, stores by W, fetches by X", () => {
  for (const bits of [0, R, R | W, X, R | X, ALL]) {
    protect([[NAPOT | bits, range(DATA, 4096)]]);
    const expected = KINDS.map((kind, i) => (bits & 1 << i) !== 0 ? 0 : ACCESS_FAULT[kind]);
    for (const mode of ["user", "supervisor"] as const) {
      assertEquals(hart.all(BigInt(DATA), { mode }), expected, `${mode} ${bits}`);
    }
    assertEquals(hart.all(BigInt(DATA), { mode: "machine" }), [0, 0, 0], "M is not bound");
  }
});

Deno.test("NA4 matches four bytes", () => {
  protect([[NA4 | R, word(DATA + 8)]]);
  const seen = [4, 7, 8, 11, 12].map((offset) => readable(DATA + offset));
  assertEquals(seen, [false, false, true, true, false]);
  assertEquals([readable(DATA + 8, 4), readable(DATA + 8, 8)], [true, false]);
});

// NAPOT: "yyyy…yyy0 … 8-byte NAPOT range" doubling with each trailing one.
Deno.test("NAPOT matches naturally aligned powers of two from eight bytes on", () => {
  for (let bytes = 8; bytes <= 65536; bytes *= 2) {
    const start = DATA + 0x1_0000;
    protect([[NAPOT | R, range(start, bytes)]]);
    const seen = [start - 1, start, start + bytes - 1, start + bytes].map((at) => readable(at));
    assertEquals(seen, [false, true, true, false], `${bytes} bytes`);
  }
  protect([[NAPOT | R, (1n << 54n) - 1n]]);
  assertEquals(readable(DATA), true, "all ones match everything");
});

// "The entry matches any address y such that pmpaddr(i-1) ≤ y < pmpaddr(i) (irrespective of the value of
// pmpcfg(i-1)). If PMP entry 0's A field is set to TOR, zero is used for the lower bound".
Deno.test("TOR matches from the previous address, whatever that entry's mode, up to its own", () => {
  for (const previous of [0, TOR, NA4]) {
    protect([[previous, word(DATA + 16)], [TOR | R, word(DATA + 32)]]);
    const seen = [DATA, DATA + 15, DATA + 20, DATA + 31, DATA + 32].map((at) => readable(at));
    assertEquals(seen, [false, false, true, true, false], `previous mode ${previous}`);
  }
  protect([[TOR | R, word(DATA)]]);
  assertEquals([readable(DATA - 1), readable(DATA)], [true, false]);
});

// "If pmpaddr(i-1) ≥ pmpaddr(i) and pmpcfg(i).A=TOR, then PMP entry i matches no addresses."
Deno.test("TOR with its bounds reversed or equal matches nothing", () => {
  for (const top of [DATA, DATA + 16]) {
    protect([[0, word(DATA + 16)], [TOR | LOCK, word(top)], [NAPOT | R, range(DATA, 4096)]]);
    assertEquals([readable(DATA), readable(DATA + 16)], [true, true]);
  }
});

// "The lowest-numbered PMP entry that matches any byte of a memory operation determines whether that
// operation succeeds or fails."
Deno.test("the lowest entry that matches decides, in both directions", () => {
  protect([[NA4, word(DATA)], [NAPOT | R, range(DATA, 4096)]]);
  assertEquals([readable(DATA), readable(DATA + 4)], [false, true]);
  protect([[NA4 | R, word(DATA)], [NAPOT, range(DATA, 4096)], [NAPOT | R, range(DATA, 8192)]]);
  const seen = [DATA, DATA + 4, DATA + 4096].map((at) => readable(at));
  assertEquals(seen, [true, false, true]);
});

Deno.test("all sixteen entries take part, the last as well as the first", () => {
  const entries: Entry[] = Array.from({ length: 16 }, () => [0, 0n]);
  entries[LAST] = [NAPOT | R, range(DATA, 8)];
  protect(entries);
  assertEquals([readable(DATA, 8), readable(DATA + 8)], [true, false]);
});

// "The matching PMP entry must match all bytes of a memory operation, or the operation fails,
// irrespective of the L, R, W, and X bits."
Deno.test("an operation that an entry matches in part fails, even in M and when both halves may", () => {
  protect([[NA4 | ALL, word(DATA + 4)], [NAPOT | ALL, range(DATA, 4096)]]);
  for (const mode of ["user", "supervisor", "machine"] as const) {
    assertEquals(sized("load", DATA, 8, mode), ACCESS_FAULT.load, mode);
    assertEquals(sized("store", DATA, 8, mode), ACCESS_FAULT.store, mode);
    assertEquals(sized("load", DATA, 4, mode), 0, mode);
    assertEquals(sized("load", DATA + 4, 4, mode), 0, mode);
  }
});

// A 4-byte instruction is one fetch, or two of which each is checked: its second half counts too.
Deno.test("an instruction whose second half may not be executed is not", () => {
  const at = DATA + 2;
  protect([[NA4 | X, word(DATA)], [NAPOT | R, range(DATA, 4096)]]);
  hart.setMemory(DATA, BigInt(NOP) << 16n | 1n);
  // The compressed nop at DATA lies within the entry, the 4-byte one behind it half.
  assertEquals(hart.access("fetch", BigInt(DATA)), 0);
  hart.core.setWord(0, "privilege", 1);
  hart.set("pc", BigInt(at));
  const trap = hart.step()!;
  assertEquals([trap.cause, trap.epc], [1n, BigInt(at)]);
  assertEquals([at, at + 2].map(BigInt).includes(trap.value), true);
});

// "When the L bit is set, these permissions are enforced for all privilege modes."
Deno.test("a locked entry binds M as well", () => {
  for (const bits of [0, R, R | W, X]) {
    protect([[LOCK | NAPOT | bits, range(DATA, 4096)]]);
    const expected = KINDS.map((kind, i) => (bits & 1 << i) !== 0 ? 0 : ACCESS_FAULT[kind]);
    assertEquals(hart.all(BigInt(DATA), { mode: "machine" }), expected, `${bits}`);
  }
});

// "If PMP entry i is locked, writes to pmpicfg and pmpaddri are ignored. Additionally, if PMP entry i is
// locked and pmpicfg.A is set to TOR, writes to pmpaddri-1 are ignored."
Deno.test("a locked entry keeps its registers; its neighbours can be written", () => {
  protect([[NAPOT | R, 1n], [LOCK | NAPOT | R, 2n], [NAPOT | R, 3n]]);
  for (let i = 0; i < 3; i++) hart.writeCsr(`pmpaddr${i}`, 100n);
  hart.writeCsr("pmpcfg0", 0n);
  const addresses = [0, 1, 2].map((i) => hart.readCsr(`pmpaddr${i}`));
  assertEquals(addresses, [100n, 2n, 100n]);
  assertEquals(hart.readCsr("pmpcfg0"), BigInt(LOCK | NAPOT | R) << 8n);
});

Deno.test("a locked TOR entry keeps the address below it too, across pmpcfg registers", () => {
  for (const locked of [1, 8, LAST]) {
    const entries: Entry[] = Array.from({ length: 16 }, (_, i) => [0, BigInt(i + 1)]);
    entries[locked] = [LOCK | TOR, BigInt(locked + 1)];
    protect(entries);
    for (let i = 0; i < 16; i++) hart.writeCsr(`pmpaddr${i}`, 100n);
    const kept = Array.from({ length: 16 }, (_, i) => hart.readCsr(`pmpaddr${i}`) !== 100n);
    assertEquals(kept, kept.map((_, i) => i === locked || i === locked - 1), `entry ${locked}`);
  }
});

Deno.test("a locked entry that is not TOR leaves the address below it writable", () => {
  protect([[0, 1n], [LOCK | NA4, 2n]]);
  assertEquals(hart.kept("pmpaddr0", 50n), 50n);
});

// "Writes to the configuration register" take effect on what was cached before.
Deno.test("changing an entry takes effect on pages already in use", () => {
  protect([[NAPOT | ALL, range(DATA, 4096)]]);
  assertEquals(hart.all(BigInt(DATA)), [0, 0, 0]);
  hart.set("mstatus", 0n);
  hart.writeCsr("pmpcfg0", BigInt(NAPOT | R));
  assertEquals(hart.all(BigInt(DATA)), [0, ACCESS_FAULT.store, ACCESS_FAULT.fetch]);
  hart.set("mstatus", 0n);
  hart.writeCsr("pmpaddr0", range(DATA + 4096, 4096));
  assertEquals(hart.access("load", BigInt(DATA)), ACCESS_FAULT.load);
});

// "The PMP checks apply to all of these accesses. The effective privilege mode for implicit page-table
// accesses is S."
Deno.test("page tables must be readable for S, even when U or M's MPRV is walking", () => {
  for (const level of [2, 1, 0]) {
    for (const mode of ["user", "supervisor"] as const) {
      protect([[0, 0n]]);
      const tables = new PageTables(hart, "sv39");
      const virtual = 0x4567_8000n;
      const flags = mode === "user" ? LEAF.user : LEAF.all;
      tables.map(virtual, DATA, flags);
      tables.turnOn();
      const slot = tables.slot(virtual, level);
      hart.writeCsr("pmpaddr0", word(slot));
      hart.writeCsr("pmpaddr1", word(slot + 4));
      hart.writeCsr("pmpaddr2", (1n << 54n) - 1n);
      const config = (first: number) =>
        BigInt(first) | BigInt(first) << 8n | BigInt(NAPOT | ALL) << 16n;
      hart.writeCsr("pmpcfg0", config(NA4 | W | R) & ~0x0303n);
      const expected = KINDS.map((kind) => ACCESS_FAULT[kind]);
      assertEquals(hart.all(virtual, { mode }), expected, `${mode} level ${level}`);
      hart.set("mstatus", 0n);
      // Eight bytes in two entries are matched in part by the first.
      hart.writeCsr("pmpcfg0", config(NA4 | R));
      assertEquals(hart.all(virtual, { mode }), expected, `${mode} level ${level}, in part`);
      hart.set("mstatus", 0n);
      hart.writeCsr("pmpaddr0", range(slot, 8));
      hart.writeCsr("pmpcfg0", BigInt(NAPOT | R) | BigInt(NAPOT | ALL) << 16n);
      assertEquals(hart.all(virtual, { mode }), [0, 0, 0], `${mode} level ${level}, readable`);
    }
  }
  assertEquals(TABLES > DATA, true);
});

// Where a page has several answers, each instruction is looked up by itself: the budget stays exact.
Deno.test("the budget is exact in a page with several answers", () => {
  protect([[NA4 | ALL, word(CODE + 0x800)], [NAPOT | ALL, (1n << 54n) - 1n]]);
  hart.core.setWord(0, "privilege", 1);
  const far = 0x2000;
  hart.load([encode("jal", { imm: -far })], CODE + far);
  hart.program([encode("addi", { rd: 5, rs1: 5, imm: 1 }), encode("jal", { imm: far - 4 })]);
  for (const count of [1, 1, 1, 2, 4, 1, 5]) {
    const before = hart.get("executed");
    hart.run(count);
    assertEquals(hart.core.control("budget"), 0n, `${count} instructions`);
    assertEquals(hart.get("executed"), before);
  }
  // 15 instructions: five rounds of three.
  assertEquals([hart.x(5), hart.get("pc")], [5n, BigInt(CODE)]);
});
