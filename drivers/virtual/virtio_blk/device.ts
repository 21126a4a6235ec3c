/**
 * Behaviour of the virtio block device of machine version 2 (Virtual I/O Device 1.2, section 5.2): one
 * queue; read, write, flush, get-id, discard, write-zeroes, read-only. virtio_blk_mq followed it; what a
 * guest sees of this one never changes any more.
 *
 * Invariants: a request is decoded and checked whole before anything starts; a started request is kept
 * by its tag in the state, so that a checkpoint holds the requests in flight; a tag is not used again
 * before its request has ended, whatever the driver resets.
 */
import type { Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";
import {
  BlockRequests,
  FEATURE,
  finish,
  SECTOR,
  SEGMENTS_MAXIMUM,
  STATUS,
} from "../virtio/block_requests.ts";
import { DEVICE_ID } from "../virtio/registers.ts";
import { MmioTransport, type TransportState } from "../virtio/transport_mmio.ts";
import { type Chain, QUEUE_SIZE_MAXIMUM } from "../virtio/virtqueue.ts";

/** Most sectors that the device announces for one discard or write-zeroes range. */
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
  // Longer ranges than are announced are served, too, as they always were.
  const limits = { discardSectors: Infinity, zeroSectors: Infinity, mayUnmap: false };
  const requests = new BlockRequests(disk, env.name, { ...limits, ranges: 1 });

  /** A free tag, the head's own number if it can be; -1 when there is none. */
  const freeTag = (head: number) =>
    state.requests[head] === FREE ? head : state.requests.indexOf(FREE);

  const begin = (chain: Chain) => {
    // A chain without room for a status byte cannot be answered.
    if (chain.writableBytes < 1) return queue.give(chain, 0);
    const planned = requests.plan(queue, chain);
    if (!transport.running) return;
    if ("status" in planned) return finish(queue, chain, planned.status, planned.data);
    const tag = freeTag(chain.head);
    const twice = state.requests.includes(chain.head + 1);
    if (twice || tag < 0) return finish(queue, chain, STATUS.ioError);
    state.requests[tag] = chain.head + 1;
    disk.submit({ tag, ...planned.operations[0]! });
  };

  /** The chain of a request in flight; undefined when nobody can be answered any more. */
  const chainOf = (holder: number) => {
    if (!transport.running) return undefined;
    const chain = queue.chain(holder - 1);
    return chain === undefined || chain.writableBytes < 1 ? undefined : chain;
  };

  const submitAgain = (tag: number, holder: number) => {
    const chain = holder === ABANDONED ? undefined : chainOf(holder);
    const planned = chain && requests.plan(queue, chain);
    if (planned !== undefined && "operations" in planned && transport.running) {
      disk.submit({ tag, ...planned.operations[0]! });
      return;
    }
    state.requests[tag] = FREE;
    if (planned !== undefined && transport.running) finish(queue, chain!, STATUS.ioError);
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
    notify() {
      while (transport.running) {
        const chain = queue.take();
        if (chain === undefined) return;
        begin(chain);
      }
    },
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
      const chain = holder === ABANDONED ? undefined : chainOf(holder);
      if (chain === undefined) return;
      finish(queue, chain, status === 0 ? STATUS.ok : STATUS.ioError, data);
    },
    resubmit(isWaiting) {
      for (let tag = 0; tag < TAGS; tag++) {
        const holder = state.requests[tag]!;
        if (holder !== FREE && !isWaiting(tag)) submitAgain(tag, holder);
      }
    },
  });
}
