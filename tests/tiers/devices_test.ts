/**
 * The two tiers on hot loops that meet the machine around them: counters and time, interrupts of timers and
 * software at any instruction, devices, firmware calls, sleep, LR/SC, misaligned accesses, and
 * instructions on pages where protection changes in the middle (privileged ISA; ACLINT; SBI).
 *
 * Invariant checked: any options of either tier, any slices and any moment give the same machine.
 */
import { assert } from "@std/assert";
import type { Prng } from "../../kernel/base/prng.ts";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import {
  changeCsr,
  COMPUTED,
  emitCompute,
  emitHandler,
  emitHotLoops,
  emitMaybe,
  POINTERS,
  readCsr,
  SCRATCH,
  seedRegisters,
  START,
} from "../_support/hot_program.ts";
import { Program } from "../_support/program.ts";
import { assertSameOnTiers, forSeeds, randomMoments } from "../_support/tiers.ts";

const PROGRAMS = 24;
const SUPERVISOR_PROGRAMS = 8;
const LIMIT = 120_000;
/** Where the built-in firmware starts kernels. */
const BEHIND_FIRMWARE = START + 0x20_0000;
/** The SBI's timer extension. */
const TIMER = 0x5449_4d45;
const DATA = 0x8040_0ff0n;
const UART = 0x1000_0000n;
const CLINT = 0x0200_0000n;
/** Distances of the interruptor's registers, by way of a pointer to the middle of each. */
const TIME_COMPARE = CLINT + 0x4000n;
const TIME = CLINT + 0xbff8n;
const UART_SCRATCH = 7;
const STCE = 1n << 63n;
const [data, uart, clint, timeCompare, time] = POINTERS;
const [scratch, other] = SCRATCH;
/** MSIE, STIE, MTIE. */
const ENABLES = 1n << 3n | 1n << 5n | 1n << 7n;
const MIE = 1n << 3n;

type Snippet = (program: Program, rng: Prng) => void;

const target = (rng: Prng) => rng.pick(COMPUTED);

const counters: Snippet = (program, rng) => {
  readCsr(program, target(rng), rng.pick(["cycle", "time", "instret", "mcycle", "minstret"]));
};

const registers: Snippet = (program, rng) => {
  const names = ["mstatus", "sstatus", "satp", "mip", "sip", "mie", "mscratch", "stimecmp"];
  readCsr(program, target(rng), rng.pick([...names, "mhartid", "mcountinhibit"]));
};

const writes: Snippet = (program, rng) => {
  const names = ["mscratch", "sscratch", "stval", "minstret", "mcycle", "satp", "mip", "mideleg"];
  program.setLong(scratch, rng.u64() >> BigInt(rng.pick([4, 40, 58])));
  changeCsr(program, rng.pick(["csrrw", "csrrs", "csrrc"]), rng.pick(names), scratch, target(rng));
};

/** Privilege and protection stay as they are: SUM, MXR, SPIE, interrupts on and off. */
const status: Snippet = (program, rng) => {
  program.setLong(scratch, rng.pick([MIE, 1n << 1n, 1n << 5n, 3n << 18n]));
  changeCsr(program, rng.pick(["csrrs", "csrrs", "csrrc"]), "mstatus", scratch, target(rng));
};

const refused: Snippet = (program, rng) => {
  // No such register, one that is read-only, and a return that the handler's address takes back here.
  const number = rng.pick([0x5c0, 0xc00, 0xf14]);
  program.op("csrrw", { rd: target(rng), rs1: target(rng), imm: number });
};

const uartAccess: Snippet = (program, rng) => {
  const imm = rng.pick([UART_SCRATCH, UART_SCRATCH, 5, 1]);
  program.op("lbu", { rd: target(rng), rs1: uart, imm });
  program.op("sb", { rs1: uart, rs2: target(rng), imm: UART_SCRATCH });
  if (rng.below(8) === 0) program.op("sb", { rs1: uart, rs2: target(rng), imm: 0 });
};

const clintAccess: Snippet = (program, rng) => {
  const [name, rs1] = rng.pick([["ld", time], ["lw", time], ["ld", timeCompare], ["lw", clint]]);
  program.op(name as string, { rd: target(rng), rs1: rs1 as number });
};

