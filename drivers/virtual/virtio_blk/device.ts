/**
 * Behaviour of the virtio block device (Virtual I/O Device 1.2, section 5.2): read, write, flush, get-id,
 * discard, write-zeroes, read-only.
 *
 * Invariants: a request is decoded and checked whole before anything starts; a started request is kept
 * by its tag in the state, so that a checkpoint holds the requests in flight; a tag is not used again
 * before its request has ended, whatever the driver resets; the last byte of the writable part is the
 * status.
 */
import type { Device, DeviceEnvironment, DiskRequest } from "../../../kernel/driver/mod.ts";
import { DEVICE_ID } from "../virtio/registers.ts";
import { MmioTransport, type TransportState } from "../virtio/transport_mmio.ts";
import { type Chain, QUEUE_SIZE_MAXIMUM, type Virtqueue } from "../virtio/virtqueue.ts";

/** Feature bits. */
export const FEATURE = {
  segMax: 2,
  readOnly: 5,
  blockSize: 6,
  flush: 9,
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

const SECTOR = 512;
const HEADER_BYTES = 16;
const ID_BYTES = 20;
const SEGMENTS_MAXIMUM = 254;
/** Flag of a range: write-zeroes may deallocate. */
const UNMAP = 1;
/** Most sectors of one discard or write-zeroes segment. */
const RANGE_SECTORS_MAXIMUM = 0x3f_ffff;

/** Tags of requests: as many as a queue can hold. */
export const TAGS = QUEUE_SIZE_MAXIMUM;
const FREE = 0;
/** Its request was started before a reset: nobody waits for it any more. */
const ABANDONED = 0xffff;

/** The state: the transport's, and what is in flight. */
export interface BlockState extends TransportState {
  /** For each tag the head descriptor of its request plus one, FREE or ABANDONED. */
  readonly requests: Uint16Array;
}

type Plan = { readonly start: Omit<DiskRequest, "tag"> } | {
  readonly status: number;
  readonly data?: Uint8Array;
};

/** Makes the behaviour of a block device. */
export function attachBlock(state: BlockState, env: DeviceEnvironment): Device {
  const { disk } = env;
  const features: number[] = [
    FEATURE.segMax,
    FEATURE.blockSize,
    FEATURE.flush,
    FEATURE.discard,
    FEATURE.writeZeroes,
  ];
  if (disk.readOnly) features.push(FEATURE.readOnly);
  const transport = new MmioTransport(state, env, 1, features);
  const queue = transport.queues[0]!;

  const identity = new Uint8Array(ID_BYTES);
  new TextEncoder().encodeInto(env.name, identity);

  const inRange = (sector: number, length: number) =>
    length % SECTOR === 0 && sector + length / SECTOR <= disk.sectors;

  const planTransfer = (chain: Chain, type: number, sector: number): Plan => {
    const write = type === REQUEST.write;
    const length = write ? chain.readableBytes - HEADER_BYTES : chain.writableBytes - 1;
    if (!inRange(sector, length) || (write && disk.readOnly)) return { status: STATUS.ioError };
    if (length === 0) return { status: STATUS.ok };
    if (!write) return { start: { kind: "read", sector, length } };
    const data = queue.read(chain, HEADER_BYTES, length);
    return data ? { start: { kind: "write", sector, length, data } } : { status: STATUS.ioError };
  };

  const planRange = (chain: Chain, type: number): Plan => {
    const range = queue.read(chain, HEADER_BYTES, 16);
    // One segment a request is what the configuration space announces.
    if (range === undefined || chain.readableBytes !== HEADER_BYTES + 16 || disk.readOnly) {
      return { status: STATUS.ioError };
    }
    const view = new DataView(range.buffer);
    const known = type === REQUEST.writeZeroes ? UNMAP : 0;
    if ((view.getUint32(12, true) & ~known) !== 0) return { status: STATUS.unsupported };
    const sector = Number(view.getBigUint64(0, true));
    const length = view.getUint32(8, true) * SECTOR;
    if (!inRange(sector, length)) return { status: STATUS.ioError };
    if (length === 0) return { status: STATUS.ok };
    return { start: { kind: type === REQUEST.discard ? "discard" : "zero", sector, length } };
  };

  const plan = (chain: Chain): Plan => {
    const header = queue.read(chain, 0, HEADER_BYTES);
    if (header === undefined) return { status: STATUS.ioError };
    const view = new DataView(header.buffer);
    const type = view.getUint32(0, true);
    switch (type) {
      case REQUEST.read:
      case REQUEST.write:
        return planTransfer(chain, type, Number(view.getBigUint64(8, true)));
      case REQUEST.flush:
        return { start: { kind: "flush", sector: 0, length: 0 } };
      case REQUEST.getId:
        return { status: STATUS.ok, data: identity };
      case REQUEST.discard:
      case REQUEST.writeZeroes:
        return planRange(chain, type);
      default:
        return { status: STATUS.unsupported };
    }
  };

  const finish = (chain: Chain, status: number, data?: Uint8Array) => {
    const room = chain.writableBytes - 1;
    const part = data?.subarray(0, room) ?? new Uint8Array(0);
    const fits = queue.write(chain, 0, part);
    queue.write(chain, room, Uint8Array.of(fits ? status : STATUS.ioError));
    // The length counts from the chain's start, so the status only counts if there is no gap before it.
    queue.give(chain, part.length === room ? room + 1 : part.length);
  };

  /** A free tag, the head's own number if it can be; -1 when there is none. */
  const freeTag = (head: number) =>
    state.requests[head] === FREE ? head : state.requests.indexOf(FREE);

  const begin = (chain: Chain) => {
    // A chain without room for a status byte cannot be answered.
    if (chain.writableBytes < 1) return queue.give(chain, 0);
    const planned = plan(chain);
    if (!transport.running) return;
    if ("status" in planned) return finish(chain, planned.status, planned.data);
    const tag = freeTag(chain.head);
    const twice = state.requests.includes(chain.head + 1);
    if (twice || tag < 0) return finish(chain, STATUS.ioError);
    state.requests[tag] = chain.head + 1;
    disk.submit({ tag, ...planned.start });
  };

  const config = () => {
    const view = new DataView(new ArrayBuffer(60));
    view.setBigUint64(0, BigInt(disk.sectors), true);
    view.setUint32(12, SEGMENTS_MAXIMUM, true);
    view.setUint32(20, SECTOR, true);
    view.setUint32(36, RANGE_SECTORS_MAXIMUM, true);
    view.setUint32(40, 1, true);
    view.setUint32(44, 1, true);
    view.setUint32(48, RANGE_SECTORS_MAXIMUM, true);
    view.setUint32(52, 1, true);
    return new Uint8Array(view.buffer);
  };

  return transport.device({
    deviceId: DEVICE_ID.block,
    features,
    queues: 1,
    config,
    notify: () => drain(queue, transport, begin),
    reset() {
      for (let tag = 0; tag < TAGS; tag++) {
        if (state.requests[tag] !== FREE) state.requests[tag] = ABANDONED;
      }
    },
  }, {
    complete(tag, status, data) {
      const holder = state.requests[tag] ?? FREE;
      if (holder === FREE) return;
      state.requests[tag] = FREE;
      if (holder === ABANDONED || !transport.running) return;
      const chain = queue.chain(holder - 1);
      if (chain === undefined || chain.writableBytes < 1) return;
      finish(chain, status === 0 ? STATUS.ok : STATUS.ioError, data);
    },
  });
}

/** Takes chains until none is left or the device broke. */
function drain(queue: Virtqueue, transport: MmioTransport, begin: (chain: Chain) => void): void {
  while (transport.running) {
    const chain = queue.take();
    if (chain === undefined) return;
    begin(chain);
  }
}
