/**
 * One access at a time through page tables, for the tests of this folder: loads and stores are made by
 * machine mode with MPRV, so that no code needs to be mapped; fetches by the mode itself.
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../tools/asm/encode.ts";
import { PageTables, type Paging } from "../_support/page_tables.ts";
import { type Mode, MSTATUS, NOP, PrivilegedCore } from "../_support/privileged.ts";

const MODE_NUMBER = { user: 0n, supervisor: 1n, machine: 3n } as const;

/** What an access wants. */
export type Kind = "load" | "store" | "fetch";

/** The page-fault and access-fault causes of each kind. */
export const PAGE_FAULT = { load: 13, store: 15, fetch: 12 } as const;
export const ACCESS_FAULT = { load: 5, store: 7, fetch: 1 } as const;
export const KINDS: readonly Kind[] = ["load", "store", "fetch"];
export const PAGINGS: readonly Paging[] = ["sv39", "sv48", "sv57"];

/** Options of an access. */
export interface AccessOptions {
  readonly mode?: Mode;
  /** Bits of mstatus beside MPRV and MPP: SUM, MXR. */
  readonly status?: bigint;
  /** Instruction to use instead of ld or sd; its address is x11. */
  readonly word?: number;
}

/** A hart with page tables. */
export class Translation extends PrivilegedCore {
  tables: PageTables = new PageTables(this, "sv39");

  /** Starts anew with empty tables of a width, all memory open, A and D set by hardware. */
  begin(paging: Paging): PageTables {
    this.restart();
    this.tables = new PageTables(this, paging);
    this.tables.turnOn();
    return this.tables;
  }

  /** Makes an access; gives 0 when it succeeds, else the cause of its trap. Loads go to x10. */
  access(kind: Kind, address: bigint, options: AccessOptions = {}): number {
    const mode = options.mode ?? "supervisor";
    const status = options.status ?? 0n;
    if (kind === "fetch") {
      this.core.setWord(0, "privilege", Number(MODE_NUMBER[mode]));
      this.set("mstatus", status);
      this.set("pc", BigInt.asUintN(64, address));
      return this.#outcome(this.step(), address);
    }
    this.core.setWord(0, "privilege", 3);
    this.set("mstatus", MSTATUS.MPRV | MODE_NUMBER[mode] << 11n | status);
    this.setX(11, address);
    const usual = kind === "load"
      ? encode("ld", { rd: 10, rs1: 11 })
      : encode("sd", { rs1: 11, rs2: 12 });
    this.program([options.word ?? usual]);
    return this.#outcome(this.step(), address);
  }

  /** Outcomes of load, store and fetch; the store writes the nops that the fetch finds. */
  all(address: bigint, options: AccessOptions = {}): number[] {
    this.setX(12, BigInt(NOP) << 32n | BigInt(NOP));
    return KINDS.map((kind) => this.access(kind, address, options));
  }

  #outcome(trap: ReturnType<PrivilegedCore["step"]>, address: bigint): number {
    if (trap === undefined) return 0;
    assertEquals(trap.value, BigInt.asUintN(64, address), "the trap value is the virtual address");
    return Number(trap.cause);
  }
}
