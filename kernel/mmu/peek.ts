/**
 * A walk for the translator: finds the guest page that a fetch would come from, and makes the current
 * element depend on the tables that say so, as if the fetch TLB had been filled.
 *
 * Invariant: the guest cannot tell; a walk that would have to set A, to fault or to hit a trace finds
 * nothing.
 */
import { control32, setControl32 } from "../memory/block_access.ts";
import { READ_TRACES } from "../memory/page_flags.ts";
import { call, i32, i64 } from "../wasm/mod.ts";
import { emitNoteHolder, walkOvertaken } from "./cache_group.ts";
import { inRam, type MmuCode, pageOf } from "./mmu_code.ts";
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
    const traced = i32.and(i32.load8U(page, code.plan.pageFlags), READ_TRACES);
    const refused = i32.or(i32.or(traced, i32.eqz(control32("pmpUniform"))), walkOvertaken());
    f.if(refused, () => f.return(i32.const(-1)));
    emitNoteHolder(code, f, address);
    f.return(page);
  }, true);
}
