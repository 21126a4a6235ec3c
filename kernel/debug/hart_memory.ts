/**
 * Memory at virtual addresses of a hart, as a debugger reads and writes it (target.ts).
 *
 * Invariants: reading is past all traces and changes nothing; a write is done as devices do it, so that
 * code and page tables made from the bytes are dropped, and it is whole or not at all.
 */
import { HostError } from "../base/errors.ts";
import { addressSpace, guestAddress, ramBytes } from "../machine/guest_view.ts";
import type { Machine } from "../machine/machine.ts";

/** Bytes that lie in one page. */
export interface PagePart {
  /** Virtual address. */
  readonly address: bigint;
  /** Guest-physical address in RAM; undefined where nothing or a device is mapped. */
  readonly gpa: number | undefined;
  readonly size: number;
}

/**
 * A range of virtual addresses by pages; it ends where addresses do.
 * @param space as addressSpace gives it
 * @param met is told the addresses of the page-table entries that are looked at
 */
export function* pageParts(
  { core }: Machine,
  space: bigint,
  address: bigint,
  length: number,
  met?: (entry: bigint) => void,
): Generator<PagePart> {
  const start = BigInt.asUintN(64, address);
  for (let done = 0; done < length;) {
    const at = start + BigInt(done);
    if (at >= 1n << 64n) return;
    const size = Math.min(length - done, 4096 - Number(at & 4095n));
    yield { address: at, gpa: guestAddress(core, space, at, met), size };
    done += size;
  }
}

/** Bytes up to the first that cannot be read. */
export function readMemory(
  machine: Machine,
  hart: number,
  address: bigint,
  length: number,
): Uint8Array<ArrayBuffer> {
  const { core } = machine;
  const parts: Uint8Array[] = [];
  let total = 0;
  for (const { gpa, size } of pageParts(machine, addressSpace(core, hart), address, length)) {
    if (gpa === undefined) break;
    parts.push(ramBytes(core, gpa, size));
    total += size;
  }
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Writes bytes. Throws HostError, with nothing written, where a byte is not in mapped RAM. */
export function writeMemory(
  machine: Machine,
  hart: number,
  address: bigint,
  bytes: Uint8Array,
): void {
  const { core, memory, watch } = machine;
  const parts = [...pageParts(machine, addressSpace(core, hart), address, bytes.length)];
  const missing = parts.find(({ gpa }) => gpa === undefined);
  const reached = parts.reduce((sum, { size }) => sum + size, 0);
  if (missing !== undefined || reached < bytes.length) {
    const where = missing?.address ?? 1n << 64n;
    throw new HostError(`hart ${hart} has no memory mapped at 0x${where.toString(16)}`);
  }
  let at = 0;
  watch.unseen(() => {
    for (const { gpa, size } of parts) {
      memory.write(gpa!, bytes.subarray(at, at + size));
      at += size;
    }
  });
}
