/**
 * The page walk: Sv39, Sv48, Sv57 and bare mode (privileged ISA, "Virtual Address Translation
 * Process"). Generates `translate`.
 *
 * Invariants: each table page met in a walk is marked with the T bit before its entry is read (S21.2,
 * S21.7); the walker's own reads of entries and writes of A and D obey page traces (X1); an access that faults changes
 * nothing but the fault fields.
 */
import {
  control32,
  control64,
  count,
  hart32,
  hart64,
  setControl32,
  setControl64,
} from "../memory/block_access.ts";
import { CAUSE, MENVCFG_ADUE, MSTATUS, PRIVILEGE } from "../memory/hart_layout.ts";
import { PAGE_FLAG, READ_TRACES } from "../memory/page_flags.ts";
import { logStore } from "../memory/store_log.ts";
import {
  call,
  type Expression,
  type FunctionBuilder,
  i32,
  i64,
  type Label,
  type Local,
} from "../wasm/mod.ts";
import {
  askReadTraces,
  askWriteTraces,
  hostAddress,
  inRam,
  type MmuCode,
  pageOf,
  setFault,
  TRACE_KIND,
} from "./mmu_code.ts";
import {
  ACCESS,
  PPN_MASK,
  PTE,
  PTE_NON_LEAF_RESERVED,
  PTE_PPN_SHIFT,
  PTE_RESERVED,
  SATP_MODE_SHIFT,
} from "./pte.ts";
import { emitUseSlot, placeOfTable } from "./table_tracker.ts";

/** PMP permissions of the three kinds of access. */
const PMP_READ = 1;
const PMP_WRITE = 2;
const PMP_EXECUTE = 4;

interface Walk {
  readonly f: FunctionBuilder;
  readonly code: MmuCode;
  readonly address: Local<"i64">;
  readonly access: Local<"i32">;
  readonly privilege: Local<"i32">;
  readonly pte: Local<"i64">;
  readonly pteAddress: Local<"i64">;
  readonly shift: Local<"i64">;
  readonly pageFault: Label;
  readonly accessFault: Label;
}

const has = (pte: Expression<"i64">, bits: bigint) => i64.ne(i64.and(pte, bits), 0);

/** Generates `translate`. */
export function emitWalk(code: MmuCode): void {
  code.module.define(code.functions.translate, (f) => {
    const [address, access, size] = f.parameters;
    const gpa = f.local("i64");
    const privilege = f.local("i32");
    setControl32(f, "walkEpoch", control32("flushEpoch"));
    f.block((accessFault) => {
      f.block((pageFault) => {
        emitEffectivePrivilege(f, access, privilege);
        const satp = f.let(hart64("satp"));
        const mode = f.let(i32.wrap(i64.shrU(satp, SATP_MODE_SHIFT)));
        f.if(
          i32.or(i32.eq(privilege, PRIVILEGE.machine), i32.eqz(mode)),
          () => {
            setControl32(f, "walkLevel", 0);
            f.set(gpa, address);
          },
          () => {
            const walk = {
              f,
              code,
              address,
              access,
              privilege,
              pte: f.local("i64"),
              pteAddress: f.local("i64"),
              shift: f.local("i64"),
              pageFault,
              accessFault,
            };
            emitLevels(walk, satp, mode);
            emitLeafChecks(walk);
            const offset = f.let(i64.sub(i64.shl(1, walk.shift), 1));
            const frame = i64.shl(i64.and(i64.shrU(walk.pte, PTE_PPN_SHIFT), PPN_MASK), 12);
            f.set(gpa, i64.or(i64.and(frame, i64.xor(offset, -1)), i64.and(address, offset)));
          },
        );
        // Physical addresses have 56 bits; what lies above does not exist.
        f.brIf(accessFault, i64.ne(i64.shrU(gpa, 56), 0));
        const permission = i32.select(
          i32.eq(access, ACCESS.load),
          PMP_READ,
          i32.select(i32.eq(access, ACCESS.store), PMP_WRITE, PMP_EXECUTE),
        );
        const allowed = call(code.functions.pmpCheck, gpa, size, permission, privilege);
        f.brIf(accessFault, i32.eqz(allowed));
        f.return(gpa);
      });
      const cause = i32.select(
        i32.eq(access, ACCESS.load),
        CAUSE.loadPage,
        i32.select(i32.eq(access, ACCESS.store), CAUSE.storePage, CAUSE.fetchPage),
      );
      setFault(f, cause, address);
      f.return(i64.const(-1));
    });
    const cause = i32.select(
      i32.eq(access, ACCESS.load),
      CAUSE.loadAccess,
      i32.select(i32.eq(access, ACCESS.store), CAUSE.storeAccess, CAUSE.fetchAccess),
    );
    setFault(f, cause, address);
    f.return(i64.const(-1));
  }, true);
}

