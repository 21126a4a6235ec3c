/**
 * The formats that images of disks have here.
 */

/** Their names: byte for byte, QEMU's copy-on-write images, and lazily initialised ones (S4). */
export const DISK_FORMATS = ["raw", "qcow2", "lazy-zero"] as const;

/** A format. */
export type DiskFormat = (typeof DISK_FORMATS)[number];
