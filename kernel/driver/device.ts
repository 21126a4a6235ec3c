/**
 * What a virtual device is: behaviour over lent state, behind one small interface (habit 9: a device
 * knows offsets, the board knows addresses).
 *
 * Invariants: a device keeps nothing that a checkpoint needs outside its state; it never throws for
 * what a guest does; it touches the outside only through the environment it was given.
 */
import type { Fields, Layout, View } from "../state/layout.ts";
import type { DeviceEnvironment, Need } from "./environment.ts";

/** Version of this contract. A module made for another one is refused. */
export const DRIVER_ABI = 1;

/** What a guest can see of its VM's identity. */
export interface GuestIdentity {
  /** Generation ID: 16 bytes, other ones in each copy of a VM. */
  readonly generation: Uint8Array;
  /** MAC address of the network card: 6 bytes. */
  readonly mac: Uint8Array;
}

/** A virtual device as the board sees it. */
export interface Device {
  /** Reads 1, 2 or 4 bytes at an offset; gives 0 where nothing is. */
  read(offset: number, size: number): number;
  /** Writes 1, 2 or 4 bytes at an offset; ignores what has no meaning. */
  write(offset: number, size: number, value: number): void;
  /** Returns to the power-on state. The state bytes were zeroed. */
  reset?(): void;
  /** A timer set through `env.timer` is due. */
  tick?(): void;
  /** Input from outside arrives at a port; gives the bytes taken, the rest is offered again. */
  input?(port: number, bytes: Uint8Array): number;
  /** A disk request ended: 0 for success, else failure; `data` for reads. */
  complete?(tag: number, status: number, data: Uint8Array | undefined): void;
  /**
   * The state was put back where nobody knows of its disk requests: submits those in flight again.
   * @param isWaiting whether the result of a request is there and waits for its guest time
   */
  resubmit?(isWaiting: (tag: number) => boolean): void;
  /** The terminal at a port changed its size. */
  resize?(port: number, columns: number, rows: number): void;
  /** The VM is another one now, or begins: a copy of a VM has an identity of its own. */
  identify?(identity: GuestIdentity): void;
  /** The machine's wall clock was moved: what waits for a moment of it waits longer or shorter now. */
  wallMoved?(): void;
  /** The level of a wired interrupt source changed (interrupt controllers only). */
  source?(number: number, level: boolean): void;
  /** Counters for `--stats`. */
  counters?(): Readonly<Record<string, number>>;
}

/** A device module's declaration. */
export interface DeviceDeclaration<F extends Fields = Fields, O = unknown> {
  readonly kind: "device";
  readonly abi: number;
  /** Unique name, also the name of its folder. */
  readonly name: string;
  /** `compatible` strings for the device tree, most specific first. */
  readonly compatible: readonly string[];
  /** Bytes of its register window. */
  readonly window: number;
  readonly state: Layout<F>;
  /** What it asks of its environment. */
  readonly needs: readonly Need[];
  /** Makes the behaviour over a state. */
  attach(state: View<F>, env: DeviceEnvironment, options: O): Device;
}

/** Declares a virtual device: the default export of its module. */
export function defineDevice<F extends Fields, O = undefined>(
  declaration: Omit<DeviceDeclaration<F, O>, "kind" | "abi">,
): DeviceDeclaration<F, O> {
  return { kind: "device", abi: DRIVER_ABI, ...declaration };
}
