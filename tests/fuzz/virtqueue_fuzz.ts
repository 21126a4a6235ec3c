/**
 * Fuzz target for split virtqueues: a second, naive walker of descriptor chains (Virtual I/O Device 1.2,
 * section 2.7) says what a chain is, and the real one must say the same, or that the ring is broken.
 */
import { assert } from "../../kernel/base/assert.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { type Segment, Virtqueue } from "../../drivers/virtual/virtio/virtqueue.ts";
import type { FuzzTarget } from "./engine.ts";
import { SmallMemory } from "../_support/device_surroundings.ts";
import { edge64 } from "./support.ts";

const BASE = 0x8000_0000;
const MEMORY_BYTES = 64 * 1024;
const TABLE = BASE;
const DRIVER = BASE + 0x2000;
const DEVICE = BASE + 0x3000;
const INDIRECT = BASE + 0x4000;
const BYTES_MAXIMUM = 16 * 1024 * 1024;
const INDIRECT_ENTRIES_MAXIMUM = 1024;
const FLAG = { next: 1, write: 2, indirect: 4 };

interface Descriptor {
  readonly gpa: bigint;
  readonly length: number;
  readonly flags: number;
  readonly next: number;
}

function drawDescriptor(random: Prng, entries: number): Descriptor {
  const good = random.below(16) !== 0;
  const indirect = random.below(8) === 0;
  const length = indirect ? 16 * random.below(5) + random.pick([0, 0, 0, 8]) : random.below(5000);
  return {
    gpa: good ? BigInt(INDIRECT + 16 * random.below(512)) : edge64(random),
    length: good ? length : random.u32(),
    flags: indirect
      ? FLAG.indirect | random.below(2) * FLAG.write
      : random.below(4) | (good ? 0 : random.u32() & 0xffff),
    next: good ? random.below(entries) : random.u32() & 0xffff,
  };
}

function putTable(random: Prng, memory: SmallMemory, at: number, entries: number): void {
  for (let i = 0; i < entries; i++) {
    const { gpa, length, flags, next } = drawDescriptor(random, entries);
    memory.setInteger(at + 16 * i, 4, Number(gpa & 0xffff_ffffn));
    memory.setInteger(at + 16 * i + 4, 4, Number(gpa >> 32n));
    memory.setInteger(at + 16 * i + 8, 4, length);
    memory.setInteger(at + 16 * i + 12, 2, flags);
    memory.setInteger(at + 16 * i + 14, 2, next);
  }
}

/** A descriptor, or undefined outside memory. Addresses are exact here, whatever their size. */
function descriptorAt(memory: SmallMemory, table: bigint, index: number): Descriptor | undefined {
  const offset = table + 16n * BigInt(index) - BigInt(BASE);
  if (offset < 0n || offset + 16n > BigInt(MEMORY_BYTES)) return undefined;
  const { buffer, byteOffset } = memory.bytes;
  const view = new DataView(buffer, byteOffset + Number(offset), 16);
  return {
    gpa: view.getBigUint64(0, true),
    length: view.getUint32(8, true),
    flags: view.getUint16(12, true),
    next: view.getUint16(14, true),
  };
}

/** What a chain is, step by step as the specification tells it; undefined when it is broken. */
function modelChain(memory: SmallMemory, size: number, head: number): Descriptor[] | undefined {
  const chain: Descriptor[] = [];
  const seen = new Set<number>();
  let [table, entries, index, inside] = [BigInt(TABLE), size, head, false];
  for (;;) {
    if (index >= entries || seen.has(index)) return undefined;
    seen.add(index);
    const descriptor = descriptorAt(memory, table, index);
    if (descriptor === undefined) return undefined;
    const { gpa, length, flags, next } = descriptor;
    if ((flags & FLAG.indirect) !== 0) {
      if (inside || (flags & FLAG.next) !== 0 || length === 0 || length % 16 !== 0) {
        return undefined;
      }
      [table, index, inside] = [gpa, 0, true];
      entries = Math.min(length / 16, INDIRECT_ENTRIES_MAXIMUM);
      seen.clear();
      continue;
    }
    const readableAfterWritable = (flags & FLAG.write) === 0 &&
      chain.some((earlier) => (earlier.flags & FLAG.write) !== 0);
    if (readableAfterWritable) return undefined;
    chain.push(descriptor);
    if ((flags & FLAG.next) === 0) return chain;
    index = next;
  }
}

function sameSegments(real: readonly Segment[], expected: readonly Descriptor[]): boolean {
  return real.length === expected.length &&
    real.every(({ gpa, length }, i) =>
      gpa === Number(expected[i]!.gpa) && length === expected[i]!.length
    );
}

const target: FuzzTarget = {
  name: "virtqueue",
  step(random) {
    const memory = new SmallMemory(MEMORY_BYTES);
    const size = random.pick([1, 2, 8, 64]);
    putTable(random, memory, TABLE, size);
    putTable(random, memory, INDIRECT, 512);
    let broken = false;
    const queue = new Virtqueue(
      {
        queueSize: Uint32Array.of(size),
        queueReady: Uint32Array.of(1),
        queueDescriptor: Uint32Array.of(TABLE, 0),
        queueDriver: Uint32Array.of(DRIVER, 0),
        queueDevice: Uint32Array.of(DEVICE, 0),
        queueTaken: Uint32Array.of(0),
        queueUsed: Uint32Array.of(0),
      },
      0,
      memory,
      () => false,
      () => {},
      () => broken = true,
    );
    const head = random.below(8) === 0 ? random.u32() & 0xffff : random.below(size);
    memory.setInteger(DRIVER + 2, 2, 1);
    memory.setInteger(DRIVER + 4, 2, head);
    const expected = modelChain(memory, size, head);
    const writes = (expected ?? []).filter(({ flags }) => (flags & FLAG.write) !== 0);
    const reads = (expected ?? []).filter(({ flags }) => (flags & FLAG.write) === 0);
    const total = (part: Descriptor[]) => part.reduce((sum, { length }) => sum + length, 0);
    const tooLong = Math.max(total(reads), total(writes)) > BYTES_MAXIMUM;
    const chain = queue.take();
    assert(broken === (chain === undefined), "no chain means a broken ring, and the other way");
    assert(
      (chain === undefined) === (expected === undefined || tooLong),
      "both see a chain or none",
    );
    if (chain === undefined) return;
    assert(sameSegments(chain.readable, reads), "what may be read is the same");
    assert(sameSegments(chain.writable, writes), "what may be written is the same");
    queue.give(chain, total(writes));
    assert(memory.integer(DEVICE + 2, 2) === 1, "a chain that was given back is in the used ring");
    assert(queue.take() === undefined, "a chain is taken once");
  },
};

export default target;
