/**
 * Behaviour of the virtio block device of machine version 3 and later (Virtual I/O Device 1.2, section 5.2):
 * a queue for each hart, up to four; read, write, flush, get-id, discard and write-zeroes of several
 * ranges, read-only, and a cache mode that the driver can set.
 *
 * A request is one operation on the disk or several in a row: one for each range, and in the mode
 * writethrough a flush behind what changes the disk (section 5.2.6.2: without F_FLUSH, or with `writeback`
 * 0, a write that has ended is stable). Its tag keeps which of them is under way.
 *
 * Invariants: a request is decoded and checked whole before anything of it starts; what is in flight is
 * in the state, by tag, so that a checkpoint holds it and `resubmit` can start it again from guest
 * memory; a tag is not used again before its operation has ended, whatever the driver resets; a chain is
 * only taken while a tag is free, others wait in their queues.
 */
import type { Device, DeviceEnvironment } from "../../../kernel/driver/mod.ts";
import {
  BlockRequests,
  FEATURE,
  finish,
  type Operation,
  SECTOR,
  SEGMENTS_MAXIMUM,
  STATUS,
} from "../virtio/block_requests.ts";
import { DEVICE_ID } from "../virtio/registers.ts";
import { MmioTransport, type TransportState } from "../virtio/transport_mmio.ts";
import { type Chain, QUEUE_SIZE_MAXIMUM, type Virtqueue } from "../virtio/virtqueue.ts";

/** Most queues. */
export const QUEUES_MAXIMUM = 4;
/** Tags of requests, for all queues: as many as the machine has room for. */
export const TAGS = QUEUE_SIZE_MAXIMUM;
const FREE = 0;
/** Its request was started before a reset: nobody waits for it any more. */
const ABANDONED = 0xffff;

/** Ranges and sectors of one discard or write-zeroes request. Zeros may have to be written: 16 MiB of them. */
const LIMITS = { ranges: 16, discardSectors: 0x3f_ffff, zeroSectors: 0x8000, mayUnmap: true };
/** Sectors that a discard should begin and end at a multiple of: what file systems have for a block. */
const DISCARD_ALIGNMENT = 8;
/** Offset of `writeback` in the configuration space. */
const WRITEBACK = 32;

const FLUSH: Operation = { kind: "flush", sector: 0, length: 0 };

/** The state: the transport's, and what is in flight. */
export interface BlockState extends TransportState {
  /** For each tag 1 + 256 * queue + head descriptor of its request, FREE or ABANDONED. */
  readonly requests: Uint16Array;
  /** Which operation of its request is under way. */
  readonly step: Uint16Array;
  /** How many operations it has. */
  readonly steps: Uint16Array;
  /** 1 when the driver set `writeback` to 0. */
  writethrough: number;
}

/** A chain, and the queue that it came from. */
interface Request {
  readonly queue: Virtqueue;
  readonly chain: Chain;
}

/** Makes the behaviour of a block device. */
export function attachBlock(state: BlockState, env: DeviceEnvironment): Device {
  return new BlockDevice(state, env).device();
}

class BlockDevice {
  readonly #state: BlockState;
  readonly #env: DeviceEnvironment;
  readonly #features: readonly number[];
  readonly #transport: MmioTransport;
  readonly #requests: BlockRequests;