const softwareInterrupt: Snippet = (program, rng) => {
  program.op("addi", { rd: scratch, imm: 1 });
  emitMaybe(program, rng, () => program.op("sw", { rs1: clint, rs2: scratch }));
};

/** The next timer interrupt comes after a few ticks. */
const timer: Snippet = (program, rng) => {
  const supervisor = rng.below(3) === 0;
  if (supervisor) readCsr(program, scratch, "time");
  else program.op("ld", { rd: scratch, rs1: time });
  program.op("addi", { rd: scratch, rs1: scratch, imm: rng.below(rng.pick([4, 100, 2000])) });
  if (supervisor) changeCsr(program, "csrrw", "stimecmp", scratch);
  else program.op("sd", { rs1: timeCompare, rs2: scratch });
};

const sleep: Snippet = (program, rng) => {
  // Something wakes the hart: its own timer, soon.
  program.op("ld", { rd: scratch, rs1: time });
  program.op("addi", { rd: scratch, rs1: scratch, imm: rng.below(50) });
  program.op("sd", { rs1: timeCompare, rs2: scratch });
  program.op("wfi");
};

const reserve: Snippet = (program, rng) => {
  const width = rng.pick(["w", "d"]);
  program.op("addi", { rd: scratch, rs1: data, imm: 8 * rng.below(20) });
  program.op(`lr.${width}`, { rd: target(rng), rs1: scratch });
  if (rng.below(3) === 0) emitCompute(program, rng);
  if (rng.below(6) === 0) program.op("addi", { rd: scratch, rs1: scratch, imm: 8 });
  if (rng.below(6) === 0) program.op("sd", { rs1: scratch, rs2: target(rng) });
  if (rng.below(8) === 0) program.op("addi", { rd: scratch, rs1: scratch, imm: 1 });
  program.op(`sc.${width}`, { rd: other, rs1: scratch, rs2: target(rng) });
  program.op("add", { rd: target(rng), rs1: target(rng), rs2: other });
};

const memory: Snippet = (program, rng) => {
  // The pointer is close to the end of a page, so many of these lie on two.
  const imm = rng.pick([8, 12, 14, 13, 9, 15, -8, rng.below(200) - 100]);
  const rs1 = data;
  program.op(rng.pick(["ld", "lw", "lhu", "lh", "lb"]), { rd: target(rng), rs1, imm });
  program.op(rng.pick(["sd", "sw", "sh", "sb"]), { rs2: target(rng), rs1, imm });
};

const atomic: Snippet = (program, rng) => {
  const imm = 8 * rng.below(8) + (rng.below(8) === 0 ? 4 : 0);
  program.op("addi", { rd: scratch, rs1: data, imm });
  const name = rng.pick(["amoadd.w", "amoswap.d", "amomaxu.w", "amoxor.d"]);
  program.op(name, { rd: target(rng), rs1: scratch, rs2: target(rng) });
};

/** An entry of the protection that covers a few bytes of the data or of the code behind it. */
const protect: Snippet = (program, rng) => {
  const entry = 2 + rng.below(3);
  const address = rng.below(2) === 0 ? Number(DATA) + 4 * rng.below(64) : program.here + 64;
  program.setLong(scratch, BigInt(address) >> 2n);
  changeCsr(program, "csrrw", `pmpaddr${entry}`, scratch);
  // NA4, never locked: machine mode is not held by it, but the page has no one answer any more.
  program.setLong(scratch, 0x10n << BigInt(8 * entry));
  changeCsr(program, rng.pick(["csrrs", "csrrc", "csrrc"]), "pmpcfg0", scratch);
};

const SNIPPETS: readonly Snippet[] = [
  counters,
  counters,
  registers,
  writes,
  status,
  refused,
  uartAccess,
  clintAccess,
  clintAccess,
  softwareInterrupt,
  timer,
  timer,
  sleep,
  reserve,
  memory,
  memory,
  atomic,
  protect,
  emitCompute,
  emitCompute,
];

