/**
 * TABLES: Zicsr, cache-block operations (Zicbom, Zicboz) and the privileged instructions with Svinval
 * (unprivileged ISA, "Zicsr" and "CMO"; privileged ISA, "Machine-" and "Supervisor-Level ISA").
 */
import { OPCODE, type Row, row } from "./row.ts";

const SYSTEM = { flow: "system" } as const;

function csrRow(name: string, funct3: number, operation: "write" | "set" | "clear"): Row[] {
  const make = (suffix: string, f3: number, operands: string, source: "register" | "immediate") =>
    row("Zicsr", name + suffix, 0x707f, f3 << 12 | OPCODE.system, operands, (o) => {
      o.csr(operation, source);
    }, SYSTEM);
  return [
    make("", funct3, "d,E,s", "register"),
    make("i", funct3 | 4, "d,E,Z", "immediate"),
  ];
}

/** Rows of Zicsr. */
export const ZICSR: readonly Row[] = [
  ...csrRow("csrrw", 1, "write"),
  ...csrRow("csrrs", 2, "set"),
  ...csrRow("csrrc", 3, "clear"),
];

const block = (name: string, selector: number, kind: "clean" | "flush" | "inval") =>
  row("Zicbom", name, 0xfff07fff, selector << 20 | 2 << 12 | OPCODE.miscMemory, "(s)", (o) => {
    o.manageBlock(kind, o.rs1());
  });

/** Rows of the cache-block operations. */
export const ZICBO: readonly Row[] = [
  block("cbo.inval", 0, "inval"),
  block("cbo.clean", 1, "clean"),
  block("cbo.flush", 2, "flush"),
  row("Zicboz", "cbo.zero", 0xfff07fff, 4 << 20 | 2 << 12 | OPCODE.miscMemory, "(s)", (o) => {
    o.zeroBlock(o.rs1());
  }),
];

const fixed = (name: string, word: number, kind: "mret" | "sret" | "wfi") =>
  row("Privileged", name, 0xffffffff, word, "", (o) => o.system(kind), SYSTEM);

const fence = (
  extension: string,
  name: string,
  funct7: number,
  kind: "sfence.vma" | "sinval.vma",
) =>
  row(extension, name, 0xfe007fff, funct7 << 25 | OPCODE.system, "s,t", (o) => {
    o.system(kind);
  }, SYSTEM);

/** Rows of the privileged architecture. */
export const PRIVILEGED: readonly Row[] = [
  fixed("mret", 0x30200073, "mret"),
  fixed("sret", 0x10200073, "sret"),
  fixed("wfi", 0x10500073, "wfi"),
  fence("Privileged", "sfence.vma", 0x09, "sfence.vma"),
  fence("Svinval", "sinval.vma", 0x0b, "sinval.vma"),
  row("Svinval", "sfence.w.inval", 0xffffffff, 0x18000073, "", (o) => {
    o.system("sfence.w.inval");
  }, SYSTEM),
  row("Svinval", "sfence.inval.ir", 0xffffffff, 0x18100073, "", (o) => {
    o.system("sfence.inval.ir");
  }, SYSTEM),
];
