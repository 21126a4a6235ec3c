/**
 * What tools and embedders may use of the kernel. `mod.ts` at the root adds the built-in drivers and
 * guests; use that one unless you bring your own.
 */
export { Broken } from "./base/assert.ts";
export { ConfigError, Divergence, FormatError, HostError, LogExhausted } from "./base/errors.ts";
export type { VmIdentity } from "./base/identity.ts";
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
export { Kernel, type KernelOptions, type MachineMake } from "./kernel.ts";
export type { ReplayOptions } from "./replayed_vm.ts";
export type { Counter, Gauge, MetricInfo } from "./metrics/counter.ts";
export type { Histogram } from "./metrics/histogram.ts";
export type { Metric, MetricRegistry } from "./metrics/registry.ts";
export type { ClockKind } from "./machine/clock.ts";
export type {
  DebugCheckpoint,
  DebugMemoryRange,
  DebugPoint,
  DebugPointKind,
  DebugPosition,
  DebugRegister,
  DebugResume,
  DebugStop,
  DebugTarget,
} from "./debug/target.ts";
export type { KeptWorldsOptions } from "./world/kept_worlds.ts";
export type { HaltCause, MachineStats } from "./world/machine_port.ts";
export type { EndReport, FailureReport, HartDump, ReplayReport } from "./world/reports.ts";
export { formatFailure, formatHart, VmFailure } from "./world/reports.ts";
export { VM } from "./world/vm.ts";
export type { VmExit, VmStats } from "./world/vm_facts.ts";
export type { ConsoleDevice, VmConsole } from "./world/vm_console.ts";
export type { AgentPlace, ExecOptions, ExecProcess, ExecResult } from "./world/vm_exec.ts";
export type { AnnouncementOutcome, IdentityAnnouncement } from "./world/vm_identity.ts";
export { IdentityService } from "./world/identity_service.ts";
export type { IdentityDraft, IdentityRequest } from "./world/identity_service.ts";
export type { VmState } from "./world/vm_state.ts";
export type { RecordOptions } from "./world/recording_session.ts";
export type { RecordingFacts } from "./world/recording_facts.ts";
export type { HistoryItem, RecordedHistory } from "./world/recorded_history.ts";
export { checkRecording, recordedHistory, recordingFacts } from "./world/recording_queries.ts";
export type { RecordedImage, RecordingManifest } from "./replay/manifest.ts";
export type { TornTail } from "./replay/log_format.ts";
export type { CoreReport } from "./replay/replay_core.ts";
export { definePlugin } from "./debug/plugin.ts";
export type {
  Replay,
  ReplayAccess,
  ReplayEnding,
  ReplayPlugin,
  ReplaySymbols,
  ReplaySyscall,
  ReplaySyscallResult,
  ReplayView,
  ReplayWatch,
} from "./debug/plugin.ts";
export type { PluginStop } from "./debug/plugin_host.ts";
export type {
  CodeRange,
  Detach,
  Execution,
  TakenTrap,
  TrapFilter,
} from "./debug/machine_debugger.ts";
export type { WatchRange } from "./debug/watchpoints.ts";
export type { WatchKind } from "./memory/watch.ts";
export type { DiskRequest } from "./driver/mod.ts";
export type { GuestSymbol, SymbolKind, SymbolPlace } from "./debug/symbol_table.ts";
export type { PluginSource } from "./world/plugin_side.ts";
export type { MachineOutput } from "./machine/outputs.ts";
export type { ReplayLearning } from "./world/replay_learner.ts";
export type { ReplayedCommand } from "./world/replay_source.ts";
export type { RecordSync } from "./replay/recording_writer.ts";
export type { EndCause, EventRecord, OutputRecord } from "./replay/record_table.ts";
export type { Stamp, VmEvent } from "./machine/event.ts";
export type { HostCompression } from "./host/compression.ts";
export type { HostClock } from "./host/clock.ts";
export type { HostEntropy } from "./host/entropy.ts";
export type { FileFacts, HostFile, HostFiles, HostLock, LockKind } from "./host/files.ts";
export type { Host } from "./host/host.ts";
export type { HostMemory } from "./host/memory.ts";
export type { HostTimers } from "./host/timers.ts";
export type { HostWorkers, WorldDeath, WorldOptions, WorldWorker } from "./host/workers.ts";
export { type BootFacts, bootFacts, type SegmentFacts } from "./world/boot_facts.ts";
export type { CheckpointOptions, MadeCheckpoint } from "./world/checkpoint_service.ts";
export type { DiskEnding, LiveDisk } from "./world/vm_disks.ts";
export type { SaveProgress } from "./world/saver_protocol.ts";
export type { ReadyOptions } from "./ready_vms.ts";
export type { ForkOptions, GoOnOptions } from "./going_on.ts";
export type { ParkedVm } from "./parked_vm.ts";
export type { LoadOptions } from "./world/page_loader.ts";
export type {
  CheckpointAbout,
  CheckpointHead,
  CheckpointKind,
} from "./checkpoint/checkpoint_format.ts";
export type {
  CheckpointEntry,
  Checkpoints,
  CheckpointTree,
  CheckpointWanted,
} from "./checkpoint/checkpoint_store.ts";
export type {
  CheckpointDevice,
  CheckpointDiff,
  CheckpointRegister,
  CheckpointValues,
  PageRange,
} from "./checkpoint/checkpoint_diff.ts";
export type { ClaimState } from "./checkpoint/claims.ts";
export type { Collected } from "./checkpoint/collector.ts";
export type { StoreProblem } from "./checkpoint/store_check.ts";
export type { PageCounts } from "./datastore/page_encoder.ts";
export {
  checkDisk,
  checkQcow2,
  commitQcow2,
  convertDisk,
  createDisk,
  type DiskCheckOptions,
  diskInfo,
  type DiskSource,
  type DiskWorkOptions,
  type LongDiskWorkOptions,
} from "./disk_images.ts";
export type { DiskCheck, RawCheck } from "./storage/check_disk.ts";
export type { ConvertResult, ConvertTarget } from "./storage/convert.ts";
export type { NewDisk } from "./storage/create_disk.ts";
export type { DiskFormat } from "./storage/disk_format.ts";
export type { DiskInfo, Qcow2Info } from "./storage/disk_info.ts";
export type { LazyZeroCheck } from "./storage/lazy_zero/check.ts";
export type { Qcow2Check, Qcow2Repair } from "./storage/qcow2/check.ts";
export type { CommitResult } from "./storage/qcow2/commit.ts";
export type { CreateQcow2Options } from "./storage/qcow2/create.ts";
export type { ImageFormat } from "./storage/qcow2/open.ts";
