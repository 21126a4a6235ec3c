/**
 * The page walk of Sv39, Sv48 and Sv57: levels, superpages, and entries that fault (privileged ISA,
 * "Virtual Address Translation Process" and the sections of the three schemes).
 */
import { assertEquals } from "@std/assert";
import { RAM } from "../_support/bare_core.ts";
import { entryFor, LEAF, PageTables } from "../_support/page_tables.ts";
import { DATA } from "../_support/privileged.ts";
import { ACCESS_FAULT, KINDS, PAGE_FAULT, PAGINGS, Translation } from "./translation.ts";

const LEVELS = { sv39: 3, sv48: 4, sv57: 5 } as const;
const PAGE_FAULTS = KINDS.map((kind) => PAGE_FAULT[kind]);
const ACCESS_FAULTS = KINDS.map((kind) => ACCESS_FAULT[kind]);
const FINE = [0, 0, 0];
const VIRTUAL = 0x4567_8000n;
const hart = new Translation();

/** The upper half of a scheme's address space: the highest address that is a multiple of a size. */
function highBase(levels: number, slot: bigint, level: number): bigint {
  const half = 1n << BigInt(12 + 9 * levels - 1);
  return -half + (slot << BigInt(12 + 9 * level));
}

// "Any level of PTE may be a leaf PTE": 4 KiB pages, 2 MiB megapages, 1 GiB gigapages, 512 GiB
// terapages, 256 TiB petapages. "pa.ppn[i-1:0] = va.vpn[i-1:0]".
Deno.test("a leaf at each level of each scheme maps its whole page, in both halves of the space", () => {
  for (const paging of PAGINGS) {
    const levels = LEVELS[paging];
    for (let level = 0; level < levels; level++) {
      const mask = (1n << BigInt(12 + 9 * level)) - 1n;
      const offset = BigInt(DATA) & mask;
      for (const base of [3n << BigInt(12 + 9 * level), highBase(levels, 5n, level)]) {
        const tables = hart.begin(paging);
        tables.map(base, BigInt(DATA) & ~mask, LEAF.all, level);
        const last = base + mask - 7n;
        const inRam = (BigInt(DATA) & ~mask) + mask < BigInt(RAM + hart.core.plan.ramBytes);
        assertEquals(hart.all(base + offset), FINE, `${paging} level ${level}`);
        hart.setMemory(DATA, 0x1234n);
        hart.access("load", base + offset);
        assertEquals(hart.x(10), 0x1234n, `${paging} level ${level}`);
        hart.setX(12, 0x5678n);
        hart.access("store", base + offset);
        assertEquals(hart.memory(DATA), 0x5678n);
        // The last word of the page belongs to it, the first behind it does not.
        assertEquals(hart.access("load", last), inRam ? 0 : ACCESS_FAULT.load);
        assertEquals(hart.access("load", base + mask + 1n), PAGE_FAULT.load);
      }
    }
  }
});

// "If i>0 and pte.ppn[i-1:0] ≠ 0, this is a misaligned superpage; stop and raise a page-fault
// exception corresponding to the original access type."
Deno.test("a superpage whose physical address is not aligned to its size faults", () => {
  for (const paging of PAGINGS) {
    for (let level = 1; level < LEVELS[paging]; level++) {
      const base = 1n << BigInt(12 + 9 * level);
      for (let bit = 12; bit < 12 + 9 * level; bit += 4) {
        const tables = hart.begin(paging);
        tables.map(base, 1n << BigInt(bit), LEAF.all, level);
        assertEquals(hart.all(base), PAGE_FAULTS, `${paging} level ${level} bit ${bit}`);
      }
    }
  }
});

// "If pte.v=0, or if pte.r=0 and pte.w=1, or if any bits or encodings that are reserved for future
// standard use are set within pte, stop and raise a page-fault exception".
Deno.test("entries that are not valid, write-only or with reserved bits fault", () => {
  const bad: readonly (readonly [string, bigint])[] = [
    ["V clear", LEAF.all & ~LEAF.V],
    ["all bits but V", LEAF.user & ~LEAF.V],
    ["W without R", LEAF.V | LEAF.W | LEAF.A | LEAF.D],
    ["WX without R", LEAF.V | LEAF.W | LEAF.X | LEAF.A | LEAF.D],
    ...Array.from({ length: 10 }, (_, i): readonly [string, bigint] => [
      `bit ${54 + i}`,
      LEAF.all | 1n << BigInt(54 + i),
    ]),
  ];
  for (const paging of PAGINGS) {
    for (const [name, flags] of bad) {
      const tables = hart.begin(paging);
      tables.map(VIRTUAL, DATA, flags);
      assertEquals(hart.all(VIRTUAL), PAGE_FAULTS, `${paging}: ${name}`);
    }
  }
});

// "The RSW field is reserved for use by supervisor software; the implementation shall ignore this
// field"; G changes nothing in what is allowed.
Deno.test("software's bits and the global bit do not matter", () => {
  for (const extra of [LEAF.G, 1n << 8n, 1n << 9n, 3n << 8n]) {
    const tables = hart.begin("sv39");
    tables.map(VIRTUAL, DATA, LEAF.all | extra);
    assertEquals(hart.all(VIRTUAL), FINE);
  }
});