  constructor(state: BlockState, env: DeviceEnvironment) {
    this.#state = state;
    this.#env = env;
    this.#features = [
      FEATURE.segMax,
      FEATURE.blockSize,
      FEATURE.flush,
      FEATURE.configWriteback,
      FEATURE.multiQueue,
      FEATURE.discard,
      FEATURE.writeZeroes,
      ...env.disk.readOnly ? [FEATURE.readOnly] : [],
    ];
    const queues = Math.min(env.harts, QUEUES_MAXIMUM);
    this.#transport = new MmioTransport(state, env, queues, this.#features);
    this.#requests = new BlockRequests(env.disk, env.name, LIMITS);
  }

  device(): Device {
    return this.#transport.device({
      deviceId: DEVICE_ID.block,
      features: this.#features,
      queues: this.#transport.queues.length,
      config: () => this.#config(),
      writeConfig: (offset, size, value) => {
        if (offset !== WRITEBACK || size !== 1) return;
        if (!this.#transport.negotiated(FEATURE.configWriteback)) return;
        this.#state.writethrough = (value & 1) === 0 ? 1 : 0;
      },
      notify: (queue) => this.#drain(queue),
      reset: () => this.#abandonAll(),
    }, {
      complete: (tag, status, data) => this.#complete(tag, status, data),
      resubmit: (isWaiting) => {
        for (let tag = 0; tag < TAGS; tag++) {
          if (this.#state.requests[tag] !== FREE && !isWaiting(tag)) this.#submitAgain(tag);
        }
        this.#drainAll(0);
      },
    });
  }

  /** Whether a write that has ended must be stable. */
  get #isWritethrough(): boolean {
    if (!this.#transport.negotiated(FEATURE.flush)) return true;
    return this.#transport.negotiated(FEATURE.configWriteback) && this.#state.writethrough === 1;
  }

  #config(): Uint8Array {
    const { disk } = this.#env;
    const view = new DataView(new ArrayBuffer(60));
    view.setBigUint64(0, BigInt(disk.sectors), true);
    view.setUint32(12, SEGMENTS_MAXIMUM, true);
    view.setUint32(20, SECTOR, true);
    view.setUint8(WRITEBACK, this.#isWritethrough ? 0 : 1);
    view.setUint16(34, this.#transport.queues.length, true);
    view.setUint32(36, LIMITS.discardSectors, true);
    view.setUint32(40, LIMITS.ranges, true);
    view.setUint32(44, DISCARD_ALIGNMENT, true);
    view.setUint32(48, LIMITS.zeroSectors, true);
    view.setUint32(52, LIMITS.ranges, true);
    view.setUint8(56, 1);
    return new Uint8Array(view.buffer);
  }

  #abandonAll(): void {
    const { requests } = this.#state;
    for (let tag = 0; tag < TAGS; tag++) if (requests[tag] !== FREE) requests[tag] = ABANDONED;
    this.#state.writethrough = 0;
  }

  /** Takes a queue's chains until none, or no tag, is left, or the device broke. */
  #drain(index: number): void {
    const queue = this.#transport.queues[index]!;
    while (this.#transport.running && this.#state.requests.includes(FREE)) {
      const chain = queue.take();
      if (chain === undefined) return;
      this.#begin(index, { queue, chain });
    }
  }

  /** Takes the chains of all queues, those of one first. */
  #drainAll(first: number): void {
    const { length } = this.#transport.queues;
    for (let i = 0; i < length; i++) this.#drain((first + i) % length);
  }

  #begin(index: number, request: Request): void {
    const { queue, chain } = request;
    // A chain without room for a status byte cannot be answered.
    if (chain.writableBytes < 1) return queue.give(chain, 0);
    const planned = this.#requests.plan(queue, chain);
    if (!this.#transport.running) return;
    if ("status" in planned) return finish(queue, chain, planned.status, planned.data);
    const { requests, step, steps } = this.#state;
    const holder = 1 + index * QUEUE_SIZE_MAXIMUM + chain.head;
    if (requests.includes(holder)) return finish(queue, chain, STATUS.ioError);
    const tag = requests[chain.head] === FREE ? chain.head : requests.indexOf(FREE);
    const [first] = planned.operations;
    const changes = first!.kind !== "read" && first!.kind !== "flush" && first!.kind !== "discard";
    requests[tag] = holder;
    step[tag] = 0;
    steps[tag] = planned.operations.length + (changes && this.#isWritethrough ? 1 : 0);
    this.#env.disk.submit({ tag, ...first! });
  }

  /** The request of a tag; undefined when nobody can be answered any more. */
  #requestOf(holder: number): Request | undefined {
    if (holder === ABANDONED || !this.#transport.running) return undefined;
    const queue = this.#transport.queues[Math.floor((holder - 1) / QUEUE_SIZE_MAXIMUM)];
    const chain = queue?.chain((holder - 1) % QUEUE_SIZE_MAXIMUM);
    if (queue === undefined || chain === undefined || chain.writableBytes < 1) return undefined;
    return { queue, chain };
  }

  #complete(tag: number, status: number, data: Uint8Array | undefined): void {
    const { requests, step, steps } = this.#state;
    const holder = requests[tag] ?? FREE;
    if (holder === FREE) return;
    const request = this.#requestOf(holder);
    if (request !== undefined && status === 0 && step[tag]! + 1 < steps[tag]!) {
      step[tag]!++;
      if (this.#submitStep(tag, request)) return;
      return this.#end(tag, request, STATUS.ioError);
    }
    this.#end(tag, request, status === 0 ? STATUS.ok : STATUS.ioError, data);
  }

  /** Frees a tag, answers its request if anybody waits, and takes what waited for a tag. */
  #end(tag: number, request: Request | undefined, status: number, data?: Uint8Array): void {
    const { requests, step, steps } = this.#state;
    const wasFull = !requests.includes(FREE);
    const first = requests[tag] === ABANDONED ? 0 : requests[tag]! - 1;
    requests[tag] = step[tag] = steps[tag] = 0;
    if (request !== undefined && this.#transport.running) {
      finish(request.queue, request.chain, status, data);
    }
    if (wasFull) this.#drainAll(Math.floor(first / QUEUE_SIZE_MAXIMUM) + 1);
  }

  /**
   * Submits the operation that a tag is at, read from guest memory anew; false when what lies there is no
   * request that has it any more.
   */
  #submitStep(tag: number, { queue, chain }: Request): boolean {
    const step = this.#state.step[tag]!;
    const planned = this.#requests.plan(queue, chain);
    if (!this.#transport.running || !("operations" in planned)) return false;
    const { operations } = planned;
    if (step > operations.length) return false;
    this.#env.disk.submit({ tag, ...operations[step] ?? FLUSH });
    return true;
  }

  #submitAgain(tag: number): void {
    const { requests, step, steps } = this.#state;
    const request = this.#requestOf(requests[tag]!);
    if (request !== undefined && this.#submitStep(tag, request)) return;
    requests[tag] = step[tag] = steps[tag] = 0;
    if (request !== undefined && this.#transport.running) {
      finish(request.queue, request.chain, STATUS.ioError);
    }
  }
}
