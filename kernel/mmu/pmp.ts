/**
 * Physical memory protection: 16 entries, OFF, TOR, NA4, NAPOT, granularity 4 bytes
 * (privileged ISA, "Physical Memory Protection"). Generates `pmpCheck`.
 *
 * Invariants: the lowest-numbered entry that matches any byte decides, and an access of which it
 * matches only some bytes fails; `pmpUniform` is 1 only if the whole 4 KiB page has one answer.
 */
import { hart64, hartAddress, setControl32 } from "../memory/block_access.ts";
import { PRIVILEGE } from "../memory/hart_layout.ts";
import { type FunctionBuilder, i32, i64, type Label, type Local } from "../wasm/mod.ts";
import type { MmuCode } from "./mmu_code.ts";

/** Number of PMP entries. */
export const PMP_ENTRIES = 16;
/** Bits 53:0 of pmpaddr hold address bits 55:2. */
export const PMP_ADDRESS_MASK = (1n << 54n) - 1n;
/** NAPOT, X, W, R: with an all-ones address this opens everything to S and U. */
const OPEN_TO_ALL = 0x1f;
const LOCKED = 0x80;

interface Range {
  readonly low: Local<"i64">;
  readonly high: Local<"i64">;
}

/** Generates `pmpCheck`. */
export function emitPmp(code: MmuCode): void {
  code.module.define(code.functions.pmpCheck, (f) => {
    const [address, size, permission, privilege] = f.parameters;
    setControl32(f, "pmpUniform", 1);
    const machine = i32.eq(privilege, PRIVILEGE.machine);
    f.if(
      i32.and(machine, i64.eqz(i64.or(hart64("pmpcfg"), hart64("pmpcfg", 1)))),
      () => f.return(1),
    );
    f.if(
      i32.and(
        i32.eq(i32.load8U(0, hartAddress("pmpcfg")), OPEN_TO_ALL),
        i64.eq(hart64("pmpaddr"), PMP_ADDRESS_MASK),
      ),
      () => f.return(1),
    );
    const page = f.let(i64.and(address, -4096));
    const end = f.let(i64.add(address, i64.extendI32U(size)));
    const index = f.let(i32.const(0));
    const range = { low: f.local("i64"), high: f.local("i64") };
    f.loop((next) => {
      f.block((skip) => {
        const config = f.let(i32.load8U(index, hartAddress("pmpcfg")));
        emitRange(f, config, index, range, skip);
        const touchesPage = i32.and(
          i64.ltU(range.low, i64.add(page, 4096)),
          i64.gtU(range.high, page),
        );
        const holdsPage = i32.and(
          i64.leU(range.low, page),
          i64.geU(range.high, i64.add(page, 4096)),
        );
        f.if(i32.and(touchesPage, i32.eqz(holdsPage)), () => setControl32(f, "pmpUniform", 0));
        f.brIf(skip, i32.eqz(i32.and(i64.ltU(range.low, end), i64.gtU(range.high, address))));
        f.if(
          i32.or(i64.ltU(address, range.low), i64.gtU(end, range.high)),
          () => f.return(0),
        );
        f.if(i32.and(machine, i32.eqz(i32.and(config, LOCKED))), () => f.return(1));
        f.return(i32.eq(i32.and(config, permission), permission));
      });
      f.set(index, i32.add(index, 1));
      f.brIf(next, i32.ltU(index, PMP_ENTRIES));
    });
    f.return(machine);
  }, true);
}

/** Sets the byte range of an entry, or branches to `skip` when the entry is off or empty. */
function emitRange(
  f: FunctionBuilder,
  config: Local<"i32">,
  index: Local<"i32">,
  range: Range,
  skip: Label,
): void {
  const matching = f.let(i32.and(i32.shrU(config, 3), 3));
  f.brIf(skip, i32.eqz(matching));
  const entry = f.let(i32.shl(index, 3));
  const raw = f.let(i64.load(entry, hartAddress("pmpaddr")));
  f.set(range.low, i64.shl(raw, 2));
  f.if(i32.eq(matching, 1), () => {
    f.set(range.high, range.low);
    f.set(range.low, 0);
    f.if(
      index,
      () => f.set(range.low, i64.shl(i64.load(i32.sub(entry, 8), hartAddress("pmpaddr")), 2)),
    );
    f.brIf(skip, i64.geU(range.low, range.high));
  }, () => {
    f.set(range.high, i64.add(range.low, 4));
    f.if(i32.eq(matching, 3), () => {
      // NAPOT: k trailing ones make a range of 2^(k+3) bytes; 54 ones cover the whole space.
      const bytes = f.let(i64.shl(8, i64.ctz(i64.xor(raw, -1))));
      f.set(range.low, i64.and(i64.shl(raw, 2), i64.xor(i64.sub(bytes, 1), -1)));
      f.set(range.high, i64.add(range.low, bytes));
    });
  });
}
