/**
 * The plugin behind `replay export --chrome-trace`: prints one event of Chrome's trace event format a line, as
 * it ends (docs/replay.md). Who exports puts them into order and into one file.
 *
 *     pid 0  the VM: a track for each hart (its turns and traps), and for waiting, disks, consoles, network
 *     pid 1  with the option syscalls: a track for each task of a Linux guest
 *
 * Invariant: what was begun is ended, at the latest where the replay is.
 */
import { definePlugin, type Stamp } from "../../mod.ts";
import { callOf } from "./linux_syscalls.ts";
import { LinuxTasks } from "./linux_tasks.ts";

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
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Tracks of the VM that are no harts. */
export const TRACKS = { machine: 100, disks: 101, console: 102, network: 103 } as const;
/** Process numbers of the format. */
export const PROCESSES = { vm: 0, tasks: 1 } as const;
const TEXT_CHARACTERS = 200;

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
  readonly args: Readonly<Record<string, unknown>>;
}

export default definePlugin({
  name: "chrome_trace",
  options: { syscalls: "yes: system calls of a Linux guest too" },
  start(replay, options) {
    const begin = replay.wallNanoseconds;
    const toTs = (wall: bigint) => Number(wall - begin) / 1000;
    const now = () => toTs(replay.wallNanoseconds);
    const at = (stamp: Stamp) =>
      toTs(replay.wallNanoseconds - BigInt(replay.ticks - stamp.ticks) * 100n);
    const write = (event: TraceEvent) => replay.print(`${JSON.stringify(event)}\n`);
    const instant = (
      tid: number,
      cat: string,
      name: string,
      ts: number,
      args: TraceEvent["args"],
    ) => write({ name, cat, ph: "i", s: "t", ts, pid: PROCESSES.vm, tid, args: args ?? {} });

    let turn: { readonly hart: number; readonly ts: number; readonly icount: number } | undefined;
    let waits: number | undefined;
    const endTurn = () => {
      if (turn === undefined) return;
      const { hart, ts, icount } = turn;
      const args = { icount, instructions: replay.icount - icount };
      write({
        name: "turn",
        cat: "cpu",
        ph: "X",
        ts,
        dur: now() - ts,
        pid: PROCESSES.vm,
        tid: hart,
        args,
      });
      turn = undefined;
    };
    const endWait = () => {
      if (waits === undefined) return;
      const tid = TRACKS.machine;
      const dur = now() - waits;
      write({ name: "all wait", cat: "cpu", ph: "X", ts: waits, dur, pid: PROCESSES.vm, tid });
      waits = undefined;
    };
    replay.onTurn(({ hart }) => {
      endTurn();
      endWait();
      turn = { hart, ts: now(), icount: replay.icount };
    });
    replay.onWait(() => {
      endTurn();
      waits = now();
    });

    replay.onTrap({ exceptions: true, interrupts: true }, (trap) => {
      const { hart, cause, isInterrupt, epc, value, privilege, icount } = trap;
      const name = (isInterrupt ? INTERRUPTS[cause] : EXCEPTIONS[cause]) || `cause ${cause}`;
      const args = { icount, epc: hex(epc), value: hex(value), privilege };
      instant(hart, isInterrupt ? "interrupt" : "exception", name, now(), args);
    });

    const requests = new Map<string, DiskRequest>();
    const endRequest = (key: string, more: TraceEvent["args"]) => {
      const request = requests.get(key);
      if (request === undefined) return;
      requests.delete(key);
      const { name, ts, args } = request;
      const both = { name, cat: "disk", pid: PROCESSES.vm, tid: TRACKS.disks, id: `${key} ${ts}` };
      write({ ...both, ph: "b", ts, args });
      write({ ...both, ph: "e", ts: Math.max(ts, now()), args: more ?? {} });
    };
    replay.onOutput((output, stamp) => {
      const { icount } = stamp;
      switch (output.kind) {
        case "disk": {
          const { kind, sector, length, tag } = output.request;
          const args = { icount, sector, length };
          requests.set(`disk${output.disk} ${tag}`, {
            name: `${kind} disk${output.disk}`,
            ts: at(stamp),
            args,
          });
          break;
        }
        case "bytes":
          instant(TRACKS.console, "console", `${output.device} out`, at(stamp), {
            icount,
            port: output.port,
            bytes: output.bytes.length,
            text: textOf(output.bytes),
          });
          break;
        case "frame":
          instant(TRACKS.network, "network", `${output.device} out`, at(stamp), {
            icount,
            bytes: output.bytes.length,
          });
      }
    });
    replay.onEvent((event) => {
      const { icount } = replay;
      switch (event.kind) {
        case "disk":
          endRequest(`${event.device} ${event.tag}`, { icount, status: event.status });
          break;
        case "console": {
          const { device, port, bytes } = event;
          const args = { icount, port, bytes: bytes.length, text: textOf(bytes) };
          instant(TRACKS.console, "console", `${device} in`, now(), args);
          break;
        }
        case "frame":
          instant(TRACKS.network, "network", `${event.device} in`, now(), {
            icount,
            bytes: event.bytes.length,
          });
          break;
        case "resize":
        case "entropy":
          instant(TRACKS.machine, "event", event.kind, now(), { icount });
      }
    });
    replay.onEpoch(() =>
      instant(TRACKS.machine, "epoch", "epoch", now(), { icount: replay.icount })
    );
    replay.onReset(() => {
      turn = waits = undefined;
      requests.clear();
      instant(TRACKS.machine, "event", "reset", now(), { icount: replay.icount });
    });

    const endCalls = options["syscalls"] === "yes" ? traceCalls() : () => {};
    replay.onEnd((ending) => {
      endTurn();
      endWait();
      endCalls();
      for (const key of [...requests.keys()]) endRequest(key, { unfinished: true });
      instant(TRACKS.machine, "event", `replay: ${ending.kind}`, now(), { icount: replay.icount });
    });

    function traceCalls(): () => void {
      const tasks = new LinuxTasks(replay);
      const open = new Map<string, TraceEvent & { readonly call: number }>();
      const close = (key: string, result: string) => {
        const event = open.get(key);
        if (event === undefined) return;
        open.delete(key);
        const { call: _, ...rest } = event;
        write({ ...rest, dur: now() - event.ts, args: { ...event.args, result } });
      };
      replay.onReset(() => {
        tasks.reset();
        open.clear();
      });
      replay.onSyscall((call) => {
        const task = tasks.current(call.hart);
        if (task === undefined) return;
        const key = `${task.address}`;
        close(key, "not returned");
        open.set(key, {
          name: callOf(call.number).name,
          cat: "syscall",
          ph: "X",
          ts: now(),
          pid: PROCESSES.tasks,
          tid: task.pid,
          args: { icount: call.icount, process: task.name, arguments: call.arguments.map(hex) },
          call: call.id,
        });
      }, ({ call, value, hart }) => {
        const key = `${tasks.current(hart)?.address}`;
        if (open.get(key)?.call === call.id) close(key, `${BigInt.asIntN(64, value)}`);
      });
      return () => {
        for (const key of [...open.keys()]) close(key, "not returned");
      };
    }
  },
});

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes.subarray(0, TEXT_CHARACTERS));
}
