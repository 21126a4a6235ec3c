/**
 * CSR access: checks by number, then a case for each row of the table (Zicsr; privileged ISA, "CSR
 * Address Mapping Conventions"). Generates `csrRead` and `csrWrite`.
 *
 * Invariant: `csrRead` is called first, with what the instruction is about to do, and refuses with an
 * illegal-instruction fault; `csrWrite` after it never refuses (decode may refuse, execute may not).
 */
import { hart32 } from "../memory/block_access.ts";
import { CAUSE } from "../memory/hart_layout.ts";
import { CSR_INDEX } from "../memory/memory_plan.ts";
import { setFault } from "../mmu/mmu_code.ts";
import { type FunctionBuilder, i32, i64, type Label, type Local } from "../wasm/mod.ts";
import type { CpuCode } from "./cpu_code.ts";
import { CSR_ROWS, type CsrRow } from "./csr_table.ts";

/** The table that leads from a CSR number to its case; 0 means there is no such register. */
function csrIndex(): Uint8Array {
  const index = new Uint8Array(4096);
  CSR_ROWS.forEach((row, i) => index[row.number] = i + 1);
  return index;
}

/** Runs the case of one row; falls through to what follows when the number has no row. */
function forRow(
  f: FunctionBuilder,
  number: Local<"i32">,
  rows: readonly CsrRow[],
  body: (row: CsrRow) => void,
): void {
  const nest = (position: number, labels: Label[]): void => {
    if (position === rows.length) {
      f.block((missing) => {
        f.brTable(i32.load8U(number, CSR_INDEX), [missing, ...labels], missing);
      });
      f.return(...(f.reference.result === undefined ? [] : [i64.const(0)]));
      return;
    }
    f.block((label) => nest(position + 1, [label, ...labels]));
    f.scope(() => body(rows[rows.length - 1 - position]!));
  };
  nest(0, []);
}

/** Generates the functions of this file. */
export function emitCsr(code: CpuCode): void {
  code.module.data(CSR_INDEX, csrIndex());
  code.module.define(code.functions.csrRead, (f) => {
    const [number, writes] = f.parameters;
    f.block((illegal) => {
      const privilege = i32.and(i32.shrU(number, 8), 3);
      f.brIf(illegal, i32.gtU(privilege, hart32("privilege")));
      f.brIf(illegal, i32.and(writes, i32.eq(i32.shrU(number, 10), 3)));
      f.brIf(illegal, i32.eqz(i32.load8U(number, CSR_INDEX)));
      forRow(f, number, CSR_ROWS, (row) => {
        row.check?.(f, illegal, writes);
        f.return(row.read(f, code));
      });
    });
    setFault(f, CAUSE.illegalInstruction, 0);
    f.return(i64.const(0));
  }, true);
  code.module.define(code.functions.csrWrite, (f) => {
    const [number, value] = f.parameters;
    forRow(f, number, CSR_ROWS, (row) => {
      row.write?.(f, value, code);
      f.return();
    });
  }, true);
}
