/**
 * TABLE of the built-in driver modules: one import and one entry each.
 */
import aclint from "./virtual/aclint/mod.ts";
import goldfishRtc from "./virtual/goldfish_rtc/mod.ts";
import plic from "./virtual/plic/mod.ts";
import syscon from "./virtual/syscon/mod.ts";
import uart16550 from "./virtual/uart16550/mod.ts";
import virtioBlk from "./virtual/virtio_blk/mod.ts";
import virtioBlkMq from "./virtual/virtio_blk_mq/mod.ts";
import virtioConsole from "./virtual/virtio_console/mod.ts";
import virtioNet from "./virtual/virtio_net/mod.ts";
import virtioRng from "./virtual/virtio_rng/mod.ts";
import vmgenid from "./virtual/vmgenid/mod.ts";

/** Every built-in virtual device. */
export const BUILTIN_DEVICES: readonly unknown[] = [
  uart16550,
  plic,
  aclint,
  goldfishRtc,
  syscon,
  virtioBlk,
  virtioBlkMq,
  virtioConsole,
  virtioNet,
  virtioRng,
  vmgenid,
];
