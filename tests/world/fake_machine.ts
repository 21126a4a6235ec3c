/**
 * A tiny machine for tests of the worlds around a machine. Its `append` line says what it does; it
 * knows no instructions and counts a made-up icount.
 */
import type {
  MachineConfig,
  MachineOutput,
  MachinePort,
  StopReason,
} from "../../kernel/world/machine_port.ts";
import type { VmEvent } from "../../kernel/machine/event.ts";
import {
  encodeExecFrame,
  EXEC_PAYLOAD_BYTES,
  type ExecFrameKind,
  ExecFrameReader,
} from "../../kernel/world/exec_protocol.ts";
import { Broken } from "../../kernel/base/assert.ts";

/** A behaviour: called for each slice; adds to `outputs`. */
type Behaviour = (machine: FakeMachine, budget: number) => StopReason;

/** The machine. */
export class FakeMachine implements MachinePort {
  readonly harts = 1;
  icount = 0;
  ticks = 0;
  outputs: MachineOutput[] = [];
  readonly events: VmEvent[] = [];
  readonly arguments: string[];
  #behaviour: Behaviour;

  constructor(readonly config: MachineConfig) {
    const [name = "", ...rest] = config.append.split(" ");
    const behaviour = BEHAVIOURS[name];
    if (behaviour === undefined) throw new Broken(`no behaviour is named "${name}"`);
    this.#behaviour = behaviour;
    this.arguments = rest;
  }

  run(budget: number): StopReason {
    return this.#behaviour(this, budget);
  }

  offer(event: VmEvent): number {
    // Takes input in small bites, so that the rest has to be offered again.
    if (event.kind === "console") {
      const taken = event.bytes.slice(0, 1000);
      this.events.push({ ...event, bytes: taken });
      return taken.length;
    }
    this.events.push(event);
    return 1;
  }

  takeOutputs(): MachineOutput[] {
    return this.outputs.splice(0);
  }

  skipIdle(): void {
    this.ticks += 10_000;
  }

  anchor(ticks: number): void {
    this.ticks = ticks;
  }

  print(bytes: string | Uint8Array, device = "uart0", port = 0): void {
    const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
    this.outputs.push({ kind: "console", device, port, bytes: data });
  }

  hart(index: number) {
    const x = Array.from({ length: 32 }, (_, i) => BigInt(i));
    const csrs = { satp: 0x8000_0000_0000_0001n };
    return { hart: index, pc: 0x8000_1234n, privilege: "S", waiting: false, x, f: x, csrs };
  }

  stats() {
    return {
      instructions: this.icount,
      tiers: { interpreter: this.icount },
      translator: {},
      tlbFills: { read: 1 },
      memory: {},
      traces: {},
      traps: {},
      interrupts: {},
      nondeterminism: {},
      devices: {},
    };
  }

  digest(): string {
    return this.icount.toString(16).padStart(16, "0");
  }

  touchedBytes(): number {
    return 0;
  }

  memoryTree(): string {
    return "0x80000000 ram";
  }
}

const OFF = { kind: "halted", code: 0, why: "power-off" } as const;
const IDLE = { kind: "idle" } as const;

/** Text of the console input that arrived, taken out of the events. */
function typed(machine: FakeMachine): Uint8Array[] {
  return machine.events.splice(0).flatMap((e) => e.kind === "console" ? [e.bytes] : []);
}

/** Whether the guest of this world has said that it waits. */
let isReady = false;

/** How often the guest of this world has reset itself. */
let lives = 0;

