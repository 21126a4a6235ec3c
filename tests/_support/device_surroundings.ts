/**
 * The world of one virtual device in tests: a machine's real guest memory, a clock that tests move, and a
 * record of all that the device does to it.
 */
import { Broken } from "../../kernel/base/assert.ts";
import type { DeviceEnvironment, DiskRequest, Need } from "../../kernel/driver/mod.ts";
import { RAM_START, WASM_PAGE_BYTES } from "../../kernel/limits.ts";
import { GuestMemory } from "../../kernel/memory/guest_memory.ts";
import { planMemory } from "../../kernel/memory/memory_plan.ts";
import { PageFlags } from "../../kernel/memory/page_flags.ts";

/** Guest memory as small as a machine can have it. */
export class SmallMemory extends GuestMemory {
  /** Guest-physical address of its first byte. */
  readonly base = RAM_START;
  /** All of it, without checks and traces. */
  readonly bytes: Uint8Array;

  /** Zeroed memory of whole pages. */
  constructor(ramBytes: number) {
    const plan = planMemory({
      ramBytes,
      harts: 1,
      deviceStateBytes: 64,
      tlbEntries: 16,
      cacheElements: 1,
      decodedPages: 2,
      nondetEntries: 0,
    });
    const buffer = new ArrayBuffer(plan.wasmPages * WASM_PAGE_BYTES);
    // No hart executes here, so nobody needs to be told of writes.
    super(buffer, plan, new PageFlags(buffer, plan), () => {});
    this.bytes = new Uint8Array(buffer, plan.ram, ramBytes);
  }
}

/** Surroundings of one device, and what it did to them. */
export interface DeviceSurroundings {
  readonly env: DeviceEnvironment;
  readonly memory: SmallMemory;
  /** Disk requests that were started and not yet ended. */
  readonly requests: DiskRequest[];
  /** Everything that the device did, in order. */
  readonly log: string[];
  /** Levels of the lines that it drives, by name: "irq" or "hart 0 line 7". */
  readonly lines: Map<string, boolean>;
  /** Guest time; the environment's clock. */
  now: number;
  /** Nanoseconds since 1970 at guest time 0. */
  wallStart: bigint;
  /** Guest time at which the device wants to be called. */
  due: number;
  /** Bytes of entropy drawn so far, which are a function of this number. */
  drawn: number;
}

/** Sectors of the disk. */
export const SECTORS = 64;
const HARTS = 2;
/** 2026-01-01 in nanoseconds since 1970. */
export const WALL_START = 1_767_225_600_000_000_000n;

/** Makes the surroundings of one device. */
export function surroundings(readOnly = false): DeviceSurroundings {
  const memory = new SmallMemory(64 * 1024);
  const log: string[] = [];
  const lines = new Map<string, boolean>();
  const starts = { now: 0, due: Infinity, drawn: 0, wallStart: WALL_START };
  const made = { memory, requests: [], log, lines, ...starts };
  const around = made as Omit<DeviceSurroundings, "env"> as DeviceSurroundings;
  const drive = (line: string, level: boolean) => {
    log.push(`${line} ${level}`);
    lines.set(line, level);
  };
  const env: DeviceEnvironment = {
    name: "device0",
    harts: HARTS,
    irq: (level) => drive("irq", level),
    hartLine: (hart, line, level) => drive(`hart ${hart} line ${line}`, level),
    memory,
    ticks: () => around.now,
    setTicks(ticks) {
      log.push(`time ${ticks}`);
      around.now = ticks;
    },
    wallNanoseconds: () => around.wallStart + BigInt(Math.floor(around.now)) * 100n,
    timer(ticks) {
      log.push(`timer ${ticks}`);
      around.due = ticks;
    },
    output: (port, bytes) => void log.push(`output ${port}: ${bytes}`),
    disk: {
      sectors: SECTORS,
      readOnly,
      submit(request) {
        log.push(`disk ${request.kind} ${request.sector} ${request.length} ${request.data ?? ""}`);
        around.requests.push(request);
      },
    },
    frame: (bytes) => void log.push(`frame ${bytes}`),
    entropy(into) {
      for (let i = 0; i < into.length; i++) into[i] = around.drawn++ * 167 & 255;
    },
    power: (kind, code) => void log.push(`power ${kind} ${code}`),
  };
  return Object.assign(around, { env });
}

/** TABLE of which need each part of an environment belongs to. */
const NEED_OF: Readonly<Record<Exclude<keyof DeviceEnvironment, "name" | "harts">, Need>> = {
  irq: "irq",
  hartLine: "hartLines",
  memory: "memory",
  ticks: "clock",
  setTicks: "clock",
  wallNanoseconds: "clock",
  timer: "timer",
  output: "output",
  disk: "disk",
  frame: "network",
  entropy: "entropy",
  power: "power",
};

/**
 * An environment that grants what was declared and no more, as the machine's own does.
 *
 * @param used gets the needs that were made use of
 */
export function granted(
  env: DeviceEnvironment,
  needs: readonly Need[],
  used: Set<Need>,
): DeviceEnvironment {
  return new Proxy(env, {
    get(target, key) {
      const need = (NEED_OF as Readonly<Record<PropertyKey, Need>>)[key];
      if (need !== undefined) {
        if (!needs.includes(need)) throw new Broken(`it uses ${need} without declaring it`);
        used.add(need);
      }
      return Reflect.get(target, key);
    },
  });
}
