/**
 * Markers of replay-only code (S13.3): three instructions of HINT space, `lui x0, imm20`, which are no
 * operation on every RISC-V machine. guests/sdk/replay.h has them for programs.
 *
 *     begin  lui x0, 0xc4701    a jump of four bytes over the core follows; the core begins behind it
 *     end    lui x0, 0xc4702    the core ends here
 *     write  lui x0, 0xc4703    in a core: a1 bytes at the virtual address a0 are for the side channel
 *
 * Invariant: a marker is known by its bits alone; compressed instructions are none.
 */
import { OPCODE } from "./row.ts";

/** What a marker says. */
export type Marker = "begin" | "end" | "write";

/** Upper immediates of the markers but for their last two bits, which tell them apart. */
const FAMILY = 0xc4700;
const KIND_MASK = 3;
const NAMES: readonly (Marker | undefined)[] = [undefined, "begin", "end", "write"];
/** The upper immediate begins at this bit. */
const IMMEDIATE_SHIFT = 12;
const FAMILY_BITS = (FAMILY << IMMEDIATE_SHIFT | OPCODE.lui) >>> 0;

/** The bits of all markers but for a kind at a place, which is not 0. */
export const MARKER_FAMILY = {
  bits: FAMILY_BITS,
  kindShift: IMMEDIATE_SHIFT,
  kindMask: KIND_MASK,
} as const;

/** Bytes from the begin marker to the core: the marker, and the jump around the core. */
export const CORE_OFFSET = 8;

/** Whether the bits of an instruction are a marker. */
export function isMarker(bits: number): boolean {
  return markerOf(bits) !== undefined;
}

/** The marker that the bits of an instruction are, if any. */
export function markerOf(bits: number): Marker | undefined {
  if (((bits ^ FAMILY_BITS) & ~(KIND_MASK << IMMEDIATE_SHIFT)) !== 0) return undefined;
  return NAMES[bits >>> IMMEDIATE_SHIFT & KIND_MASK];
}

/** The bits of a marker. */
export function markerBits(marker: Marker): number {
  return (FAMILY_BITS | NAMES.indexOf(marker) << IMMEDIATE_SHIFT) >>> 0;
}