/** mstatus.MPRV makes loads and stores use the privilege in MPP. */
function emitEffectivePrivilege(
  f: FunctionBuilder,
  access: Local<"i32">,
  privilege: Local<"i32">,
): void {
  f.set(privilege, hart32("privilege"));
  const modified = i32.and(
    i32.ne(access, ACCESS.fetch),
    i64.ne(i64.and(hart64("mstatus"), MSTATUS.MPRV), 0),
  );
  f.if(modified, () => {
    f.set(privilege, i32.and(i32.wrap(i64.shrU(hart64("mstatus"), 11)), 3));
  });
}

/** Walks from the root to a leaf: afterwards `pte` is the leaf and `shift` the log2 of its page size. */
function emitLevels(walk: Walk, satp: Local<"i64">, mode: Local<"i32">): void {
  const { f, code, address, pte, pteAddress, shift, pageFault } = walk;
  count(f, "statWalks");
  const levels = f.let(i64.extendI32U(i32.sub(mode, 5)));
  const unused = f.let(i64.sub(52, i64.mul(levels, 9)));
  f.brIf(pageFault, i64.ne(i64.shrS(i64.shl(address, unused), unused), address));
  f.set(shift, i64.add(i64.mul(levels, 9), 12));
  const rootShift = f.let(i64.sub(shift, 9));
  const table = f.let(i64.shl(i64.and(satp, PPN_MASK), 12));
  const page = f.local("i32");
  f.loop((next) => {
    f.set(shift, i64.sub(shift, 9));
    const slot = f.let(i64.and(i64.shrU(address, shift), 511));
    f.set(pteAddress, i64.add(table, i64.shl(slot, 3)));
    emitTableAccess(walk, PMP_READ);
    f.set(page, pageOf(code.plan, pteAddress));
    f.brIf(pageFault, i32.and(control32("walkPeeks"), hasReadTraces(code, page)));
    const place = placeOfTable(address, shift, i64.eq(shift, rootShift));
    const tracker = f.let(call(code.functions.markTable, page, place));
    askReadTraces(code, f, page, i32.and(i32.wrap(pteAddress), 4095), 8, TRACE_KIND.walkRead);
    f.set(pte, i64.load(hostAddress(code.plan, pteAddress)));
    f.brIf(pageFault, i32.eqz(has(pte, PTE.V)));
    f.brIf(pageFault, has(pte, PTE_RESERVED));
    f.brIf(pageFault, i64.eq(i64.and(pte, PTE.R | PTE.W), PTE.W));
    emitUseSlot(f, tracker, i32.wrap(slot));
    f.if(i32.eqz(has(pte, PTE.R | PTE.X)), () => {
      f.brIf(pageFault, has(pte, PTE_NON_LEAF_RESERVED));
      f.brIf(pageFault, i64.eq(shift, 12));
      f.set(table, i64.shl(i64.and(i64.shrU(pte, PTE_PPN_SHIFT), PPN_MASK), 12));
      f.br(next);
    });
  });
}

