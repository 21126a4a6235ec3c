/**
 * What a machine has of its VM's identity (base/identity.ts), and how a machine that stood still for a while
 * comes to the wall clock of its host (issue 5, "Forks and identity"; S17, S19).
 *
 * Invariant: both come in as events, through the gate, so that a recording has them.
 */
import { generationBytes, macBytes, type VmIdentity } from "../base/identity.ts";
import type { GuestIdentity } from "../driver/mod.ts";
import type { VmEvent } from "./event.ts";

/** First version of machines whose guests see an identity of their own. */
export const IDENTITY_MACHINE_VERSION = 3;
/** Nanoseconds of a tick of guest time. */
const NANOSECONDS_PER_TICK = 100n;

/** The part of an identity that guests see. */
export function guestIdentity(identity: VmIdentity): GuestIdentity {
  return { generation: generationBytes(identity), mac: macBytes(identity) };
}

/** The event that makes a machine that of another VM. */
export function identityEvent(identity: VmIdentity, entropy: Uint8Array): VmEvent {
  return { kind: "identity", ...guestIdentity(identity), entropy };
}

/**
 * The event that moves a machine's wall clock to a moment.
 *
 * @param nanoseconds the moment, since 1970
 * @param ticks guest time at which it comes, in ticks of 100 ns
 */
export function wallEvent(nanoseconds: bigint, ticks: number): VmEvent {
  const wallStart = nanoseconds - BigInt(Math.trunc(ticks)) * NANOSECONDS_PER_TICK;
  // A host's clock before 1970 plus guest time is nothing that a device could show.
  return { kind: "wall", wallStart: wallStart < 0n ? 0n : wallStart };
}