const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  /** Prints its words and powers off with the code that comes first. */
  say: (m) => {
    const [code, ...words] = m.arguments;
    m.icount += 100;
    m.print(words.join(" "));
    return { ...OFF, code: Number(code) };
  },
  /** Sends back what is typed; "q" ends it. */
  echo: (m) => {
    m.icount += 1;
    if (m.icount === 1) m.print("ready\n");
    for (const bytes of typed(m)) {
      const end = bytes.indexOf(0x71);
      m.print(end < 0 ? bytes : bytes.slice(0, end));
      if (end >= 0) return OFF;
    }
    return IDLE;
  },
  /** Executes for ever. */
  spin: (m, budget) => {
    m.icount += budget;
    return { kind: "budget" };
  },
  /** Prints so many bytes in all; behind "ready", from the first key on, when it is told to wait. */
  flood: (m) => {
    const waits = m.arguments[1] === "waits";
    if (waits && m.icount === 0 && typed(m).length === 0) {
      if (!isReady) m.print("ready\n");
      isReady = true;
      return IDLE;
    }
    const total = Number(m.arguments[0]);
    const next = Math.min(total - m.icount, 100_000);
    m.print(new Uint8Array(next).fill(0x61));
    m.icount += next;
    return m.icount === total ? OFF : { kind: "budget" };
  },
  /** Counts idle milliseconds of guest time until five have passed. */
  nap: (m) => {
    m.icount += 1;
    if (m.ticks >= 50_000) {
      m.print(String(m.ticks));
      return OFF;
    }
    return { kind: "idle", wakeTicks: 50_000 };
  },
  /** Breaks. */
  break: (m) => {
    m.icount += 42;
    if (m.icount > 42) throw new Broken("the interpreter lost its place");
    m.print("about to break\n");
    return { kind: "budget" };
  },
  /** Resets itself on each start. */
  reset: (m) => {
    m.icount += 10;
    return { kind: "halted", code: 0, why: "reset" };
  },
  /** Asks its disk for something and resets itself before the answer; asks again then, and prints what comes. */
  resetBusy: (m) => {
    const ask = (tag: number) => {
      const request = { tag, kind: "read", sector: 0, length: 256 * 1024 } as const;
      m.outputs.push({ kind: "disk", device: "disk0", request });
    };
    if (lives === 0) {
      lives++;
      ask(0);
      return { kind: "halted", code: 0, why: "reset" };
    }
    if (m.icount++ === 0) ask(1);
    const event = m.events.shift();
    if (event?.kind === "console") {
      m.print(event.bytes);
      return OFF;
    }
    if (event?.kind === "disk") m.print(`disk ${event.tag} `);
    else if (event !== undefined) m.print(`${event.kind} `);
    return IDLE;
  },
  /** Waits for a terminal size and prints it. */
  size: (m) => {
    const event = m.events.pop();
    if (event?.kind !== "resize") return IDLE;
    m.print(`${event.device} ${event.columns}x${event.rows}`);
    return OFF;
  },
  /** Sends a frame and prints what comes back. */
  frame: (m) => {
    const event = m.events.pop();
    if (event?.kind === "frame") {
      m.print(`${event.device} ${event.bytes.length}`);
      return OFF;
    }
    if (m.icount++ === 0) {
      m.outputs.push({ kind: "frame", device: "net0", bytes: new Uint8Array(60) });
    }
    return IDLE;
  },
  disk: (m) => diskProgram(m),
  /** A guest with an exec agent. */
  agent: (m) => agent(m),
  /** A guest whose agent has a version, and tells on the terminal who it is told that it is, and what comes in. */
  who: (m) => whoAgent(m),
  /** A guest that ends before its agent is there. */
  noagent: (m) => {
    m.print("init died\n");
    return { ...OFF, code: 3 };
  },
};

/** Writes two sectors, reads them back, flushes, reads outside; prints each status. */
function diskProgram(m: FakeMachine): StopReason {
  const big = 256 * 1024;
  const data = new Uint8Array(big).map((_, i) => i * 7);
  const program = [
    { kind: "write", sector: 2, length: big, data },
    { kind: "read", sector: 2, length: big },
    { kind: "zero", sector: 3, length: 512 },
    { kind: "read", sector: 2, length: 1024 },
    { kind: "flush", sector: 0, length: 0 },
    { kind: "discard", sector: 0, length: 512 },
    { kind: "read", sector: 1 << 30, length: 512 },
    { kind: "read", sector: 0, length: 100 },
    { kind: "write", sector: 0, length: 1024, data: new Uint8Array(512) },
  ] as const;
  const event = m.events.pop();
  if (event?.kind === "disk") {
    const sum = event.data?.reduce((a, b) => (a * 31 + b) >>> 0, 0);
    m.print(`${event.device} ${event.tag} ${event.status} ${event.data?.length} ${sum}\n`);
  } else if (m.icount > 0) return { kind: "await", what: "disk" };
  const next = program[m.icount];
  if (next === undefined) return OFF;
  m.outputs.push({ kind: "disk", device: "disk0", request: { tag: m.icount, ...next } });
  m.icount++;
  return { kind: "await", what: "disk" };
}

