/**
 * Records and replays machines in this process, without workers, files and clocks: chance says when
 * something comes in and how long slices are. What a VM world and the kernel world do around a machine is
 * done here in its simplest form.
 */
import { assert } from "@std/assert";
import { latin1 } from "../../kernel/base/bytes.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import type { DiskRequest } from "../../kernel/driver/mod.ts";
import { hostCompression } from "../../kernel/host/compression.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { frame, type LogStream, segmentHeader } from "../../kernel/replay/log_format.ts";
import { LogReader } from "../../kernel/replay/log_reader.ts";
import { Ledger } from "../../kernel/replay/ledger.ts";
import { Recorder } from "../../kernel/replay/recorder.ts";
import type { ReplayParts, ReplayStop } from "../../kernel/replay/replayer.ts";
import { Replayer } from "../../kernel/replay/replayer.ts";
import { testMachine } from "./machine.ts";

const SECTOR = 512;

type TestStream = Exclude<LogStream, "state">;

/** A recording in memory. */
export interface TestRecording {
  readonly config: Partial<MachineConfig>;
  /** The disk as it was before. */
  readonly disk: Uint8Array;
  readonly segments: Readonly<Record<TestStream, Uint8Array[]>>;
  readonly icount: number;
  readonly digest: string;
  readonly console: string;
}

/** What comes in by chance. */
export interface Storm {
  readonly rng: Prng;
  /** Slices of at most so many instructions. */
  readonly slices: readonly number[];
  /** Most instructions; the machine is stopped there. */
  readonly most: number;
}

