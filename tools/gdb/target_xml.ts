/**
 * The documents that gdb reads from a target: its registers (GDB manual, "Target Descriptions" and
 * "RISC-V Features"), its memory map ("Memory Map Format") and its threads ("Thread List Format").
 */
import type { DebugMemoryRange } from "../../kernel/debug/target.ts";
import {
  CPU_REGISTERS,
  CSR_REGISTERS,
  FLOAT_REGISTERS,
  type GdbRegister,
  PRIVILEGE_REGISTER,
} from "./registers.ts";

/** CSRs that gdb wants to find with the floating-point registers. */
const FLOAT_CSRS = ["fflags", "frm", "fcsr"];
const POINTERS: Readonly<Record<string, string>> = {
  pc: "code_ptr",
  ra: "code_ptr",
  sp: "data_ptr",
  gp: "data_ptr",
  tp: "data_ptr",
  fp: "data_ptr",
};

function row({ name, number }: GdbRegister, type = "int"): string {
  return `    <reg name="${name}" bitsize="64" regnum="${number}" type="${type}"/>`;
}

function feature(name: string, lines: readonly string[]): string {
  return [`  <feature name="org.gnu.gdb.riscv.${name}">`, ...lines, "  </feature>"].join("\n");
}

const FLOAT_TYPE = `    <union id="riscv_double">
      <field name="float" type="ieee_single"/>
      <field name="double" type="ieee_double"/>
    </union>`;

/**
 * The target description. It says that there is no operating system below gdb: gdb's rules for Linux
 * programs would step by planting breakpoints where the machine itself can step.
 */
export function targetDescription(): string {
  const isFloat = ({ name }: GdbRegister) => FLOAT_CSRS.includes(name);
  return `<?xml version="1.0"?>
<!DOCTYPE target SYSTEM "gdb-target.dtd">
<target version="1.0">
  <architecture>riscv:rv64</architecture>
  <osabi>none</osabi>
${feature("cpu", CPU_REGISTERS.map((register) => row(register, POINTERS[register.name])))}
${
    feature("fpu", [
      FLOAT_TYPE,
      ...FLOAT_REGISTERS.map((register) => row(register, "riscv_double")),
      ...CSR_REGISTERS.filter(isFloat).map((register) => row(register)),
    ])
  }
${feature("virtual", [row(PRIVILEGE_REGISTER)])}
${feature("csr", CSR_REGISTERS.filter((r) => !isFloat(r)).map((register) => row(register)))}
</target>
`;
}

const SPACE_END = 1n << 64n;

/**
 * The memory map. gdb takes what a map leaves out to be inaccessible, yet its addresses are virtual: so
 * the gaps between the machine's ranges are ranges too, and the map covers the whole address space.
 */
export function memoryMapDocument(ranges: readonly DebugMemoryRange[]): string {
  const lines: string[] = [];
  const add = (start: bigint, end: bigint) => {
    if (end <= start) return;
    const length = (end - start).toString(16);
    lines.push(`  <memory type="ram" start="0x${start.toString(16)}" length="0x${length}"/>`);
  };
  let covered = 0n;
  for (const { start, bytes } of [...ranges].sort((a, b) => a.start - b.start)) {
    const from = BigInt(start);
    if (from < covered) continue;
    add(covered, from);
    covered = from + BigInt(bytes);
    add(from, covered);
  }
  add(covered, SPACE_END);
  return `<?xml version="1.0"?>
<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN"
  "http://sourceware.org/gdb/gdb-memory-map.dtd">
<memory-map>
${lines.join("\n")}
</memory-map>
`;
}

/** The list of threads: a hart each. `notes` says something about each of them. */
export function threadsDocument(notes: readonly string[]): string {
  const lines = notes.map((note, hart) =>
    `  <thread id="${hart + 1}" core="${hart}" name="hart ${hart}">${escapeXml(note)}</thread>`
  );
  return `<?xml version="1.0"?>\n<threads>\n${lines.join("\n")}\n</threads>\n`;
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (character) => ENTITIES[character]!);
}
