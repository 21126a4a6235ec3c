/**
 * The plugin behind `replay export --chrome-trace`: prints one event of Chrome's trace event format a line, as
 * it ends (docs/replay.md). Who exports puts them into order and into one file.
 *
 *     pid 0  the VM: a track for each hart (its turns and traps), and for waiting, disks, consoles, network
 *     pid 1  with the option syscalls: a track for each task of a Linux guest
 *
 * Invariant: what was begun is ended, at the latest where the replay is.
 */
import {
  definePlugin,
  type MachineOutput,
  type Replay,
  type Stamp,
  type TakenTrap,
  type VmEvent,
} from "../../mod.ts";
import { callOf } from "./linux_syscalls.ts";
import { LinuxTasks } from "./linux_tasks.ts";

type Args = Readonly<Record<string, unknown>>;

/** An event of the format, with its time in microseconds. */
interface TraceEvent {
  readonly name: string;
  readonly cat: string;
  /** X complete, i instant, b and e begin and end of what may overlap. */
  readonly ph: "X" | "i" | "b" | "e";
  readonly ts: number;
  readonly dur?: number;
  readonly pid: number;
  readonly tid: number;
  readonly id?: string;
  readonly s?: "t" | "p";
  readonly args?: Args;
}

/** Tracks of the VM that are no harts. */
export const TRACKS = { machine: 100, disks: 101, console: 102, network: 103 } as const;
/** Process numbers of the format. */
export const PROCESSES = { vm: 0, tasks: 1 } as const;
const TEXT_BYTES = 200;
const TICK_NANOSECONDS = 100n;

/** TABLE of exceptions and interrupts (privileged ISA, table of mcause values). */
const EXCEPTIONS = [
  "instruction address misaligned",
  "instruction access fault",
  "illegal instruction",
  "breakpoint",
  "load address misaligned",
  "load access fault",
  "store address misaligned",
  "store access fault",
  "ecall from U",
  "ecall from S",
  "",
  "ecall from M",
  "instruction page fault",
  "load page fault",
  "",
  "store page fault",
];
const INTERRUPTS: Readonly<Record<number, string>> = {
  1: "supervisor software interrupt",
  3: "machine software interrupt",
  5: "supervisor timer interrupt",
  7: "machine timer interrupt",
  9: "supervisor external interrupt",
  11: "machine external interrupt",
};

const hex = (value: bigint) => `0x${value.toString(16)}`;

interface DiskRequest {
  readonly name: string;
  readonly ts: number;
  readonly args: Args;
}

interface Turn {
  readonly hart: number;
  readonly ts: number;
  readonly icount: number;
}

/** Collects the events of the VM itself. */
class Collector {
  readonly #replay: Replay;
  readonly #begin: bigint;
  readonly #requests = new Map<string, DiskRequest>();
  #turn: Turn | undefined;
  #waits: number | undefined;