/** Collects clusters as a recording's files would hold them. */
class Segments {
  readonly #parts: Record<TestStream, Uint8Array[]> = {
    events: [segmentHeader("events", 0)],
    outputs: [segmentHeader("outputs", 0)],
  };

  add(recorder: Recorder): void {
    for (const { stream, cluster } of recorder.take()) {
      if (stream === "state") continue;
      const packed = hostCompression.pack(cluster.bytes);
      const smaller = packed.length < cluster.bytes.length;
      this.#parts[stream].push(frame(cluster, smaller ? packed : cluster.bytes));
    }
  }

  take(): Record<TestStream, Uint8Array[]> {
    const whole = (parts: Uint8Array[]) => [new Uint8Array(parts.flatMap((part) => [...part]))];
    return { events: whole(this.#parts.events), outputs: whole(this.#parts.outputs) };
  }
}

/** A host of a machine: its clock, its disk and its typist are chance. */
class ChanceHost {
  readonly #results: { tag: number; data: Uint8Array | undefined; after: number }[] = [];
  constructor(
    private readonly machine: Machine,
    private readonly disk: Uint8Array,
    private readonly rng: Prng,
    private readonly now: () => number,
    private readonly pass: (ticks: number) => void,
  ) {}

  /** Something may come in. */
  offer(): void {
    const { machine, rng } = this;
    const { gate } = machine;
    this.pass(rng.below(20_000));
    if (machine.config.clock !== "virtual") gate.follow(this.now());
    if (rng.below(4) === 0) {
      const bytes = rng.bytes(1 + rng.below(20)).map((byte) => byte === 0x1b ? 0x20 : byte);
      gate.deliver({ kind: "console", device: "uart0", port: 0, bytes });
    }
    if (rng.below(8) === 0) {
      gate.deliver({ kind: "frame", device: "net0", bytes: rng.bytes(60 + rng.below(200)) });
    }
    if (rng.below(30) === 0) gate.deliver({ kind: "entropy", bytes: rng.bytes(16) });
    if (rng.below(60) === 0) {
      const [generation, mac, entropy] = [16, 6, 20].map((length) => rng.bytes(length));
      gate.deliver({ kind: "identity", generation: generation!, mac: mac!, entropy: entropy! });
    }
    if (rng.below(60) === 0) gate.deliver({ kind: "wall", wallStart: rng.u64() });
    if (rng.below(30) === 0) {
      const [columns, rows] = [rng.below(200), rng.below(80)];
      gate.deliver({ kind: "resize", device: "console0", port: 0, columns, rows });
    }
    for (const result of [...this.#results]) {
      if (result.after-- > 0) continue;
      this.#results.splice(this.#results.indexOf(result), 1);
      const { tag, data } = result;
      gate.deliver({ kind: "disk", device: "disk0", tag, status: 0, ...data && { data } });
    }
  }

  request({ tag, kind, sector, length, data }: DiskRequest): void {
    const start = sector * SECTOR;
    if (kind === "write") this.disk.set(data!, start);
    const read = kind === "read" ? this.disk.slice(start, start + length) : undefined;
    this.#results.push({ tag, data: read, after: this.rng.below(4) });
  }

  /** The machine waits: time goes on. */
  wait(): void {
    this.pass(this.rng.below(5000));
  }
}

/** Records a machine in a storm, from power-on until it is off or stopped. */
export function recordStorm(
  config: Partial<MachineConfig>,
  disk: Uint8Array,
  storm: Storm,
): TestRecording {
  const { rng, slices, most } = storm;
  const whole = { ...config, disks: [{ sectors: disk.length / SECTOR, readOnly: false }] };
  let passed = 0;
  const now = () => passed;
  // An exact clock runs on between two looks.
  const source = { ticks: () => passed += rng.below(3), entropy16: () => rng.below(65536) };
  const machine = testMachine({ ...whole, host: source });
  const recorder = new Recorder(machine);
  const host = new ChanceHost(machine, disk.slice(), rng, now, (ticks) => passed += ticks);
  const segments = new Segments();
  const text: string[] = [];
  for (;;) {
    host.offer();
    const stop = machine.run(Math.min(1 + rng.below(rng.pick(slices)), most - machine.icount));
    const outputs = machine.takeOutputs();
    recorder.sent(outputs);
    for (const output of outputs) {
      if (output.kind === "disk") host.request(output.request);
      if (output.kind === "bytes") text.push(latin1(output.bytes));
    }
    if (rng.below(30) === 0) recorder.epoch();
    if (rng.below(5) === 0) segments.add(recorder);
    if (stop.kind === "idle") {
      const skips = machine.config.clock === "virtual" && stop.wakeTicks !== Infinity;
      if (skips) machine.skipTo(stop.wakeTicks);
      else host.wait();
    }
    if (stop.kind === "off" || machine.icount >= most) {
      recorder.end(stop.kind === "off" ? "power-off" : "stopped", 0);
      segments.add(recorder);
      const { icount } = machine;
      return {
        config: whole,
        disk,
        segments: segments.take(),
        icount,
        digest: machine.digest(),
        console: text.join(""),
      };
    }
  }
}

/** A replayer of a recording on a machine; parts of it can be others. */
export function testReplayer(
  recording: TestRecording,
  machine: Machine,
  parts: Partial<ReplayParts> & Pick<ReplayParts, "sent">,
): Replayer {
  const reader = (stream: TestStream) =>
    new LogReader(stream, recording.segments[stream], hostCompression.unpack);
  return new Replayer(machine, {
    events: reader("events"),
    ledger: new Ledger(reader("outputs").cursor()),
    readBase: (disk, sector, bytes, arrived) => {
      assert(disk === 0);
      arrived(recording.disk.slice(sector * SECTOR, sector * SECTOR + bytes));
    },
    comparesEpochs: true,
    ...parts,
  });
}

/** Replays a recording with other options. */
export function replayRecording(
  recording: TestRecording,
  options: Partial<MachineConfig> = {},
  more: Partial<ReplayParts> & { readonly slice?: () => number } = {},
): {
  readonly machine: Machine;
  readonly stop: ReplayStop;
  readonly console: string;
  readonly epochs: number;
} {
  const { slice = () => 50_000_000, ...parts } = more;
  const machine = testMachine({ ...recording.config, ...options });
  const text: string[] = [];
  const replayer = testReplayer(recording, machine, {
    sent: (output) => {
      if (output.kind === "bytes") text.push(latin1(output.bytes));
    },
    ...parts,
  });
  for (;;) {
    const stop = replayer.run(slice());
    if (stop.kind === "budget") continue;
    return { machine, stop, console: text.join(""), epochs: replayer.epochsCompared };
  }
}
