/** Claims about the short table of registers that reports show. */
import { assertEquals } from "@std/assert";
import { REPORTED_CSRS } from "../../../kernel/cpu/csr_names.ts";
import { CSR_ROWS } from "../../../kernel/cpu/csr_table.ts";

Deno.test("reports show every register but counters of events, PMP and what reading changes", () => {
  const shown = CSR_ROWS.filter(({ name }) => !/hpm|^pmp|^seed$/.test(name));
  assertEquals(REPORTED_CSRS, shown.map(({ number, name }) => [number, name] as const));
});
