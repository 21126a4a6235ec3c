/**
 * Loads and stores of a block that use one base register, unchanged in between: the function's frame, the
 * fields of a structure. Their page is looked for once, before the first, for all of them.
 *
 * Invariant: an access goes unchecked only if all bytes of its group lie in one page that the TLB knows for
 * what the group does; a group that stores needs the write TLB, and what may be written may be read.
 */
import { ROWS } from "../cpu/isa/table.ts";
import { entryOffset } from "../mmu/cache_group.ts";
import { tlbOffsetOf } from "../mmu/tlb_place.ts";
import { i32, i64, type Local } from "../wasm/mod.ts";
import type { Instruction } from "./region.ts";
import type { PageCache } from "./page_caches.ts";
import type { RegionFrame } from "./region_ops.ts";
import { readBy, writtenBy } from "./register_flow.ts";

/** Accesses that are checked together. */
export interface AccessGroup {
  /** Their base register. */
  readonly base: number;
  /** Least offset from the base. */
  readonly low: number;
  /** Bytes from there to the last byte of the farthest access. */
  readonly bytes: number;
  /** 1 when one of them is a store. */
  readonly kind: 0 | 1;
  /** Position in the block of the first. */
  readonly first: number;
}

/** What is known of a group while the block runs. */
export interface CheckedGroup {
  readonly group: AccessGroup;
  /** Whether the accesses may go unchecked (i32). */
  readonly stands: Local<"i32">;
  /** Host address of the group's first byte, if they may. */
  readonly host: Local<"i32">;
}

/** Fewer accesses are checked one by one. */
const LEAST = 3;
/** The farther apart, the more often they lie on two pages. */
const MOST_BYTES = 512;

/** Bytes that each row of the instruction table loads or stores at an offset from rs1; 0 where it does not. */
const ACCESSED = ROWS.map(({ name }) => {
  const width = /^f?[ls]([bhwd])u?$/.exec(name)?.[1];
  return width === undefined ? 0 : { b: 1, h: 2, w: 4, d: 8 }[width]!;
});
const isStore = ROWS.map(({ operands }) => operands.includes("q(s)"));

interface Growing {
  low: number;
  high: number;
  kind: 0 | 1;
  readonly members: number[];
}

/** The group of each instruction of a block that belongs to one. */
export function accessGroups(instructions: readonly Instruction[]): Map<number, AccessGroup> {
  const groups = new Map<number, AccessGroup>();
  const growing = new Map<number, Growing>();
  const end = (base: number) => {
    const grown = growing.get(base);
    growing.delete(base);
    if (grown === undefined || grown.members.length < LEAST) return;
    const { low, high, kind, members } = grown;
    const group = { base, low, bytes: high - low, kind, first: members[0]! };
    for (const member of members) groups.set(member, group);
  };
  instructions.forEach((instruction, i) => {
    const { row, rs1, imm } = instruction;
    // What a CSR decides may change how addresses are translated.
    if (ROWS[row]!.flow === "system") { for (const base of [...growing.keys()]) end(base); }
    const bytes = ACCESSED[row]!;
    if (bytes > 0 && (readBy(instruction).x >> rs1 & 1) !== 0) {
      const before = growing.get(rs1);
      const low = Math.min(before?.low ?? imm, imm);
      const high = Math.max(before?.high ?? imm, imm + bytes);
      if (before !== undefined && high - low > MOST_BYTES) end(rs1);
      const grown = growing.get(rs1);
      const kind = isStore[row]! || grown?.kind === 1 ? 1 : 0;
      const members = [...grown?.members ?? [], i];
      growing.set(
        rs1,
        grown === undefined
          ? { low: imm, high: imm + bytes, kind, members }
          : { low, high, kind, members },
      );
    }
    const { x } = writtenBy(instruction);
    for (const base of [...growing.keys()]) if ((x >> base & 1) !== 0) end(base);
  });
  for (const base of [...growing.keys()]) end(base);
  return groups;
}

/**
 * Looks for a group's page, before its first access.
 * @param steadyBase whether the base register is likely to lead to the same page each time
 */
export function checkGroup(
  frame: RegionFrame,
  group: AccessGroup,
  steadyBase: boolean,
): CheckedGroup {
  const { f, registers } = frame;
  const checked = { group, stands: f.local("i32"), host: f.local("i32") };
  registers.load({ x: 1 << group.base, f: 0 });
  const cache = steadyBase ? frame.pageCache(group.base, group.kind) : undefined;
  f.scope(() => emitCheck(frame, checked, cache));
  return checked;
}

function emitCheck(
  { f, plan, element, registers }: RegionFrame,
  { group, stands, host }: CheckedGroup,
  cache: PageCache | undefined,
): void {
  const low = f.let(i64.add(registers.x.get(group.base)!, group.low));
  const page = f.let(i64.and(low, -4096));
  const inPage = () => i64.leU(i64.sub(low, page), 4096 - group.bytes);
  const ask = () => {
    const offset = tlbOffsetOf(plan, group.kind);
    const entry = f.let(i32.add(element, entryOffset(f, plan, page)));
    f.if(
      i64.eq(i64.load(entry, offset), page),
      () => {
        const addend = f.let(i32.load(entry, offset + 8));
        if (cache !== undefined) {
          f.store32(0, cache.addend, addend);
          f.store64(0, cache.tag, page);
        }
        f.set(host, i32.add(i32.wrap(low), addend));
        f.set(stands, inPage());
      },
      () => f.set(stands, 0),
      "likely",
    );
  };
  if (cache === undefined) return ask();
  f.if(
    i64.eq(page, i64.load(0, cache.tag)),
    () => {
      f.set(host, i32.add(i32.wrap(low), i32.load(0, cache.addend)));
      f.set(stands, inPage());
    },
    ask,
    "likely",
  );
}
