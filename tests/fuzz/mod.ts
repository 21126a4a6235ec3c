/**
 * The list of fuzz targets, one for every reader of foreign bytes, and a canary that must fail: when it
 * passes, nothing that the others say counts (habit 7).
 */
import { CHECKPOINT_TARGETS } from "./checkpoints_fuzz.ts";
import control from "./control_fuzz.ts";
import decode from "./decode_fuzz.ts";
import { DEVICE_TARGETS } from "./devices_fuzz.ts";
import type { FuzzTarget } from "./engine.ts";
import fdt from "./fdt_fuzz.ts";
import { IMAGE_TARGETS } from "./images_fuzz.ts";
import qcow2 from "./qcow2_fuzz.ts";
import { RECORDING_TARGETS } from "./recordings_fuzz.ts";
import { RSP_TARGETS } from "./rsp_fuzz.ts";
import sbi from "./sbi_fuzz.ts";
import { STREAM_TARGETS } from "./streams_fuzz.ts";
import virtqueue from "./virtqueue_fuzz.ts";

/** Every target; names are unique. */
export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  control,
  decode,
  fdt,
  qcow2,
  sbi,
  virtqueue,
  ...CHECKPOINT_TARGETS,
  ...DEVICE_TARGETS,
  ...IMAGE_TARGETS,
  ...RECORDING_TARGETS,
  ...RSP_TARGETS,
  ...STREAM_TARGETS,
];

/** Fails for one input in 64, as a rare fault would. */
export const CANARY: FuzzTarget = {
  name: "canary",
  step(random) {
    if (random.below(64) === 0) throw new Error("the canary sang");
  },
};
