/**
 * Watchpoints of a kernel's addresses: they are seen in every address space, and stay where they were
 * found while the current one does not have them.
 */
import { assertEquals } from "@std/assert";
import { Watchpoints } from "../../kernel/debug/watchpoints.ts";
import { testMachine } from "../_support/machine.ts";

const SV39 = 8n << 60n;
/** A leaf with all rights, for a gigabyte of RAM. */
const RAM_LEAF = 0x8000_0000n >> 12n << 10n | 0xcfn;

Deno.test("a watchpoint in the upper half outlives the address space that it was set in", () => {
  const machine = testMachine({
    memoryBytes: 8 << 20,
    kernel: { kind: "raw", bytes: new Uint8Array(4) },
  });
  const { core, memory } = machine;
  const { ramStart } = core.plan;
  const write = (table: number, slot: number, entry: bigint) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, entry, true);
    memory.write(ramStart + table + 8 * slot, bytes);
  };
  const space = (table: number) => SV39 | BigInt(ramStart + table) >> 12n;
  const [first, second] = [0x10_0000, 0x20_0000];
  for (const table of [first, second]) write(table, 511, RAM_LEAF);
  write(first, 1, RAM_LEAF);
  core.setWord(0, "privilege", 1);
  core.setRegister(0, "satp", space(first));
  const watchpoints = new Watchpoints(machine);
  const told: bigint[] = [];
  const upper = 0xffff_ffff_c000_0000n + 0x30_0000n;
  const lower = 0x4000_0000n + 0x31_0000n;
  for (const address of [upper, lower]) {
    watchpoints.add({ kind: "write", address, size: 8 }, (_, at) => told.push(at));
  }
  const touch = () => {
    told.length = 0;
    memory.write(ramStart + 0x30_0000, new Uint8Array(8));
    memory.write(ramStart + 0x31_0000, new Uint8Array(8));
    return told;
  };
  assertEquals(touch(), [upper, lower]);
  // The process ends, and what its root table was holds something else.
  core.setRegister(0, "satp", space(second));
  write(first, 511, 0n);
  write(first, 1, 0n);
  watchpoints.look();
  assertEquals(touch(), [upper]);
  // Before the kernel turned its paging on, for example.
  core.setRegister(0, "satp", 0n);
  watchpoints.look();
  assertEquals(touch(), [upper]);
  core.setRegister(0, "satp", space(second));
  const pages = [0x30_0000, second].map((at) => at >>> 12).sort();
  watchpoints.look();
  const tables = watchpoints.pages.filter((page) => page !== first >>> 12).sort();
  assertEquals(tables, pages, "of what is watched and of the tables that lead there");
});
