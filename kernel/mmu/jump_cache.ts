/**
 * The jump cache of an element: virtual address to region, in pairs of entries. Functions for generated
 * code that looks a place up, and that drops jumps when mappings change.
 *
 * Invariant: a jump stands for fetch entries of all pages of its region, and goes when one of them would.
 */
import { count } from "../memory/block_access.ts";
import { JUMP_ENTRIES, JUMP_ENTRY_BYTES, JUMP_PAGES } from "../memory/memory_plan.ts";
import type { MemoryPlan } from "../memory/memory_plan.ts";
import { type Expression, type FunctionBuilder, i32, i64, type Local } from "../wasm/mod.ts";
import type { MmuCode } from "./mmu_code.ts";

/** A region has no code so many bytes or more from the page of its entry. */
export const REGION_REACH = 16 * 4096;
const JUMP_MASK = (JUMP_ENTRIES - 1) * JUMP_ENTRY_BYTES;

/**
 * Byte offset in an element of the jump-cache entry of a virtual address. Functions tend to start at the
 * same offsets of pages, so that the page takes part.
 */
function jumpOffset(plan: MemoryPlan, address: Local<"i64">): Expression<"i32"> {
  const hash = i32.xor(i32.shl(i32.wrap(address), 3), i32.shrU(i32.wrap(address), 9));
  return i32.add(i32.and(hash, JUMP_MASK), plan.jumpCache);
}

/** The same for the low word of an address. */
export function jumpOffsetOf(plan: MemoryPlan, address: number): number {
  return plan.jumpCache + ((address << 3 ^ address >>> 9) & JUMP_MASK);
}

/** The other entry where a jump may be, from the address of the first: the next or the one before. */
export const OTHER_WAY = JUMP_ENTRY_BYTES;

/** Address of the entry of a jump cache that is likely to know a virtual address. */
export function jumpEntry(
  f: FunctionBuilder,
  plan: MemoryPlan,
  element: Expression<"i32">,
  address: Local<"i64">,
): Local<"i32"> {
  const jump = f.let(i32.add(element, jumpOffset(plan, address)));
  f.if(
    i64.ne(i64.load(jump, JUMP.address), address),
    () => f.set(jump, i32.xor(jump, OTHER_WAY)),
    undefined,
    "unlikely",
  );
  return jump;
}

/** Offsets in a jump-cache entry. */
export const JUMP = { address: 0, slot: 8, entry: 12 } as const;

/** Drops the jumps of an element into regions that may have code in a page: one stands for fetch entries. */
export function emitDropJumpsNear(
  code: MmuCode,
  f: FunctionBuilder,
  element: Expression<"i32">,
  address: Local<"i64">,
): void {
  const page = f.let(i32.and(i32.wrap(i64.shrU(address, 12)), JUMP_PAGES - 1));
  const bits = i32.load8U(i32.add(element, i32.shrU(page, 3)), code.plan.jumpPages);
  const leadsThere = i32.eqz(i32.and(i32.shrU(bits, i32.and(page, 7)), 1));
  f.if(leadsThere, () => emitDropNear(code, f, element, address), undefined, "unlikely");
}

function emitDropNear(
  code: MmuCode,
  f: FunctionBuilder,
  element: Expression<"i32">,
  address: Local<"i64">,
): void {
  const first = i64.sub(address, REGION_REACH);
  const jumps = f.let(i32.add(element, code.plan.jumpCache));
  emitDropJumps(f, jumps, first, i64.const(BigInt(2 * REGION_REACH + 4096)));
}

/** Drops the jumps of a jump cache to so many bytes from an address on. */
export function emitDropJumps(
  f: FunctionBuilder,
  jumps: Local<"i32">,
  from: Expression<"i64">,
  bytes: Expression<"i64">,
): void {
  const first = f.let(from);
  const length = f.let(bytes);
  const jump = f.let(jumps);
  const end = f.let(i32.add(jump, JUMP_ENTRIES * JUMP_ENTRY_BYTES));
  f.loop((next) => {
    const target = f.let(i64.load(jump, JUMP.address));
    f.if(
      i64.ltU(i64.sub(target, first), length),
      () => {
        f.if(i64.ne(target, -1), () => {
          f.store64(jump, JUMP.address, -1);
          count(f, "statDependentsDropped");
        });
      },
      undefined,
      "unlikely",
    );
    f.set(jump, i32.add(jump, JUMP_ENTRY_BYTES));
    f.brIf(next, i32.ltU(jump, end));
  });
}
