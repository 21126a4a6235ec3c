/**
 * What a plugin may look at: a replayed machine's registers and memory at the moment (plugin.ts), also while
 * its generated code executes.
 *
 * Invariant: looking changes nothing, not even what the generated code keeps for itself; what is given out
 * is a copy.
 */
import { ConfigError } from "../base/errors.ts";
import { addressSpace, guestAddress, ramBytes } from "../machine/guest_view.ts";
import type { Machine } from "../machine/machine.ts";
import { HART, MSTATUS } from "../memory/hart_layout.ts";
import { readMemory } from "./hart_memory.ts";
import type { ReplaySymbols, ReplayView } from "./plugin.ts";
import { type GuestSymbol, SymbolTable } from "./symbol_table.ts";

/** Bits of mstatus that sstatus shows (privileged ISA, "Supervisor Status (sstatus) Register"). */
const SSTATUS = MSTATUS.SIE | MSTATUS.SPIE | MSTATUS.SPP | MSTATUS.FS | MSTATUS.SUM | MSTATUS.MXR |
  MSTATUS.UXL | MSTATUS.SD;
/** Most bytes of one look at memory. */
const LOOK_BYTES_MAXIMUM = 16 << 20;

/** CSRs that lie in the hart's block as they read. */
const PLAIN_CSRS = [
  "mie",
  "mtvec",
  "mscratch",
  "mepc",
  "mcause",
  "mtval",
  "medeleg",
  "mideleg",
  "mcounteren",
  "menvcfg",
  "stvec",
  "sscratch",
  "sepc",
  "scause",
  "stval",
  "scounteren",
  "senvcfg",
  "satp",
  "stimecmp",
] as const satisfies readonly (keyof typeof HART.fields)[];
type PlainCsr = typeof PLAIN_CSRS[number];

/** A machine with what came before it in its recording. */
export interface ViewedMachine {
  readonly machine: Machine;
  /** Instructions executed before the guest last reset itself. */
  readonly before: number;
}

/** Looks at the machine that a replay has now. */
export class PluginView implements ReplayView {
  readonly symbols: ReplaySymbols;

  constructor(
    private readonly viewed: () => ViewedMachine,
    symbols: readonly GuestSymbol[] | undefined,
  ) {
    const table = new SymbolTable(symbols ?? []);
    this.symbols = Object.freeze({
      given: symbols !== undefined,
      find: (name: string) => table.find(name),
      at: (address: bigint) => table.at(address),
      describe: (address: bigint) => table.describe(address),
    });
  }

  get icount(): number {
    const { machine, before } = this.viewed();
    return before + machine.icountNow();
  }

  get ticks(): number {
    return this.#machine.ticks();
  }

  get wallNanoseconds(): bigint {
    return this.#machine.state.wallStart + BigInt(this.ticks) * 100n;
  }

  get harts(): number {
    return this.#machine.config.harts;
  }

  get hart(): number {
    return this.#machine.hart;
  }

  pc(hart?: number): bigint {
    return this.#machine.core.register(this.#hart(hart), "pc");
  }

  x(number: number, hart?: number): bigint {
    return this.#machine.core.register(this.#hart(hart), "x", checkRegister("x", number));
  }

  f(number: number, hart?: number): bigint {
    return this.#machine.core.register(this.#hart(hart), "f", checkRegister("f", number));
  }

  privilege(hart?: number): number {
    return this.#machine.core.word(this.#hart(hart), "privilege");
  }

  csr(name: string, hart?: number): bigint {
    const of = this.#hart(hart);
    const { core } = this.#machine;
    if ((PLAIN_CSRS as readonly string[]).includes(name)) {
      return core.register(of, name as PlainCsr);
    }
    switch (name) {
      case "mstatus":
        return withDirty(core.register(of, "mstatus"));
      case "sstatus":
        return withDirty(core.register(of, "mstatus")) & SSTATUS;
      case "sie":
        return core.register(of, "mie") & core.register(of, "mideleg");
      case "mip":
        return core.register(of, "mipLines") | core.register(of, "mipSoftware");
      case "fcsr":
        return BigInt(core.word(of, "frm") << 5 | core.word(of, "fflags"));
      case "mhartid":
        return BigInt(of);
      case "time":
        return BigInt(this.ticks);
      default:
        throw new ConfigError(
          `the CSR "${name}" cannot be looked at; these can: mstatus, sstatus, sie, mip, fcsr, ` +
            `mhartid, time, ${PLAIN_CSRS.join(", ")}`,
        );
    }
  }

  memory(address: bigint, length: number, hart?: number): Uint8Array {
    return readMemory(this.#machine, this.#hart(hart), address, checkLength(length));
  }

  physical(address: number, length: number): Uint8Array {
    const { core } = this.#machine;
    const { ramStart, ramBytes: size } = core.plan;
    const end = Math.min(address + checkLength(length), ramStart + size);
    if (!Number.isInteger(address) || address < ramStart || end <= address) {
      return new Uint8Array(0);
    }
    return new Uint8Array(ramBytes(core, address, end - address));
  }

  translate(address: bigint, hart?: number): number | undefined {
    const { core } = this.#machine;
    return guestAddress(core, addressSpace(core, this.#hart(hart)), address);
  }

  integer(address: bigint, bytes: number, hart?: number): bigint | undefined {
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > 8) {
      throw new ConfigError(`an integer has 1 to 8 bytes, not ${bytes}`);
    }
    const found = this.memory(address, bytes, hart);
    if (found.length < bytes) return undefined;
    return found.reduceRight((value, byte) => value << 8n | BigInt(byte), 0n);
  }

  text(address: bigint, most: number, hart?: number): string | undefined {
    const found = this.memory(address, most, hart);
    if (found.length === 0) return undefined;
    const end = found.indexOf(0);
    return new TextDecoder().decode(end < 0 ? found : found.subarray(0, end));
  }

  get #machine(): Machine {
    return this.viewed().machine;
  }

  #hart(hart: number | undefined): number {
    const machine = this.#machine;
    if (hart === undefined) return machine.hart;
    const { harts } = machine.config;
    if (Number.isInteger(hart) && hart >= 0 && hart < harts) return hart;
    throw new ConfigError(`there is no hart ${hart}; the machine has ${harts}`);
  }
}

/** mstatus.SD is not kept: it is read as whether the float unit's state is dirty. */
function withDirty(status: bigint): bigint {
  return (status & MSTATUS.FS) === MSTATUS.FS ? status | MSTATUS.SD : status & ~MSTATUS.SD;
}

function checkRegister(file: string, number: number): number {
  if (Number.isInteger(number) && number >= 0 && number < 32) return number;
  throw new ConfigError(`there is no register ${file}${number}`);
}

function checkLength(length: number): number {
  if (Number.isInteger(length) && length >= 0 && length <= LOOK_BYTES_MAXIMUM) return length;
  throw new ConfigError(`a look at memory takes 0 to ${LOOK_BYTES_MAXIMUM} bytes, not ${length}`);
}
