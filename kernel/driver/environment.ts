/**
 * What a virtual device may ask of its surroundings, and what it is then granted. Everything that a
 * device learns from outside or sends out passes here (design.md, "One idea").
 */

/** A thing that a device may need. */
export type Need =
  | "irq"
  | "hartLines"
  | "memory"
  | "clock"
  | "timer"
  | "output"
  | "disk"
  | "network"
  | "entropy"
  | "power";

/** Guest memory as a device reaches it: checked, traced. All methods refuse outside RAM. */
export interface DmaPort {
  /** Copies from guest memory; false (and nothing copied) outside RAM. */
  read(gpa: number, into: Uint8Array): boolean;
  /** Copies to guest memory; false (and nothing written) outside RAM. */
  write(gpa: number, from: Uint8Array): boolean;
  /** Reads a little-endian integer of 1, 2 or 4 bytes; undefined outside RAM. */
  integer(gpa: number, size: 1 | 2 | 4): number | undefined;
  /** Writes a little-endian integer of 1, 2 or 4 bytes; false outside RAM. */
  setInteger(gpa: number, size: 1 | 2 | 4, value: number): boolean;
}

/** A request to the disk behind a device. */
export interface DiskRequest {
  /** Chosen by the device; comes back with the completion. */
  readonly tag: number;
  /** What is to be done; "zeroUnmap" is "zero" that may give space back. */
  readonly kind: "read" | "write" | "flush" | "discard" | "zero" | "zeroUnmap";
  /** First sector of 512 bytes. */
  readonly sector: number;
  /** Bytes to read, write, discard or zero. */
  readonly length: number;
  /** What to write. */
  readonly data?: Uint8Array;
}

/** The disk behind a device. */
export interface DiskPort {
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  readonly readOnly: boolean;
  /** Starts a request; its end arrives at `Device.complete`. */
  submit(request: DiskRequest): void;
}

/** What a device is handed. A thing it did not declare as a need fails loudly when used. */
export interface DeviceEnvironment {
  /** Name of this instance, unique on the board. */
  readonly name: string;
  /** Number of harts. */
  readonly harts: number;
  /** The device's interrupt line to the interrupt controller. */
  irq(level: boolean): void;
  /** Drives an interrupt line of a hart (interrupt controllers and timers): a bit number of mip. */
  hartLine(hart: number, line: number, level: boolean): void;
  readonly memory: DmaPort;
  /** Guest time in ticks of 100 ns. */
  ticks(): number;
  /** Moves guest time, as a write to mtime does. */
  setTicks(ticks: number): void;
  /** Wall clock in nanoseconds since 1970. */
  wallNanoseconds(): bigint;
  /** Asks for `Device.tick` at a guest time; replaces an earlier request. Infinity cancels. */
  timer(ticks: number): void;
  /** Sends bytes out of a port. */
  output(port: number, bytes: Uint8Array): void;
  readonly disk: DiskPort;
  /** Sends a network frame. */
  frame(bytes: Uint8Array): void;
  /** Fills with random bytes that a recording can repeat. */
  entropy(into: Uint8Array): void;
  /** Ends or resets the machine. */
  power(kind: "off" | "reset", code: number): void;
}
