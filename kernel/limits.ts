/**
 * Every bound that more than one folder relies on, with the relations between them asserted: a wrong
 * relation stops the first import (habit 4).
 */
import { assert } from "./base/assert.ts";
import { GiB, KiB, MiB, PAGE_BYTES } from "./base/units.ts";

/** Most harts of one machine. */
export const HARTS_MAXIMUM = 8;

/** Most characters of a kernel's command line: a checkpoint keeps it. Linux takes 2048 of them. */
export const APPEND_MAXIMUM = 64 * KiB;
/** Most characters of a VM's name: a checkpoint keeps it. */
export const VM_NAME_MAXIMUM = 256;

/** Bits of an offset inside a guest page. */
export const PAGE_SHIFT = 12;
/** Bytes of a page of WebAssembly memory, in which a VM's memory grows. */
export const WASM_PAGE_BYTES = 64 * KiB;
/** Bytes that one WebAssembly memory with 32-bit addresses can have. */
export const WASM_MEMORY_MAXIMUM = 4 * GiB;

/** Least guest memory, in bytes. */
export const GUEST_MEMORY_MINIMUM = 1 * MiB;
/** Guest memory when nothing else is asked for, in bytes. */
export const GUEST_MEMORY_DEFAULT = 512 * MiB;
/** Most guest memory, in bytes. */
export const GUEST_MEMORY_MAXIMUM = 3 * GiB;

/** First guest-physical address of RAM (QEMU virt). */
export const RAM_START = 0x8000_0000;

/** Virtio slots of the board. */
export const VIRTIO_SLOTS_MAXIMUM = 8;
/** Slots that console, network and entropy take. */
export const VIRTIO_SLOTS_TAKEN = 3;
/** Most drives of one machine: the slots that are left. */
export const DRIVES_MAXIMUM = VIRTIO_SLOTS_MAXIMUM - VIRTIO_SLOTS_TAKEN;

/** Entries of a software TLB: a power of two from this… */
export const TLB_ENTRIES_MINIMUM = 16;
/** …to this. */
export const TLB_ENTRIES_MAXIMUM = 4096;
/** Most cache elements: a bit mask of them is one word. */
export const CACHE_ELEMENTS_MAXIMUM = 64;

/** Bytes that the states of a machine and its devices have in VM memory. */
export const DEVICE_STATE_BYTES = 64 * KiB;

/** Bytes of a disk sector. */
export const SECTOR_BYTES = 512;

/** Bytes of one message ring between the kernel world and a VM world. */
export const MAILBOX_RING_BYTES = 1 * MiB;
/** Most bytes of data that one message between worlds carries. */
export const MESSAGE_DATA_MAXIMUM = 64 * KiB;

assert(2 ** PAGE_SHIFT === PAGE_BYTES, "a page's shift and its size are one thing");
assert(WASM_PAGE_BYTES % PAGE_BYTES === 0, "a WebAssembly page is whole guest pages");
assert(PAGE_BYTES % SECTOR_BYTES === 0, "a guest page is whole sectors");
assert(RAM_START % WASM_PAGE_BYTES === 0, "RAM starts where a WebAssembly page can");
for (const bytes of [GUEST_MEMORY_MINIMUM, GUEST_MEMORY_DEFAULT, GUEST_MEMORY_MAXIMUM]) {
  assert(bytes % WASM_PAGE_BYTES === 0, "guest memory is whole WebAssembly pages");
}
assert(
  GUEST_MEMORY_MINIMUM <= GUEST_MEMORY_DEFAULT && GUEST_MEMORY_DEFAULT <= GUEST_MEMORY_MAXIMUM,
  "the default guest memory is one that may be asked for",
);
assert(
  GUEST_MEMORY_MAXIMUM <= WASM_MEMORY_MAXIMUM - 512 * MiB,
  "beside the largest guest there is room for harts, caches and decoded pages",
);
assert(DRIVES_MAXIMUM > 0, "a slot is left for a drive");
assert(
  4 * MESSAGE_DATA_MAXIMUM <= MAILBOX_RING_BYTES,
  "a ring holds several of the longest messages, so that a reader and a writer overlap",
);
