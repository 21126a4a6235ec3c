/**
 * A walk for the translator: finds the guest page that a fetch would come from, and makes the current
 * element depend on the tables that say so, as if the fetch TLB had been filled.
 *
 * Invariant: the guest cannot tell; a walk that would have to set A, to fault or to meet a table with a read
 * trace finds nothing, nor does one that leads to a page that is absent, which is asked for, or watched for
 * good. Who waits for a page's first access is told of a fetch: a region is entered when all its pages are known.
 */
import { control32, setControl32 } from "../memory/block_access.ts";
import { PAGE_FLAG, READ_TRACES } from "../memory/page_flags.ts";
import { call, i32, i64 } from "../wasm/mod.ts";
import { emitNoteHolder, walkOvertaken } from "./cache_group.ts";
import { askReadTraces, inRam, type MmuCode, pageOf, TRACE_KIND } from "./mmu_code.ts";
import { ACCESS } from "./pte.ts";
import { trackersAreShort } from "./table_tracker.ts";

/** Generates `peekFetch`: (low and high word of a virtual address) → guest page, or -1. */
export function emitPeek(code: MmuCode): void {
  code.module.define(code.functions.peekFetch, (f) => {
    const [low, high] = f.parameters;
    // Making room would forget what earlier peeks for the same region have marked.
    f.if(trackersAreShort(), () => f.return(i32.const(-1)), undefined, "unlikely");
    const upper = i64.shl(i64.extendI32U(high), 32);
    const address = f.let(i64.or(upper, i64.extendI32U(low)));
    setControl32(f, "walkPeeks", 1);
    const gpa = f.let(call(code.functions.translate, address, ACCESS.fetch, 2));
    setControl32(f, "walkPeeks", 0);
    f.if(control32("faultCause"), () => {
      setControl32(f, "faultCause", 0);
      f.return(i32.const(-1));
    });
    f.if(i32.eqz(inRam(code.plan, gpa)), () => f.return(i32.const(-1)));
    const page = f.let(pageOf(code.plan, gpa));
    const absent = i32.and(i32.load8U(page, code.plan.pageFlags), PAGE_FLAG.absent);
    f.if(
      absent,
      () => {
        f.call(code.imports.traceHit, TRACE_KIND.hint, page, 0, 0);
        f.if(absent, () => f.return(i32.const(-1)));
      },
      undefined,
      "unlikely",
    );
    askReadTraces(code, f, page, i32.and(i32.wrap(gpa), 4095), 2, TRACE_KIND.fetch);
    const traced = i32.and(i32.load8U(page, code.plan.pageFlags), READ_TRACES);
    const refused = i32.or(i32.or(traced, i32.eqz(control32("pmpUniform"))), walkOvertaken());
    f.if(refused, () => f.return(i32.const(-1)));
    emitNoteHolder(code, f, address);
    f.return(page);
  }, true);
}