// "For non-leaf PTEs, the D, A, and U bits are reserved for future standard use."
Deno.test("an entry that leads to the next table faults with D, A, U or bits 63 to 54 set", () => {
  for (const paging of PAGINGS) {
    for (let level = 1; level < LEVELS[paging]; level++) {
      const tables = hart.begin(paging);
      tables.map(VIRTUAL, DATA, LEAF.all);
      const slot = tables.slot(VIRTUAL, level);
      const good = hart.memory(slot);
      for (const bit of [4n, 6n, 7n, 54n, 60n, 61n, 62n, 63n]) {
        hart.setMemory(slot, good | 1n << bit);
        assertEquals(hart.all(VIRTUAL), PAGE_FAULTS, `${paging} level ${level} bit ${bit}`);
      }
      // G and the software bits are allowed.
      hart.setMemory(slot, good | LEAF.G | 3n << 8n);
      assertEquals(hart.all(VIRTUAL), FINE, `${paging} level ${level}`);
    }
  }
});

// "If i<0, stop and raise a page-fault exception": the last level must hold a leaf.
Deno.test("a pointer in a table of the last level faults", () => {
  for (const paging of PAGINGS) {
    const tables = hart.begin(paging);
    tables.map(VIRTUAL, DATA, LEAF.V);
    assertEquals(hart.all(VIRTUAL), PAGE_FAULTS, paging);
  }
});

// Sv39: addresses "must have bits 63–39 all equal to bit 38, or else a page-fault exception will occur";
// Sv48 and Sv57 likewise with bits 47 and 56.
Deno.test("addresses that are not sign-extended fault, and their neighbours do not", () => {
  for (const paging of PAGINGS) {
    const width = BigInt(12 + 9 * LEVELS[paging]);
    const half = 1n << width - 1n;
    const tables = hart.begin(paging);
    tables.map(half - 0x1000n, DATA, LEAF.all);
    tables.map(-half, DATA, LEAF.all);
    assertEquals(hart.all(half - 0x1000n), FINE, paging);
    assertEquals(hart.all(-half), FINE, paging);
    const strangers = [half, -half - 0x1000n, 1n << 63n, (1n << 63n) - 0x1000n]
      .concat([width < 57n ? 1n << 57n : 1n << 58n, -half ^ 1n << 62n]);
    for (const address of strangers) {
      assertEquals(hart.all(address), PAGE_FAULTS, `${paging} 0x${address.toString(16)}`);
    }
  }
});

Deno.test("an access that wraps around the end of the address space is two accesses", () => {
  const tables = hart.begin("sv39");
  tables.map(-0x1000n, DATA, LEAF.all);
  tables.map(0n, DATA + 0x1000, LEAF.all);
  hart.setMemory(DATA + 4088, 0x1122_3344_0000_0000n);
  hart.setMemory(DATA + 0x1000, 0x5566_7788n);
  assertEquals(hart.access("load", -4n), 0);
  assertEquals(hart.x(10), 0x5566_7788_1122_3344n);
});

// "If accessing pte violates a PMA or PMP check, raise an access-fault exception corresponding to the
// original access type": tables lie in RAM here.
Deno.test("a table outside RAM raises access faults at whatever level it is met", () => {
  for (const paging of PAGINGS) {
    const levels = LEVELS[paging];
    for (let level = 1; level < levels; level++) {
      for (const place of [0x1000_0000, 0x0c00_0000, 0x4000_0000, 0xff_ffff_f000]) {
        const tables = hart.begin(paging);
        hart.setMemory(tables.slot(VIRTUAL, level), entryFor(place, LEAF.V));
        assertEquals(hart.all(VIRTUAL), ACCESS_FAULTS, `${paging} level ${level}`);
      }
    }
    hart.begin(paging);
    hart.set("satp", hart.tables.satp >> 44n << 44n | 0x1000n);
    assertEquals(hart.all(VIRTUAL), ACCESS_FAULTS, `${paging} root`);
  }
});

Deno.test("a leaf that leads outside RAM raises access faults", () => {
  const tables = hart.begin("sv39");
  tables.map(VIRTUAL, 0x4000_0000, LEAF.all);
  assertEquals(hart.all(VIRTUAL), ACCESS_FAULTS);
});

// "The satp register must be active, i.e., the effective privilege mode must be S-mode or U-mode."
Deno.test("machine mode and bare mode use physical addresses whatever the tables say", () => {
  hart.begin("sv39");
  assertEquals(hart.all(BigInt(DATA), { mode: "machine" }), FINE);
  hart.set("satp", 0n);
  assertEquals(hart.all(BigInt(DATA)), FINE);
  assertEquals(hart.all(BigInt(DATA), { mode: "user" }), FINE);
});

Deno.test("address spaces with different roots are kept apart, however often they alternate", () => {
  const spaces = [0, 1, 2, 3, 4, 5].map((i) => RAM + 0x40_0000 + i * 0x1_0000);
  hart.restart();
  const satps = spaces.map((root, i) => {
    const tables = new PageTables(hart, "sv39", root);
    tables.map(VIRTUAL, DATA + 0x1000 * i, LEAF.all);
    hart.setMemory(DATA + 0x1000 * i, BigInt(100 + i));
    return tables.satp;
  });
  // More spaces than there are cache elements, twice over.
  for (const i of [0, 1, 2, 3, 4, 5, 0, 5, 1, 4, 2, 3]) {
    hart.set("satp", satps[i]!);
    assertEquals(hart.access("load", VIRTUAL), 0);
    assertEquals(hart.x(10), BigInt(100 + i));
  }
});
