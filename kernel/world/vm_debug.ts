/**
 * A debugger's hold on a VM, in the kernel world: DebugTarget over the mailbox (issue 4, "gdb").
 *
 * Invariant: whatever becomes of the VM, no call stays unanswered.
 */
import { HostError } from "../base/errors.ts";
import type {
  DebugCheckpoint,
  DebugMemoryRange,
  DebugPoint,
  DebugPosition,
  DebugRegister,
  DebugResume,
  DebugStop,
  DebugTarget,
} from "../debug/target.ts";
import type { DebugCall, DebugCalls } from "./debug_protocol.ts";
import type { Received } from "./mailbox.ts";
import { message, TO_VM } from "./protocol.ts";
import type { VmLink } from "./vm_link.ts";
import { importLate } from "../host/late_import.ts";

/** Calls to a VM world and what waits for their answers. */
export class VmDebug {
  readonly #link: VmLink;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  /** How the VM ended, once it has. */
  #exit: number | undefined;
  #closed = false;
  #next = 1;
  /** Writes and reads calls; loaded when a debugger comes. */
  #codec: typeof import("./debug_protocol.ts") | undefined;

  constructor(link: VmLink) {
    this.#link = link;
  }

  /** Takes hold of the VM, which then stands still. */
  async attach(harts: number): Promise<DebugTarget> {
    this.#codec ??= await importLate<typeof import("./debug_protocol.ts")>(
      "./debug_protocol.ts",
      import.meta.url,
    );
    const { replaying } = await this.call("attach");
    return new RemoteTarget(this, harts, replaying);
  }

  /** Makes a call. */
  call<C extends DebugCall>(name: C, ...args: DebugCalls[C][0]): Promise<DebugCalls[C][1]> {
    if (this.#closed) return Promise.reject(new HostError("The VM has ended"));
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    const bytes = this.#codec!.encodeDebug({ call: name, args });
    void this.#link.send(TO_VM.debug, message("", [id], bytes));
    return answer.promise as Promise<DebugCalls[C][1]>;
  }

  /** Asks for the end of a `resume` under way. */
  interrupt(): void {
    void this.#link.send(TO_VM.debugInterrupt, message());
  }

  /** An answer arrived. */
  answered({ numbers: [id = 0, good = 0], bytes }: Received): void {
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    const value = this.#codec!.decodeDebug(bytes);
    if (good === 1) answer?.resolve(value);
    else answer?.reject(new HostError(String(value)));
  }

  /** The VM ended: a debugger that waits for it is told so. */
  end(code: number, icount: number): void {
    this.#closed = true;
    this.#exit = code;
    const stop: DebugStop = { why: "exited", code: this.#exit, icount };
    for (const { resolve } of this.#waiting.values()) resolve(stop);
    this.#waiting.clear();
  }
}

class RemoteTarget implements DebugTarget {
  constructor(
    private readonly debug: VmDebug,
    readonly harts: number,
    readonly replaying: boolean,
  ) {}

  position(): Promise<DebugPosition> {
    return this.debug.call("position");
  }

  async registers(
    hart: number,
    wanted: readonly DebugRegister[],
  ): Promise<(bigint | undefined)[]> {
    const values = await this.debug.call("registers", hart, wanted);
    return values.map((value) => value === null ? undefined : BigInt.asUintN(64, BigInt(value)));
  }

  async setRegister(hart: number, register: DebugRegister, value: bigint): Promise<void> {
    await this.debug.call("setRegister", hart, register, value);
  }

  memory(hart: number, address: bigint, length: number): Promise<Uint8Array> {
    return this.debug.call("memory", hart, address, length);
  }

  async setMemory(hart: number, address: bigint, bytes: Uint8Array): Promise<void> {
    await this.debug.call("setMemory", hart, address, bytes);
  }

  memoryMap(): Promise<readonly DebugMemoryRange[]> {
    return this.debug.call("memoryMap");
  }

  async addPoint(point: DebugPoint): Promise<void> {
    await this.debug.call("addPoint", point);
  }

  async removePoint(point: DebugPoint): Promise<void> {
    await this.debug.call("removePoint", point);
  }

  async resume(how: DebugResume): Promise<DebugStop> {
    return withBigAddresses(await this.debug.call("resume", how));
  }

  interrupt(): void {
    this.debug.interrupt();
  }

  async seek(icount: number): Promise<DebugStop> {
    return withBigAddresses(await this.debug.call("seek", icount));
  }

  checkpoints(): Promise<readonly DebugCheckpoint[]> {
    return this.debug.call("checkpoints");
  }

  info(): Promise<string> {
    return this.debug.call("info");
  }

  async attach(): Promise<void> {
    await this.debug.call("attach");
  }

  async detach(): Promise<void> {
    await this.debug.call("detach");
  }
}

/** Small integers may come back as numbers. */
function withBigAddresses(stop: DebugStop): DebugStop {
  if (stop.why !== "watchpoint") return stop;
  const address = BigInt(stop.address);
  return { ...stop, address, point: { ...stop.point, address: BigInt(stop.point.address) } };
}