/** Its arguments: the agent's version, and "mute" when it never answers. */
function whoAgent(m: FakeMachine): StopReason {
  const [version = "", mute] = m.arguments;
  const hex = (bytes: Uint8Array) => bytes.toHex();
  for (const event of m.events.splice(0)) {
    if (event.kind === "identity") {
      const { generation, mac, entropy } = event;
      m.print(`event ${hex(generation)} ${hex(mac)} ${entropy.length}\n`);
    } else if (event.kind === "wall") m.print(`wall ${event.wallStart + BigInt(m.ticks) * 100n}\n`);
    else if (event.kind === "console" && event.port === 0) m.print("typed\n");
    else if (event.kind === "console") {
      for (const { kind, payload } of new ExecFrameReader().push(event.bytes)) {
        const [name, mac, clock, ...rest] = new TextDecoder("latin1").decode(payload).split("\n");
        m.print(`told ${kind} ${name}|${mac}|${clock}|${rest.join("\n").length}\n`);
        const answer = new TextEncoder().encode(name === "proud" ? "hostname mac " : "");
        if (mute === undefined) {
          m.print(encodeExecFrame({ kind: "A", id: 0, payload: answer }), "console0", 1);
        }
      }
    }
  }
  if (m.icount++ === 0) {
    m.print(
      encodeExecFrame({ kind: "H", id: 0, payload: new TextEncoder().encode(version) }),
      "console0",
      1,
    );
    m.print("begun\n");
  }
  return IDLE;
}

const sleeping = new Set<number>();
const readers = new WeakMap<FakeMachine, ExecFrameReader>();

/** Runs pretended commands: echo WORDS, cat, fail STATUS, pour BYTES, sleep; refuses all others. */
function agent(m: FakeMachine): StopReason {
  const send = (kind: ExecFrameKind, id: number, payload: Uint8Array | string = "") => {
    const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
    m.print(encodeExecFrame({ kind, id, payload: bytes }), "console0", 1);
  };
  let reader = readers.get(m);
  if (reader === undefined) {
    readers.set(m, reader = new ExecFrameReader());
    m.print("line noise before the agent\n", "console0", 1);
    send("H", 0, "1");
  }
  for (const bytes of typed(m)) {
    for (const { kind, id, payload } of reader.push(bytes)) {
      if (kind === "X") startCommand(send, id, new TextDecoder().decode(payload).split("\0"));
      if (kind === "I") {
        send("T", id, `${payload.length}`);
        send("O", id, payload);
      }
      if (kind === "E" && !sleeping.has(id)) send("Q", id, "0");
      const signal = Number(new TextDecoder().decode(payload));
      // Stopping it and letting it go on are not seen by a pretended command.
      if (kind === "K" && signal !== 18 && signal !== 19) send("Q", id, `${128 + signal}`);
    }
  }
  return IDLE;
}

function startCommand(
  send: (kind: ExecFrameKind, id: number, payload?: string) => void,
  id: number,
  [program, ...words]: string[],
): void {
  switch (program) {
    case "cat":
      return;
    case "sleep":
      sleeping.add(id);
      return;
    case "/bin/sh":
    case "echo":
      send("O", id, words.join(" ") + "\n");
      return send("Q", id, "0");
    case "pour":
      sleeping.add(id);
      for (let left = Number(words[0]); left > 0; left -= EXEC_PAYLOAD_BYTES) {
        send("O", id, "x".repeat(Math.min(left, EXEC_PAYLOAD_BYTES)));
      }
      return;
    case "fail":
      send("R", id, "it failed\n");
      return send("Q", id, words[0]);
    default:
      return send("F", id, `${program}: not found`);
  }
}
