/**
 * What tools do with images of disks: make, describe, check, repair, convert and commit them
 * (docs/disks.md).
 */
export type { BlockDevice } from "./block_device.ts";
export { checkDisk, type DiskCheck } from "./check_disk.ts";
export {
  convertDisk,
  type ConvertOptions,
  type ConvertResult,
  type ConvertTarget,
} from "./convert.ts";
export { createDisk, type NewDisk } from "./create_disk.ts";
export { DISK_FORMATS, type DiskFormat } from "./disk_format.ts";
export { type DiskInfo, diskInfo, type Qcow2Info } from "./disk_info.ts";
export { checkLazyZero, type LazyZeroCheck } from "./lazy_zero/check.ts";
export type { ImageUseOptions } from "./lock_image.ts";
export { formatOf, openDisk, probeFormat } from "./open_disk.ts";
export {
  checkQcow2,
  type Qcow2Check,
  type Qcow2CheckOptions,
  type Qcow2Repair,
} from "./qcow2/check.ts";
export { type CommitOptions, commitQcow2, type CommitResult } from "./qcow2/commit.ts";
export { createQcow2, type CreateQcow2Options, createRaw } from "./qcow2/create.ts";
export { openQcow2, resolvePath } from "./qcow2/open.ts";
