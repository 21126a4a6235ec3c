/**
 * The registers of a region in its code: a local for each, loads where register_flow.ts finds that the
 * local is not loaded yet, and stores to the hart's block.
 *
 * Invariant: a local is read only where it holds the register's value.
 */
import { hart64, setHart64 } from "../memory/block_access.ts";
import type { FunctionBuilder, Local } from "../wasm/mod.ts";
import type { Block, Instruction } from "./region.ts";
import {
  forEachRegister,
  readBy,
  type RegisterFlow,
  type RegisterSet,
  type Scope,
  union,
  without,
  writtenBy,
} from "./register_flow.ts";

/** The registers of the function being written. */
export class Registers {
  /** Locals of the integer registers that the region names; x0 is not among them. */
  readonly x = new Map<number, Local<"i64">>();
  /** Locals of the float registers. */
  readonly f = new Map<number, Local<"i64">>();
  /** What is loaded where code is being written. */
  #loaded: RegisterSet;
  /** Whether writes wait in locals. */
  #waiting = false;

  constructor(
    private readonly builder: FunctionBuilder,
    blocks: readonly Block[],
    private readonly flow: Pick<RegisterFlow, "kept" | "keptWritten">,
  ) {
    this.#loaded = { x: 0, f: 0 };
    for (const { instructions } of blocks) {
      for (const instruction of instructions) {
        this.#make(readBy(instruction));
        this.#make(writtenBy(instruction));
      }
    }
  }

  /** The code that follows is reached with these locals loaded; in a scope, writes wait in locals. */
  startBlock(loaded: RegisterSet, scope: Scope | undefined): void {
    this.#loaded = union(loaded, this.flow.kept);
    this.#waiting = scope !== undefined;
  }

  /** Code that follows is in no scope. */
  endScope(): void {
    this.#waiting = false;
  }

  /** Loads the registers of a set that are not loaded. */
  load(set: RegisterSet): void {
    const missing = without(set, this.#loaded);
    const { builder } = this;
    forEachRegister(missing.x, (register) => {
      builder.set(this.x.get(register)!, hart64("x", register));
    });
    forEachRegister(missing.f, (register) => {
      builder.set(this.f.get(register)!, hart64("f", register));
    });
    this.#loaded = { x: this.#loaded.x | missing.x, f: this.#loaded.f | missing.f };
  }

  /** Loads what an instruction reads. */
  loadFor(instruction: Instruction): void {
    this.load(readBy(instruction));
  }

  /** A local was written. @param lasting whether its value is needed behind the next instruction that may leave */
  wrote(kind: "x" | "f", register: number, lasting: boolean): void {
    const { x, f } = this.#loaded;
    const bit = 1 << register;
    this.#loaded = kind === "x" ? { x: x | bit, f } : { x, f: f | bit };
    if ((this.flow.kept[kind] & bit) !== 0) return;
    if (!this.#waiting && lasting) this.#store(kind, register);
  }

  /** Loads the registers that are kept. */
  loadKept(): void {
    this.load(this.flow.kept);
  }

  /** Stores the registers that are kept. */
  storeKept(): void {
    this.store({ written: this.flow.keptWritten });
  }

  /** Stores what waits in locals in a scope. */
  store({ written }: Pick<Scope, "written">): void {
    forEachRegister(written.x, (register) => this.#store("x", register));
    forEachRegister(written.f, (register) => this.#store("f", register));
  }

  #store(kind: "x" | "f", register: number): void {
    setHart64(this.builder, kind, this[kind].get(register)!, register);
  }

  #make(set: RegisterSet): void {
    for (const kind of ["x", "f"] as const) {
      forEachRegister(set[kind], (register) => {
        if (!this[kind].has(register)) this[kind].set(register, this.builder.local("i64"));
      });
    }
  }
}