  constructor(replay: Replay) {
    this.#replay = replay;
    this.#begin = replay.wallNanoseconds;
    replay.onTurn(({ hart }) => this.#turned(hart));
    replay.onWait(() => this.#allWait());
    replay.onTrap({ exceptions: true, interrupts: true }, (trap) => this.#trapped(trap));
    replay.onOutput((output, stamp) => this.#sent(output, stamp));
    replay.onEvent((event) => this.#came(event));
    replay.onEpoch(() => this.#instant(TRACKS.machine, "epoch", "epoch"));
    replay.onReset(() => this.#reset());
    replay.onEnd(({ kind }) => this.#ended(kind));
  }

  /** Microseconds of guest time since the recording began. */
  now(): number {
    return this.#toTs(this.#replay.wallNanoseconds);
  }

  write(event: TraceEvent): void {
    this.#replay.print(`${JSON.stringify(event)}\n`);
  }

  #toTs(wall: bigint): number {
    return Number(wall - this.#begin) / 1000;
  }

  #at({ ticks }: Stamp): number {
    const { wallNanoseconds, ticks: now } = this.#replay;
    return this.#toTs(wallNanoseconds - BigInt(now - ticks) * TICK_NANOSECONDS);
  }

  #instant(tid: number, cat: string, name: string, args: Args = {}, ts = this.now()): void {
    const all = { icount: this.#replay.icount, ...args };
    this.write({ name, cat, ph: "i", s: "t", ts, pid: PROCESSES.vm, tid, args: all });
  }

  #turned(hart: number): void {
    this.#endTurn();
    this.#endWait();
    this.#turn = { hart, ts: this.now(), icount: this.#replay.icount };
  }

  #allWait(): void {
    this.#endTurn();
    this.#waits = this.now();
  }

  #endTurn(): void {
    if (this.#turn === undefined) return;
    const { hart, ts, icount } = this.#turn;
    this.#turn = undefined;
    const args = { icount, instructions: this.#replay.icount - icount };
    const dur = duration(ts, this.now());
    this.write({ name: "turn", cat: "cpu", ph: "X", ts, dur, pid: PROCESSES.vm, tid: hart, args });
  }

  #endWait(): void {
    const ts = this.#waits;
    if (ts === undefined) return;
    this.#waits = undefined;
    const dur = duration(ts, this.now());
    const tid = TRACKS.machine;
    this.write({ name: "all wait", cat: "cpu", ph: "X", ts, dur, pid: PROCESSES.vm, tid });
  }

  #trapped({ hart, cause, isInterrupt, epc, value, privilege }: TakenTrap): void {
    const name = (isInterrupt ? INTERRUPTS[cause] : EXCEPTIONS[cause]) || `cause ${cause}`;
    const args = { epc: hex(epc), value: hex(value), privilege };
    this.#instant(hart, isInterrupt ? "interrupt" : "exception", name, args);
  }

  #sent(output: MachineOutput, stamp: Stamp): void {
    const [{ icount }, ts] = [stamp, this.#at(stamp)];
    switch (output.kind) {
      case "disk": {
        const { kind, sector, length, tag } = output.request;
        const name = `${kind} disk${output.disk}`;
        const args = { icount, sector, length };
        this.#requests.set(`disk${output.disk} ${tag}`, { name, ts, args });
        break;
      }
      case "bytes": {
        const { device, port, bytes } = output;
        const args = { icount, port, ...textArgs(bytes) };
        this.#instant(TRACKS.console, "console", `${device} out`, args, ts);
        break;
      }
      case "frame": {
        const { device, bytes: { length } } = output;
        this.#instant(TRACKS.network, "network", `${device} out`, { icount, bytes: length }, ts);
      }
    }
  }

  #came(event: VmEvent): void {
    switch (event.kind) {
      case "disk":
        this.#endRequest(`${event.device} ${event.tag}`, { status: event.status });
        break;
      case "console": {
        const { device, port, bytes } = event;
        this.#instant(TRACKS.console, "console", `${device} in`, { port, ...textArgs(bytes) });
        break;
      }
      case "frame": {
        const { device, bytes: { length } } = event;
        this.#instant(TRACKS.network, "network", `${device} in`, { bytes: length });
        break;
      }
      case "resize":
      case "entropy":
      case "identity":
      case "wall":
        this.#instant(TRACKS.machine, "event", event.kind);
    }
  }

  #endRequest(key: string, more: Args): void {
    const request = this.#requests.get(key);
    if (request === undefined) return;
    this.#requests.delete(key);
    const { name, ts, args } = request;
    const id = `${key} ${ts}`;
    const both = { name, cat: "disk", pid: PROCESSES.vm, tid: TRACKS.disks, id };
    this.write({ ...both, ph: "b", ts, args });
    const all = { icount: this.#replay.icount, ...more };
    this.write({ ...both, ph: "e", ts: Math.max(ts, this.now()), args: all });
  }

  #reset(): void {
    this.#finish();
    this.#instant(TRACKS.machine, "event", "reset");
  }

  #ended(kind: string): void {
    this.#finish();
    this.#instant(TRACKS.machine, "event", `replay: ${kind}`);
  }

  #finish(): void {
    this.#endTurn();
    this.#endWait();
    for (const key of [...this.#requests.keys()]) this.#endRequest(key, { unfinished: true });
  }
}

/** Collects system calls of a Linux guest. */
function collectCalls(replay: Replay, collector: Collector): void {
  const tasks = new LinuxTasks(replay);
  /** Calls on their way, by their task. */
  const open = new Map<string, { readonly id: number; readonly event: TraceEvent }>();
  const close = (key: string, result: string) => {
    const event = open.get(key)?.event;
    if (event === undefined) return;
    open.delete(key);
    const dur = duration(event.ts, collector.now());
    collector.write({ ...event, dur, args: { ...event.args, result } });
  };
  const closeAll = () => {
    for (const key of [...open.keys()]) close(key, "not returned");
  };
  replay.onReset(() => {
    closeAll();
    tasks.reset();
  });
  replay.onEnd(closeAll);
  replay.onSyscall((call) => {
    const task = tasks.current(call.hart);
    if (task === undefined) return;
    const key = `${task.address}`;
    close(key, "not returned");
    const { name } = callOf(call.number);
    const args = {
      icount: call.icount,
      process: task.name,
      arguments: call.arguments.map(hex),
    };
    const [ts, pid, tid] = [collector.now(), PROCESSES.tasks, task.pid];
    open.set(key, { id: call.id, event: { name, cat: "syscall", ph: "X", ts, pid, tid, args } });
  }, ({ call, value, hart }) => {
    const key = `${tasks.current(hart)?.address}`;
    if (open.get(key)?.id === call.id) close(key, `${BigInt.asIntN(64, value)}`);
  });
}

/** To the tick, which is a tenth of a microsecond. */
function duration(from: number, to: number): number {
  return Math.max(0, Math.round((to - from) * 10) / 10);
}

function textArgs(bytes: Uint8Array): Args {
  const text = new TextDecoder().decode(bytes.subarray(0, TEXT_BYTES));
  return { bytes: bytes.length, text };
}

export default definePlugin({
  name: "chrome_trace",
  options: { syscalls: "yes: system calls of a Linux guest too" },
  start(replay, options) {
    const collector = new Collector(replay);
    if (options["syscalls"] === "yes") collectCalls(replay, collector);
  },
});
