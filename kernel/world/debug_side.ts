/**
 * The VM world's side of a debugger: answers its calls, and says to the world's loop whether the machine
 * may go on (issue 4, "gdb"; kernel/debug/target.ts).
 *
 * Invariants: the machine goes on only while a `resume` or `seek` waits for its answer; calls are handled
 * between slices, so they see an instruction boundary; in a replay nothing here changes the machine.
 */
import { unreachable } from "../base/assert.ts";
import { HostError } from "../base/errors.ts";
import type { MachineDebugger } from "../debug/machine_debugger.ts";
import type { DebugCheckpoint, DebugPoint, DebugResume, DebugStop } from "../debug/target.ts";
import type { StopReason } from "../machine/turns.ts";
import { type DebugRequest, decodeDebug, encodeDebug } from "./debug_protocol.ts";
import type { Received, VmMailbox } from "./mailbox.ts";
import { message, parts, TO_KERNEL } from "./protocol.ts";

/** What differs between debugging a live machine and a replay. */
export interface DebugDriver {
  /** Whether it is a replay. */
  readonly replaying: boolean;
  /** Instructions executed since it began. */
  icount(): number;
  /** Prepares to go on. Throws HostError when it cannot go that way. */
  begin(how: DebugResume | { readonly seek: number }): void;
  /** Hart that is to execute one instruction; undefined: the machine goes on until something stops it. */
  readonly stepHart: number | undefined;
  /** Points that can be gone back to at once. */
  checkpoints(): readonly DebugCheckpoint[];
  /** Lines for `monitor info`. */
  info(): string;
}

/** A machine that runs by itself. */
export class LiveDriver implements DebugDriver {
  readonly replaying = false;
  stepHart: number | undefined;

  /** @param icount instructions executed since it began */
  constructor(readonly icount: () => number) {}

  begin(how: DebugResume | { readonly seek: number }): void {
    if ("seek" in how || how.direction === "backward") {
      throw new HostError("only a replay can go back: record the VM, then debug the replay");
    }
    this.stepHart = how.stepHart;
  }

  checkpoints(): readonly DebugCheckpoint[] {
    return [];
  }

  info(): string {
    return `live, ${this.icount()} instructions executed\n`;
  }
}

const REPLAYED = "a replay repeats what was recorded: it cannot be changed";
const RECORDED = "the VM is being recorded: a change from here would not be in the recording";
/** Answers longer than this are refused; gdb asks for less. */
const ANSWER_BYTES = 64 * 1024;

/** A debugger's hold on the machine of this world. */
export class DebugSide {
  /** The debugger of the machine that runs now. */
  inspector: MachineDebugger;
  /** The call whose answer is the machine's next stop. */
  #pending: number | undefined;

  constructor(
    inspector: MachineDebugger,
    private readonly driver: DebugDriver,
    private readonly mailbox: VmMailbox,
  ) {
    this.inspector = inspector;
  }

  /** Whether the machine may go on. */
  get goesOn(): boolean {
    return this.#pending !== undefined;
  }

  /** The guest reset itself, or a replay begins anew: another machine has the same points. */
  moveTo(inspector: MachineDebugger): void {
    for (const { point, space } of this.inspector.points) inspector.addPoint(point, space);
    this.inspector = inspector;
  }

  /** The machine stands still: the debugger is told why. */
  stopped(stop: DebugStop): void {
    if (this.#pending === undefined) return;
    this.#answer(this.#pending, 1, stop);
    this.#pending = undefined;
  }

  /** Runs the machine as its debugger wants; a stop of the debugger's own ends the slice. */
  run(budget: number): StopReason {
    const { inspector, driver } = this;
    const { stepHart } = driver;
    const stop = stepHart === undefined ? inspector.run(budget) : inspector.step(stepHart, budget);
    switch (stop.kind) {
      case "breakpoint":
      case "step":
        this.stopped({ why: stop.kind, ...this.#place() });
        return { kind: "budget" };
      case "watchpoint": {
        const { point, address } = stop;
        this.stopped({ why: "watchpoint", ...this.#place(), point, address });
        return { kind: "budget" };
      }
      case "marker":
        return unreachable("a live machine passes markers of replay-only code");
      default:
        return stop;
    }
  }

  /** The debugger wants the machine to stand still. */
  interrupt(): void {
    this.stopped({ why: "interrupted", ...this.#place() });
  }

  /** Handles a call; false when the debugger left. */
  receive({ numbers: [id = 0], bytes }: Received): boolean {
    try {
      const request = decodeDebug(bytes) as DebugRequest;
      if (request.call === "resume" || request.call === "seek") {
        const [how] = request.args;
        this.driver.begin(typeof how === "number" ? { seek: how } : how);
        this.#pending = id;
        return true;
      }
      this.#answer(id, 1, this.#handle(request) ?? null);
      return request.call !== "detach";
    } catch (error) {
      this.#answer(id, 0, error instanceof Error ? error.message : String(error));
      return true;
    }
  }

  #handle(request: Exclude<DebugRequest, { readonly call: "resume" | "seek" }>): unknown {
    const { inspector, driver } = this;
    switch (request.call) {
      case "attach":
        return { replaying: driver.replaying };
      case "position":
        return { ...this.#place(), ticks: inspector.machine.ticks() };
      case "registers":
        return inspector.registers(...request.args).map((value) => value ?? null);
      case "setRegister":
        this.#changes();
        return inspector.setRegister(...request.args);
      case "memory": {
        const [hart, address, length] = request.args;
        return inspector.memory(hart, BigInt(address), Math.min(length, ANSWER_BYTES / 2));
      }
      case "setMemory": {
        this.#changes();
        const [hart, address, contents] = request.args;
        return inspector.setMemory(hart, BigInt(address), contents);
      }
      case "memoryMap":
        return inspector.memoryMap();
      case "addPoint":
        return inspector.addPoint(pointOf(...request.args));
      case "removePoint":
        return inspector.removePoint(pointOf(...request.args));
      case "checkpoints":
        return driver.checkpoints();
      case "info":
        return driver.info();
      case "detach":
        inspector.detach();
        return undefined;
    }
  }

  #changes(): void {
    if (this.driver.replaying) throw new HostError(REPLAYED);
    if (this.inspector.machine.gate.watcher !== undefined) throw new HostError(RECORDED);
  }

  #place(): { readonly hart: number; readonly icount: number } {
    return { hart: this.inspector.machine.hart, icount: this.driver.icount() };
  }

  #answer(id: number, good: 0 | 1, value: unknown): void {
    const bytes = encodeDebug(value);
    const [whole = new Uint8Array(0), ...rest] = parts(bytes);
    if (rest.length > 0) {
      return this.#answer(id, 0, `the answer of ${bytes.length} bytes is too long`);
    }
    this.mailbox.send(TO_KERNEL.debugAnswer, message("", [id, good], whole));
  }
}

/** Small integers may come as numbers. */
function pointOf(given: DebugPoint): DebugPoint {
  return { ...given, address: BigInt(given.address) };
}
