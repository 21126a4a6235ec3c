/**
 * The part of a machine's state that is neither a hart nor a device: how far it is, whose turn it is,
 * and what is due. It lies in VM memory before the devices' states.
 */
import { layout, u32, u32s, u53, u53s, u64, type View } from "../driver/mod.ts";
import { DRIVES_MAXIMUM, HARTS_MAXIMUM } from "../limits.ts";

/** Most devices on a board. */
const DEVICES_MAXIMUM = 16;
/** Most requests in flight on one disk: a virtqueue's size. */
export const DISK_REQUESTS_MAXIMUM = 256;

/** Phases of a machine. */
export const PHASE = { running: 0, off: 1, reset: 2 } as const;

/** The layout. */
export const MACHINE_STATE = layout("machine", 1, {
  /** Instructions executed by all harts. */
  icount: u53,
  phase: u32,
  /** Exit code once the phase is off. */
  exitCode: u32,
  /** Hart whose turn it is. */
  turn: u32,
  /** Instructions left of its turn. */
  turnLeft: u32,
  /** HSM state of each hart. */
  hartState: u32s(HARTS_MAXIMUM),
  /** Guest time at which a device's timer is due; Infinity when it is off. */
  deviceTimer: u53s(DEVICES_MAXIMUM),
  /** Guest time at which a disk request completes under the virtual clock; 0 when none is under way. */
  diskDue: u53s(DRIVES_MAXIMUM * DISK_REQUESTS_MAXIMUM),
  /** Generator of the guest's entropy. */
  entropy: u32s(4),
  /** Wall clock in nanoseconds since 1970 at guest time 0. */
  wallStart: u64,
});

/** The machine's state as an object. */
export type MachineState = View<typeof MACHINE_STATE.fields>;
