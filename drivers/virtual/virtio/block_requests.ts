/**
 * Requests of virtio block devices (Virtual I/O Device 1.2, section 5.2.6): what the devices of all machine
 * versions make of a chain, and how they answer it.
 *
 * Invariants: a request is decoded and checked whole, all its ranges included, before anything of it
 * starts; the last byte of the writable part is the status.
 */
import type { DiskPort, DiskRequest } from "../../../kernel/driver/mod.ts";
import type { Chain, Virtqueue } from "./virtqueue.ts";

/** Feature bits. */
export const FEATURE = {
  segMax: 2,
  readOnly: 5,
  blockSize: 6,
  flush: 9,
  configWriteback: 11,
  multiQueue: 12,
  discard: 13,
  writeZeroes: 14,
} as const;
/** Request types. */
export const REQUEST = {
  read: 0,
  write: 1,
  flush: 4,
  getId: 8,
  discard: 11,
  writeZeroes: 13,
} as const;
/** Status values. */
export const STATUS = { ok: 0, ioError: 1, unsupported: 2 } as const;

/** Bytes of a sector. */
export const SECTOR = 512;
/** Most data segments of a request. */
export const SEGMENTS_MAXIMUM = 254;
const HEADER_BYTES = 16;
const RANGE_BYTES = 16;
const ID_BYTES = 20;
/** Flag of a range: write-zeroes may deallocate. */
const UNMAP = 1;

/** A thing to ask of the disk. */
export type Operation = Omit<DiskRequest, "tag">;

/** What becomes of a request: operations on the disk (at least one), or an answer at once. */
export type Plan = { readonly operations: readonly Operation[] } | {
  readonly status: number;
  readonly data?: Uint8Array;
};

/** What a device announces of discard and write-zeroes requests. */
export interface RangeLimits {
  /** Most ranges of one request. */
  readonly ranges: number;
  /** Most sectors of a range to discard. */
  readonly discardSectors: number;
  /** Most sectors of a range to zero. */
  readonly zeroSectors: number;
  /** Whether write-zeroes may give space back where the driver lets it. */
  readonly mayUnmap: boolean;
}

/** Decodes the requests to one disk. */
export class BlockRequests {
  readonly #identity = new Uint8Array(ID_BYTES);

  /** @param name what the disk is called */
  constructor(
    private readonly disk: DiskPort,
    name: string,
    private readonly limits: RangeLimits,
  ) {
    new TextEncoder().encodeInto(name, this.#identity);
  }

  /** What becomes of a request. */
  plan(queue: Virtqueue, chain: Chain): Plan {
    const header = queue.read(chain, 0, HEADER_BYTES);
    if (header === undefined) return { status: STATUS.ioError };
    const view = new DataView(header.buffer);
    const type = view.getUint32(0, true);
    switch (type) {
      case REQUEST.read:
      case REQUEST.write:
        return this.#transfer(queue, chain, type, Number(view.getBigUint64(8, true)));
      case REQUEST.flush:
        return { operations: [{ kind: "flush", sector: 0, length: 0 }] };
      case REQUEST.getId:
        return { status: STATUS.ok, data: this.#identity };
      case REQUEST.discard:
      case REQUEST.writeZeroes:
        return this.#ranges(queue, chain, type);
      default:
        return { status: STATUS.unsupported };
    }
  }

  #inRange(sector: number, length: number): boolean {
    return length % SECTOR === 0 && sector + length / SECTOR <= this.disk.sectors;
  }

  #transfer(queue: Virtqueue, chain: Chain, type: number, sector: number): Plan {
    const write = type === REQUEST.write;
    const length = write ? chain.readableBytes - HEADER_BYTES : chain.writableBytes - 1;
    if (!this.#inRange(sector, length) || (write && this.disk.readOnly)) {
      return { status: STATUS.ioError };
    }
    if (length === 0) return { status: STATUS.ok };
    if (!write) return { operations: [{ kind: "read", sector, length }] };
    const data = queue.read(chain, HEADER_BYTES, length);
    if (data === undefined) return { status: STATUS.ioError };
    return { operations: [{ kind: "write", sector, length, data }] };
  }

  #ranges(queue: Virtqueue, chain: Chain, type: number): Plan {
    const { ranges, discardSectors, zeroSectors, mayUnmap } = this.limits;
    const bytes = chain.readableBytes - HEADER_BYTES;
    const listed = Math.max(RANGE_BYTES, Math.min(bytes, ranges * RANGE_BYTES));
    // First of all, because a range outside RAM breaks the queue even of a request that is refused.
    const list = queue.read(chain, HEADER_BYTES, listed);
    const isWhole = listed === bytes && bytes % RANGE_BYTES === 0;
    if (list === undefined || !isWhole || this.disk.readOnly) return { status: STATUS.ioError };
    const view = new DataView(list.buffer);
    const isZero = type === REQUEST.writeZeroes;
    const [known, most] = isZero ? [UNMAP, zeroSectors] : [0, discardSectors];
    const operations: Operation[] = [];
    for (let at = 0; at < bytes; at += RANGE_BYTES) {
      const flags = view.getUint32(at + 12, true);
      if ((flags & ~known) !== 0) return { status: STATUS.unsupported };
      const sector = Number(view.getBigUint64(at, true));
      const sectors = view.getUint32(at + 8, true);
      const length = sectors * SECTOR;
      if (!this.#inRange(sector, length) || sectors > most) return { status: STATUS.ioError };
      if (length === 0) continue;
      const zero = mayUnmap && (flags & UNMAP) !== 0 ? "zeroUnmap" : "zero";
      operations.push({ kind: isZero ? zero : "discard", sector, length });
    }
    return operations.length > 0 ? { operations } : { status: STATUS.ok };
  }
}

/** Answers a request. */
export function finish(queue: Virtqueue, chain: Chain, status: number, data?: Uint8Array): void {
  const room = chain.writableBytes - 1;
  const part = data?.subarray(0, room) ?? new Uint8Array(0);
  const fits = queue.write(chain, 0, part);
  queue.write(chain, room, Uint8Array.of(fits ? status : STATUS.ioError));
  // The length counts from the chain's start, so the status only counts if there is no gap before it.
  queue.give(chain, part.length === room ? room + 1 : part.length);
}
