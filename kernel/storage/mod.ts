/**
 * What tools do with images of disks: make, describe, check, repair, convert and commit them
 * (docs/disks.md).
 */
export type { BlockDevice } from "./block_device.ts";
export { convertDisk, type ConvertResult, type ConvertTarget, createDisk } from "./convert.ts";
export { DISK_FORMATS, type DiskFormat } from "./disk_format.ts";
export { type DiskInfo, diskInfo, type Qcow2Info } from "./disk_info.ts";
export { formatOf, openDisk, probeFormat } from "./open_disk.ts";
export { checkQcow2, type Qcow2Check, type Qcow2Repair } from "./qcow2/check.ts";
export { commitQcow2, type CommitResult } from "./qcow2/commit.ts";
export { createQcow2, type CreateQcow2Options, createRaw } from "./qcow2/create.ts";
export { openQcow2, resolvePath } from "./qcow2/open.ts";
