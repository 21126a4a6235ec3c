/**
 * A machine for tests of debuggers, without a kernel: harts that take turns of one instruction in a loop
 * that counts in memory, live or as a replay of so many instructions. Going back is running again from
 * the start.
 */
import { HostError } from "../../kernel/base/errors.ts";
import type {
  DebugCheckpoint,
  DebugMemoryRange,
  DebugPoint,
  DebugPosition,
  DebugRegister,
  DebugResume,
  DebugStop,
  DebugTarget,
} from "../../kernel/debug/target.ts";
import { encode } from "../../tools/asm/encode.ts";

/** Where the loop of four instructions starts. */
export const LOOP = 0x8000_0000n;
/** Counter of hart 0; those of other harts follow, 8 bytes each. */
export const COUNTER = 0x8000_1000n;
/** What the loop is, by address. */
export const LOOP_ADD: bigint = LOOP;
export const LOOP_STORE: bigint = LOOP + 4n;
export const LOOP_LOAD: bigint = LOOP + 8n;
export const LOOP_JUMP: bigint = LOOP + 12n;

const WORDS = [
  encode("addi", { rd: 5, rs1: 5, imm: 1 }),
  encode("sd", { rs1: 10, rs2: 5, imm: 0 }),
  encode("ld", { rd: 6, rs1: 10, imm: 0 }),
  encode("jal", { rd: 0, imm: -12 }),
];
const MEMORY_BYTES = 0x2000;
const REFUSED = "this is a replay: it cannot be changed";
const LIVE = "the machine is not replayed: it cannot go back";
/** Instructions between two looks at the host. */
const SLICE = 500;

/** What differs from one live hart. */
export interface FakeOptions {
  readonly harts?: number;
  /** Instructions of the recording; live without. */
  readonly replayed?: number;
  /** Instructions after which a live machine exits with status 3. */
  readonly exitsAfter?: number;
  /** Whether a debugger can come again. */
  readonly attachable?: boolean;
}

interface Access {
  readonly kind: "read" | "write";
  readonly address: bigint;
}

/** The machine. */
export class FakeDebugTarget implements DebugTarget {
  readonly harts: number;
  readonly replaying: boolean;
  readonly attach?: () => Promise<void>;
  /** What was called, for tests. */
  readonly calls: string[] = [];
  /** Points that are planted. */
  points: DebugPoint[] = [];
  #interrupted = false;
  #icount = 0;
  #registers: BigUint64Array<ArrayBuffer>[] = [];
  #memory = new DataView(new ArrayBuffer(MEMORY_BYTES));
  #privilege: bigint[] = [];

