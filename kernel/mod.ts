/**
 * What tools and embedders may use of the kernel. `mod.ts` at the root adds the built-in drivers and
 * guests; use that one unless you bring your own.
 */
export { Broken } from "./base/assert.ts";
export { ConfigError, FormatError, HostError } from "./base/errors.ts";
export { formatSize, parseSize } from "./base/units.ts";
export type {
  DriveOption,
  DriveSpec,
  GuestProvider,
  GuestRequest,
  ImageSource,
  PowerOnOptions,
  ResolvedGuest,
  VmSpec,
} from "./config.ts";
export { parsePowerOn } from "./config.ts";
export { Kernel, type KernelOptions } from "./kernel.ts";
export type { MetricRegistry } from "./metrics/registry.ts";
export type { HaltCause, MachineStats } from "./world/machine_port.ts";
export type { EndReport, FailureReport, HartDump } from "./world/reports.ts";
export { formatFailure, formatHart, VmFailure } from "./world/reports.ts";
export { VM, type VmExit, type VmStats } from "./world/vm.ts";
export type { ConsoleDevice, VmConsole } from "./world/vm_console.ts";
export { type ExecOptions, ExecProcess, type ExecResult } from "./world/vm_exec.ts";
export type { VmState } from "./world/vm_state.ts";
export type { Host } from "./host/host.ts";
export type { ElfImage, ElfSegment, ElfSymbol } from "./machine/elf.ts";
export { type BootImage, readImage } from "./machine/image.ts";
