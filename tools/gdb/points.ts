/**
 * The breakpoints and watchpoints of a connection (packets Z and z; GDB manual, "Packets").
 *
 * gdb keeps software (Z0) and hardware (Z1) breakpoints apart; for the machine both are a point that
 * waits for execution, which code cannot see. Invariant: a point is at the target as long as one packet
 * that asked for it was not taken back, and there are at most POINTS of them.
 */
import { HostError } from "../../kernel/base/errors.ts";
import type { DebugPoint, DebugPointKind, DebugTarget } from "../../kernel/debug/target.ts";
import { parseAddress, parseCount } from "./numbers.ts";

const POINTS = 1024;
/** Longest range that a watchpoint covers (kernel/debug/target.ts). */
const WATCHED_BYTES = 4096;
const KINDS: readonly DebugPointKind[] = ["execute", "execute", "write", "read", "access"];

/** How gdb asked for a breakpoint. */
export type BreakpointType = "software" | "hardware";

/** A point as a packet names it. */
export interface PointRequest {
  readonly type: BreakpointType;
  readonly point: DebugPoint;
}

/** Reads what follows "Z" or "z"; undefined when it is malformed or of a kind that there is not. */
export function parsePoint(text: string): PointRequest | undefined {
  const match = /^([0-4]),([0-9a-f]+),([0-9a-f]+)(?:;.*)?$/i.exec(text);
  const address = parseAddress(match?.[2]);
  const size = parseCount(match?.[3]);
  if (match === null || address === undefined || size === undefined) return undefined;
  const type = Number(match[1]);
  return {
    type: type === 0 ? "software" : "hardware",
    point: { kind: KINDS[type]!, address, size },
  };
}

function keyOf({ kind, address, size }: DebugPoint): string {
  return kind === "execute" ? `execute ${address}` : `${kind} ${address} ${size}`;
}

/** Points that are planted. */
export class PlantedPoints {
  readonly #planted = new Map<string, Set<BreakpointType>>();

  constructor(readonly target: DebugTarget) {}

  /** Plants a point; again is no error. Rejects with HostError when it cannot be. */
  async add({ type, point }: PointRequest): Promise<void> {
    if (point.kind !== "execute" && (point.size < 1 || point.size > WATCHED_BYTES)) {
      throw new HostError(`a watchpoint covers 1 to ${WATCHED_BYTES} bytes, not ${point.size}`);
    }
    const key = keyOf(point);
    const types = this.#planted.get(key);
    if (types !== undefined) {
      types.add(type);
      return;
    }
    if (this.#planted.size === POINTS) {
      throw new HostError(`there are ${POINTS} breakpoints and watchpoints already`);
    }
    await this.target.addPoint(point);
    this.#planted.set(key, new Set([type]));
  }

  /** Takes a point back; one that is not there is no error. */
  async remove({ type, point }: PointRequest): Promise<void> {
    const key = keyOf(point);
    const types = this.#planted.get(key);
    if (types === undefined || !types.delete(type) || types.size > 0) return;
    await this.target.removePoint(point);
    this.#planted.delete(key);
  }

  /** Whether a point is planted. */
  has(point: DebugPoint): boolean {
    return this.#planted.has(keyOf(point));
  }

  /** How gdb asked for the breakpoint at an address, if it did. */
  breakpointAt(address: bigint): BreakpointType | undefined {
    const types = this.#planted.get(keyOf({ kind: "execute", address, size: 0 }));
    if (types === undefined) return undefined;
    return types.has("software") ? "software" : "hardware";
  }
}
