/** Claims of `lookUp`: it finds what a walk would, at every level, and refuses what no walk would take. */
import { assertEquals } from "@std/assert";
import { lookUp } from "../../../kernel/mmu/look.ts";
import { PTE, SATP_MODE } from "../../../kernel/mmu/pte.ts";

const ROOT = 0x8000_1000n;
const MIDDLE = 0x8000_2000n;
const LEAVES = 0x8000_3000n;

const pointer = (to: bigint) => to >> 2n | PTE.V;
const leaf = (to: bigint) => to >> 2n | PTE.V | PTE.R;
const satp = (mode: number) => BigInt(mode) << 60n | ROOT >> 12n;

/** Tables: slot 1 of the root leads down, slot 2 is a leaf of its level, slot 3 a misaligned one. */
function entryAt(gpa: bigint): bigint | undefined {
  const table = new Map<bigint, bigint>([
    [ROOT + 8n, pointer(MIDDLE)],
    [ROOT + 16n, leaf(0x1_0000_0000n)],
    [ROOT + 24n, leaf(0x1_0000_1000n)],
    [ROOT + 32n, pointer(0x1000n)],
    [ROOT + 511n * 8n, pointer(MIDDLE)],
    [MIDDLE + 8n, pointer(LEAVES)],
    [MIDDLE + 16n, leaf(0x8020_0000n)],
    [LEAVES + 8n, leaf(0x8000_5000n)],
    [LEAVES + 16n, pointer(LEAVES)],
  ]);
  return gpa < 0x8000_0000n ? undefined : table.get(gpa) ?? 0n;
}

const look = (address: bigint, mode: number = SATP_MODE.sv39) =>
  lookUp(satp(mode), address, entryAt);

Deno.test("lookUp() finds pages of every size in Sv39", () => {
  assertEquals(look(1n << 30n | 1n << 21n | 1n << 12n | 0x123n), 0x8000_5123n);
  assertEquals(look(1n << 30n | 2n << 21n | 0x1_2345n), 0x8021_2345n);
  assertEquals(look(2n << 30n | 0x123_4567n), 0x1_0123_4567n);
});

Deno.test("lookUp() finds upper half addresses by their sign", () => {
  const upper = BigInt.asUintN(64, -(1n << 30n)) | 1n << 21n | 1n << 12n;
  assertEquals(look(upper), 0x8000_5000n);
  assertEquals(look(upper & (1n << 39n) - 1n), undefined);
});

Deno.test("lookUp() gives undefined for what is not mapped", () => {
  const missing = [0n, 3n << 30n, 4n << 30n, 1n << 30n, 1n << 30n | 1n << 21n | 2n << 12n];
  for (const address of missing) {
    assertEquals(look(address), undefined, `0x${address.toString(16)}`);
  }
});

Deno.test("lookUp() gives the address itself without translation", () => {
  assertEquals(look(0xdead_beefn, SATP_MODE.bare), 0xdead_beefn);
});

Deno.test("lookUp() walks four levels in Sv48", () => {
  const tables = new Map([[ROOT + 8n, pointer(MIDDLE)], [MIDDLE + 8n, leaf(0x40_0000_0000n)]]);
  const address = 1n << 39n | 1n << 30n | 0x1234n;
  assertEquals(lookUp(satp(SATP_MODE.sv48), address, (gpa) => tables.get(gpa)), 0x40_0000_1234n);
});