  constructor(readonly options: FakeOptions = {}) {
    this.harts = options.harts ?? 1;
    this.replaying = options.replayed !== undefined;
    if (options.attachable) this.attach = () => Promise.resolve(this.#note("attach"));
    this.#reset();
  }

  /** x0 to x31, pc and f0 to f31 of a hart. */
  hart(number: number): BigUint64Array {
    return this.#registers[number]!;
  }

  /** Instructions executed. */
  get icount(): number {
    return this.#icount;
  }

  position(): Promise<DebugPosition> {
    const icount = this.#icount;
    return Promise.resolve({ icount, ticks: icount * 10, hart: this.#turn() });
  }

  registers(hart: number, wanted: readonly DebugRegister[]): Promise<(bigint | undefined)[]> {
    return Promise.resolve(wanted.map((register) => this.#register(hart, register)));
  }

  setRegister(hart: number, register: DebugRegister, value: bigint): Promise<void> {
    if (this.replaying) return Promise.reject(new HostError(REFUSED));
    if (register.file === "privilege") this.#privilege[hart] = value;
    else if (register.file === "csr") {
      return Promise.reject(new HostError(`CSR ${register.number} cannot be written`));
    } else this.#registers[hart]![slot(register)] = value;
    return Promise.resolve();
  }

  memory(_hart: number, address: bigint, length: number): Promise<Uint8Array> {
    const at = address - LOOP;
    if (at < 0n || at >= MEMORY_BYTES) return Promise.resolve(new Uint8Array(0));
    const start = Number(at);
    const end = Math.min(start + length, MEMORY_BYTES);
    return Promise.resolve(new Uint8Array(this.#memory.buffer).slice(start, end));
  }

  setMemory(_hart: number, address: bigint, bytes: Uint8Array): Promise<void> {
    if (this.replaying) return Promise.reject(new HostError(REFUSED));
    const at = address - LOOP;
    if (at < 0n || at + BigInt(bytes.length) > MEMORY_BYTES) {
      return Promise.reject(new HostError(`0x${address.toString(16)} is not mapped`));
    }
    new Uint8Array(this.#memory.buffer).set(bytes, Number(at));
    return Promise.resolve();
  }

  memoryMap(): Promise<readonly DebugMemoryRange[]> {
    return Promise.resolve([
      { kind: "ram", start: Number(LOOP), bytes: MEMORY_BYTES },
      { kind: "device", start: 0x1000_0000, bytes: 0x100 },
    ]);
  }

  addPoint(point: DebugPoint): Promise<void> {
    this.points.push(point);
    return Promise.resolve();
  }

  removePoint(point: DebugPoint): Promise<void> {
    const { kind, address } = point;
    this.points = this.points.filter((other) => other.kind !== kind || other.address !== address);
    return Promise.resolve();
  }

  async resume({ direction, stepHart }: DebugResume): Promise<DebugStop> {
    this.#note(`resume ${direction}${stepHart === undefined ? "" : ` step ${stepHart}`}`);
    this.#interrupted = false;
    if (direction === "forward") return await this.#forward(stepHart);
    if (!this.replaying) throw new HostError(LIVE);
    return this.#backward(stepHart);
  }

  interrupt(): void {
    this.#note("interrupt");
    this.#interrupted = true;
  }

  seek(icount: number): Promise<DebugStop> {
    if (!this.replaying) return Promise.reject(new HostError(LIVE));
    this.#goTo(Math.min(icount, this.#last()));
    return Promise.resolve({ why: "step", hart: this.#turn(), icount: this.#icount });
  }

  checkpoints(): Promise<readonly DebugCheckpoint[]> {
    return Promise.resolve(this.replaying ? [{ icount: 0, bytes: MEMORY_BYTES }] : []);
  }

  info(): Promise<string> {
    return Promise.resolve(`a loop on ${this.harts} harts: $, #, } and *`);
  }

  detach(): Promise<void> {
    this.points = [];
    return Promise.resolve(this.#note("detach"));
  }

  #note(call: string): void {
    this.calls.push(call);
  }

  #last(): number {
    return this.options.replayed ?? Infinity;
  }

  #turn(): number {
    return this.#icount % this.harts;
  }

  #reset(): void {
    this.#icount = 0;
    this.#memory = new DataView(new ArrayBuffer(MEMORY_BYTES));
    WORDS.forEach((word, i) => this.#memory.setUint32(4 * i, word, true));
    this.#privilege = Array.from({ length: this.harts }, () => 3n);
    this.#registers = Array.from({ length: this.harts }, (_, hart) => {
      const registers = new BigUint64Array(65);
      registers[2] = LOOP + BigInt(MEMORY_BYTES);
      registers[10] = COUNTER + BigInt(8 * hart);
      registers[32] = LOOP;
      // fa0 is 1.5.
      registers[33 + 10] = 0x3ff8_0000_0000_0000n;
      return registers;
    });
  }

  #register(hart: number, register: DebugRegister): bigint | undefined {
    if (register.file === "privilege") return this.#privilege[hart];
    if (register.file !== "csr") return this.#registers[hart]![slot(register)];
    // mstatus and mhartid; satp does not exist here, and the others are zero.
    if (register.number === 0x180) return undefined;
    return register.number === 0x300
      ? 0xa_0000_1800n
      : register.number === 0xf14
      ? BigInt(hart)
      : 0n;
  }

  /** Executes one instruction, and gives the access to memory that it made. */
  #execute(): Access | undefined {
    const registers = this.#registers[this.#turn()]!;
    this.#icount++;
    const pc = registers[32]!;
    const address = registers[10]!;
    registers[32] = pc === LOOP_JUMP ? LOOP : pc + 4n;
    const at = Number(address - LOOP);
    if (pc === LOOP_ADD) registers[5] = registers[5]! + 1n;
    if (pc === LOOP_STORE) this.#memory.setBigUint64(at, registers[5]!, true);
    if (pc === LOOP_LOAD) registers[6] = this.#memory.getBigUint64(at, true);
    if (pc === LOOP_STORE) return { kind: "write", address };
    return pc === LOOP_LOAD ? { kind: "read", address } : undefined;
  }

  #goTo(icount: number): void {
    this.#reset();
    while (this.#icount < icount) this.#execute();
  }

  #watched(access: Access | undefined, hart: number): DebugStop | undefined {
    if (access === undefined) return undefined;
    const { kind, address } = access;
    const point = this.points.find((candidate) =>
      (candidate.kind === kind || candidate.kind === "access") &&
      candidate.address < address + 8n && address < candidate.address + BigInt(candidate.size)
    );
    if (point === undefined) return undefined;
    const first = address > point.address ? address : point.address;
    return { why: "watchpoint", hart, icount: this.#icount, point, address: first };
  }

  #atBreakpoint(): DebugStop | undefined {
    const hart = this.#turn();
    const pc = this.#registers[hart]![32];
    const hit = this.points.some(({ kind, address }) => kind === "execute" && address === pc);
    return hit ? { why: "breakpoint", hart, icount: this.#icount } : undefined;
  }

  async #forward(stepHart: number | undefined): Promise<DebugStop> {
    for (;;) {
      const hart = this.#turn();
      if (this.#icount >= this.#last()) return { why: "end", hart, icount: this.#icount };
      if (this.#icount >= (this.options.exitsAfter ?? Infinity)) {
        return { why: "exited", code: 3, icount: this.#icount };
      }
      const stop = this.#watched(this.#execute(), hart) ??
        (hart === stepHart ? { why: "step", hart, icount: this.#icount } as const : undefined) ??
        this.#atBreakpoint();
      if (stop !== undefined) return stop;
      if (this.#icount % SLICE === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      if (this.#interrupted) return { why: "interrupted", hart, icount: this.#icount };
    }
  }

  #backward(stepHart: number | undefined): DebugStop {
    const from = this.#icount;
    let last: DebugStop | undefined;
    this.#reset();
    while (this.#icount < from) {
      const [hart, icount] = [this.#turn(), this.#icount];
      const stop = stepHart === undefined ? this.#atBreakpoint() : undefined;
      const watched = this.#watched(this.#execute(), hart);
      if (stepHart === undefined && (watched ?? stop)) last = { ...(watched ?? stop)!, icount };
      if (hart === stepHart) last = { why: "step", hart, icount };
    }
    this.#goTo(last?.icount ?? 0);
    return last ?? { why: "start", hart: this.#turn(), icount: 0 };
  }
}

function slot(register: DebugRegister): number {
  if (register.file === "x") return register.number;
  return register.file === "f" ? 33 + register.number : 32;
}