function hasReadTraces(code: MmuCode, page: Local<"i32">): Expression<"i32"> {
  return i32.ne(i32.and(i32.load8U(page, code.plan.pageFlags), READ_TRACES), 0);
}

/** Page tables must lie in RAM and PMP must let a supervisor reach them. */
function emitTableAccess(walk: Walk, permission: number): void {
  const { f, code, pteAddress, accessFault } = walk;
  f.brIf(accessFault, i32.eqz(inRam(code.plan, pteAddress)));
  const allowed = call(
    code.functions.pmpCheck,
    pteAddress,
    8,
    permission,
    PRIVILEGE.supervisor,
  );
  f.brIf(accessFault, i32.eqz(allowed));
}

/** Permissions, superpage alignment, A and D. */
function emitLeafChecks(walk: Walk): void {
  const { f, code, access, privilege, pte, pteAddress, shift, pageFault } = walk;
  const status = f.let(hart64("mstatus"));
  f.if(i32.eq(privilege, PRIVILEGE.user), () => {
    f.brIf(pageFault, i32.eqz(has(pte, PTE.U)));
  }, () => {
    const refused = i32.or(
      i32.eq(access, ACCESS.fetch),
      i64.eqz(i64.and(status, MSTATUS.SUM)),
    );
    f.brIf(pageFault, i32.and(has(pte, PTE.U), refused));
  });
  const readable = i32.or(
    has(pte, PTE.R),
    i32.and(has(pte, PTE.X), i64.ne(i64.and(status, MSTATUS.MXR), 0)),
  );
  const permitted = i32.select(
    i32.eq(access, ACCESS.load),
    readable,
    i32.select(i32.eq(access, ACCESS.store), has(pte, PTE.W), has(pte, PTE.X)),
  );
  f.brIf(pageFault, i32.eqz(permitted));
  const lowPages = i64.sub(i64.shl(1, i64.sub(shift, 12)), 1);
  f.brIf(pageFault, i64.ne(i64.and(i64.shrU(pte, PTE_PPN_SHIFT), lowPages), 0));
  const wanted = f.let(i64.select(i32.eq(access, ACCESS.store), PTE.A | PTE.D, PTE.A));
  f.if(i64.ne(i64.and(pte, wanted), wanted), () => {
    f.brIf(pageFault, control32("walkPeeks"));
    f.brIf(pageFault, i64.eqz(i64.and(hart64("menvcfg"), MENVCFG_ADUE)));
    emitTableAccess(walk, PMP_WRITE);
    f.set(pte, i64.or(pte, wanted));
    emitTableWrite(f, code, pteAddress, pte);
  });
  setControl64(f, "walkPte", pte);
  setControl32(f, "walkLevel", i32.wrap(shift));
}

/** The walker writes a PTE; services that trace the page are asked first, decoded code is dropped. */
function emitTableWrite(
  f: FunctionBuilder,
  code: MmuCode,
  pteAddress: Local<"i64">,
  pte: Local<"i64">,
): void {
  const page = f.let(pageOf(code.plan, pteAddress));
  const flags = f.let(i32.load8U(page, code.plan.pageFlags));
  const offset = i32.and(i32.wrap(pteAddress), 4095);
  askWriteTraces(code, f, { page, flags, offset, size: 8, value: pte, kind: TRACE_KIND.walkWrite });
  const host = hostAddress(code.plan, pteAddress);
  f.store64(host, 0, logStore(f, code.logStore, host, 8, pte));
  f.if(
    i32.and(flags, PAGE_FLAG.code),
    () => {
      f.call(code.dropCode, page, offset, 8);
    },
    undefined,
    "unlikely",
  );
}

/** icount of the machine at this point of a run: the time base of everything (design.md, "Time"). */
export function machineIcount(budget: Expression<"i64">): Expression<"i64"> {
  return i64.sub(control64("runEnd"), budget);
}