/** Ends a software interrupt, and sets a new time for the timers. */
function endInterrupt(program: Program, rng: Prng): (registers: readonly [number, number]) => void {
  return ([first, second]) => {
    program.setLong(first, CLINT);
    program.op("sw", { rs1: first, rs2: 0 });
    program.setLong(first, TIME);
    program.op("ld", { rd: second, rs1: first });
    program.op("addi", { rd: second, rs1: second, imm: 1 + rng.below(300) });
    program.setLong(first, TIME_COMPARE);
    program.op("sd", { rs1: first, rs2: second });
    changeCsr(program, "csrrw", "stimecmp", second);
    // Bits that the program set itself would come again and again.
    changeCsr(program, "csrrw", "mip", 0);
  };
}

function machineProgram(rng: Prng): Uint8Array<ArrayBuffer> {
  const program = new Program(START);
  const pointers = [DATA, UART, CLINT, TIME_COMPARE, TIME];
  POINTERS.forEach((rd, i) => program.setLong(rd, pointers[i]!));
  emitHandler(program, "m", endInterrupt(program, rng));
  program.setLong(scratch, STCE);
  if (rng.below(4) > 0) changeCsr(program, "csrrs", "menvcfg", scratch);
  program.setLong(scratch, ENABLES);
  changeCsr(program, "csrrw", "mie", scratch);
  program.op("csrrsi", { rs1: Number(MIE), imm: csrNumber("mstatus") });
  seedRegisters(program, rng);
  const snippets = Array.from({ length: 3 + rng.below(6) }, () => rng.pick(SNIPPETS));
  emitHotLoops(program, rng, () => rng.pick(snippets)(program, rng));
  return program.bytes();
}

/** Calls of the built-in firmware: its version, the timer, a character, an unknown one. */
const firmware: Snippet = (program, rng) => {
  const [extension, call] = rng.pick([[0x10, 0], [0x10, 3], [TIMER, 0], [1, 0], [0x99, 1]]);
  program.set(17, extension!);
  program.set(16, call!);
  readCsr(program, 10, "time");
  program.op("addi", { rd: 10, rs1: 10, imm: rng.below(rng.pick([20, 500])) });
  program.op("ecall");
};

/** A supervisor's own software interrupt, and its sleep until the timer. */
const supervisorWait: Snippet = (program, rng) => {
  program.op("csrrsi", { rs1: 2, imm: csrNumber("sip") });
  readCsr(program, scratch, "time");
  program.op("addi", { rd: scratch, rs1: scratch, imm: rng.below(30) });
  changeCsr(program, "csrrw", "stimecmp", scratch);
  if (rng.below(2) === 0) program.op("wfi");
};

const SUPERVISOR_SNIPPETS = [
  firmware,
  firmware,
  supervisorWait,
  counters,
  refused,
  reserve,
  memory,
];

function supervisorProgram(rng: Prng): Uint8Array<ArrayBuffer> {
  const program = new Program(BEHIND_FIRMWARE);
  program.setLong(data, DATA);
  emitHandler(program, "s", ([first]) => {
    readCsr(program, first, "time");
    program.op("addi", { rd: first, rs1: first, imm: 1 + rng.below(300) });
    changeCsr(program, "csrrw", "stimecmp", first);
    program.op("csrrci", { rs1: 2, imm: csrNumber("sip") });
  });
  program.setLong(scratch, 0x222n);
  changeCsr(program, "csrrw", "sie", scratch);
  program.op("csrrsi", { rs1: 2, imm: csrNumber("sstatus") });
  seedRegisters(program, rng);
  emitHotLoops(program, rng, () => rng.pick(SUPERVISOR_SNIPPETS)(program, rng));
  return program.bytes();
}

Deno.test("hot loops call the firmware and sleep alike on both tiers", () => {
  forSeeds(SUPERVISOR_PROGRAMS, (seed, rng) => {
    const kernel = { kind: "raw", bytes: supervisorProgram(rng) } as const;
    const moments = randomMoments(rng, 3, LIMIT / 2);
    assertSameOnTiers(seed, rng, { config: { kernel, bios: "builtin" }, moments });
  });
});

Deno.test("hot loops meet counters, interrupts and devices alike on both tiers", () => {
  let inRegions = 0;
  forSeeds(PROGRAMS, (seed, rng) => {
    const kernel = { kind: "raw", bytes: machineProgram(rng) } as const;
    const moments = randomMoments(rng, 3, LIMIT);
    inRegions += assertSameOnTiers(seed, rng, { config: { kernel }, moments }).instructions;
  });
  assert(inRegions > 50_000, `only ${inRegions} instructions ran in regions`);
});
