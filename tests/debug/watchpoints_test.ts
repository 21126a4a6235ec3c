/**
 * Watchpoints: every kind of access to watched bytes stops the machine right behind its instruction, none
 * beside them does, and the machine is the one without them.
 *
 * Invariant checked: the icount of a stop is that of the instruction, on every tier.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../kernel/base/errors.ts";
import { MachineDebugger, type WatchedAccess } from "../../kernel/debug/machine_debugger.ts";
import type { DebugPoint } from "../../kernel/debug/target.ts";
import { readImage } from "../../kernel/machine/image.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { markerBits } from "../../kernel/cpu/isa/marker.ts";
import { changeCsr, emitHandler, enterMode, openMemory, START } from "../_support/hot_program.ts";
import { testMachine } from "../_support/machine.ts";
import { patchByDevice, patchingImage } from "../_support/patching_program.ts";
import { Program } from "../_support/program.ts";
import { forSeeds, randomOptions } from "../_support/tiers.ts";

/** A word that is watched, in the middle of a page, and eight bytes across the end of one. */
const DATA = START + 0x10_0100;
const EDGE = START + 0x10_1ffc;
const TABLES = START + 0x20_0000;
const [base, edge, value] = [10, 11, 12];

type Emit = (program: Program) => void;

/** An access, and which kinds of watchpoint on the eight bytes at DATA, or across pages, must see it. */
interface Access {
  readonly name: string;
  readonly emit: Emit;
  readonly kinds: readonly ("read" | "write")[];
  /** Instructions up to and with the one that accesses, when that is not the first. */
  readonly at?: number;
  readonly where?: "edge";
}

const one = (name: string, operands: Parameters<Program["op"]>[1] = {}): Emit => (program) =>
  program.op(name, operands);

const ACCESSES: readonly Access[] = [
  ...["lb", "lh", "lw", "ld", "lbu", "lhu", "lwu", "fld", "flw"].map((name): Access => ({
    name,
    emit: one(name, { rd: 13, rs1: base }),
    kinds: ["read"],
  })),
  ...["sb", "sh", "sw", "sd", "fsw", "fsd"].map((name): Access => ({
    name,
    emit: one(name, { rs1: base, rs2: value }),
    kinds: ["write"],
  })),
  { name: "last byte", emit: one("sb", { rs1: base, rs2: value, imm: 7 }), kinds: ["write"] },
  { name: "c.sd", emit: (program) => program.half(0xe110), kinds: ["write"] },
  { name: "overlap", emit: one("sd", { rs1: base, rs2: value, imm: -4 }), kinds: ["write"] },
  { name: "lr", emit: one("lr.w", { rd: 13, rs1: base }), kinds: ["read"] },
  {
    name: "amo",
    emit: one("amoadd.d", { rd: 13, rs1: base, rs2: value }),
    kinds: ["read", "write"],
  },
  {
    name: "sc",
    emit: (program) => {
      program.op("lr.d", { rd: 13, rs1: base });
      program.op("sc.d", { rd: 14, rs1: base, rs2: value });
    },
    kinds: ["write"],
    at: 2,
  },
  { name: "sc that fails", emit: one("sc.d", { rd: 14, rs1: base, rs2: value }), kinds: [] },
  { name: "cbo.zero", emit: one("cbo.zero", { rs1: base }), kinds: ["write"] },
  { name: "before", emit: one("sd", { rs1: base, rs2: value, imm: -8 }), kinds: [] },
  { name: "behind", emit: one("ld", { rd: 13, rs1: base, imm: 8 }), kinds: [] },
  { name: "split sd", emit: one("sd", { rs1: edge, rs2: value }), kinds: ["write"], where: "edge" },
  { name: "split ld", emit: one("ld", { rd: 13, rs1: edge }), kinds: ["read"], where: "edge" },
  {
    name: "second page",
    emit: one("sb", { rs1: edge, rs2: value, imm: 6 }),
    kinds: ["write"],
    where: "edge",
  },
  {
    name: "first page",
    emit: one("lbu", { rd: 13, rs1: edge, imm: 3 }),
    kinds: ["read"],
    where: "edge",
  },
  {
    name: "before the edge",
    emit: one("sb", { rs1: edge, rs2: 0, imm: -1 }),
    kinds: [],
    where: "edge",
  },
];

/** Instructions before the loop, and of a round around the access. */
interface Built {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly loop: bigint;
}

/** A loop over an access between others on the same page, hot enough for regions. */
function loopOver(emit: Emit): Built {
  const program = new Program(START);
  openMemory(program);
  program.setLong(value, 0x6000n);
  changeCsr(program, "csrrs", "mstatus", value);
  program.setLong(base, BigInt(DATA));
  program.setLong(edge, BigInt(EDGE));
  program.setLong(value, 0x1234_5678_9abc_def1n);
  const head = program.place();
  const loop = BigInt(program.here);
  program.op("sd", { rs1: base, rs2: value, imm: 64 });
  program.op("ld", { rd: 15, rs1: base, imm: -64 });
  emit(program);
  program.op("addi", { rd: 16, rs1: 16, imm: 1 });
  program.to("jal", head);
  return { bytes: program.bytes(), loop };
}

const TIERS: readonly Partial<MachineConfig>[] = [
  { tier: "interpreter" },
  { tier: "translator", translator: { heat: 5, batch: 1 } },
  { tier: "check", translator: { heat: 5, batch: 1 } },
];

/** Icounts of the stops of one watchpoint, set when the loop is hot, up to an icount. */
function stopsOf(machine: Machine, point: DebugPoint, from: number, end: number): number[] {
  machine.run(from);
  const hold = new MachineDebugger(machine);
  hold.addPoint(point);
  const stops: number[] = [];
  while (machine.icount < end) {
    const stop = hold.run(end - machine.icount);
    if (stop.kind !== "watchpoint") {
      assertEquals(stop.kind, "budget");
      continue;
    }
    assertEquals([stop.hart, stop.point], [0, point]);
    const offset = stop.address - point.address;
    assert(offset >= 0n && offset < BigInt(point.size), `offset ${offset}`);
    stops.push(machine.icount);
  }
  hold.detach();
  return stops;
}

for (const { name, emit, kinds, at = 1, where } of ACCESSES) {
  Deno.test(`watchpoints see or do not see: ${name}`, () => {
    const { bytes, loop } = loopOver(emit);
    const config = { kernel: { kind: "raw", bytes }, memoryBytes: 8 << 20 } as const;
    const plain = testMachine({ ...config, tier: "interpreter" });
    // Rounds begin where the loop's head is next.
    const heads: number[] = [];
    while (heads.length < 120) {
      if (plain.core.register(0, "pc") === loop) heads.push(plain.icount);
      plain.run(1);
    }
    const [from, end] = [heads[80]!, heads[110]!];
    const rest = testMachine({ ...config, tier: "interpreter" });
    rest.run(end);
    const address = BigInt(where === "edge" ? EDGE : DATA);
    for (const kind of ["read", "write", "access"] as const) {
      const sees = kinds.some((each) => kind === "access" || each === kind);
      // The LR of the pair is seen by those that watch reads.
      const alsoRead = name === "sc" && kind !== "write";
      const expected = heads.slice(80, 110).flatMap((head) => [
        ...alsoRead ? [head + 3] : [],
        ...sees ? [head + 2 + at] : [],
      ]);
      for (const options of TIERS) {
        const machine = testMachine({ ...config, ...options });
        const point = { kind, address, size: 8 };
        const label = `${name}, ${kind}, ${options.tier}`;
        assertEquals(stopsOf(machine, point, from, end), expected, label);
        assertEquals(machine.digest(), rest.digest(), label);
      }
    }
  });
}

Deno.test("the walker's A and D bits are seen, right behind the instruction", () => {
  for (const access of ["fetch", "load", "store"] as const) {
    const program = new Program(START);
    openMemory(program);
    emitHandler(program, "m");
    // A 2 MiB page of code and data without A and D, at its own address.
    program.setLong(value, 8n << 60n | BigInt(TABLES) >> 12n);
    changeCsr(program, "csrrw", "satp", value);
    program.setLong(base, BigInt(START + 0x40_0000));
    program.setLong(value, 1n);
    enterMode(program, "s");
    if (access === "load") program.op("ld", { rd: 13, rs1: base, imm: 0 });
    else if (access === "store") program.op("sd", { rs1: base, rs2: value, imm: 0 });
    else program.op("jalr", { rd: 0, rs1: base });
    const bytes = new Uint8Array(START + 0x60_0000 - START);
    bytes.set(program.bytes());
    const view = new DataView(bytes.buffer);
    // Instructions there that need nothing more from memory.
    for (let i = 0; i < 64; i++) view.setUint32(0x40_0000 + 4 * i, 0x0000_0013, true);
    const pointer = (address: number, flags: bigint) => BigInt(address) >> 12n << 10n | flags;
    view.setBigUint64(TABLES - START + 8 * 2, pointer(TABLES + 4096, 1n), true);
    view.setBigUint64(TABLES - START + 4096, pointer(START, 0xcfn), true);
    const entry = TABLES + 4096 + 8 * 2;
    view.setBigUint64(entry - START, pointer(START + 0x40_0000, 0x0fn), true);
    const kernel = { kind: "raw", bytes } as const;
    const plain = testMachine({ kernel, memoryBytes: 16 << 20, tier: "interpreter" });
    const at = START + program.bytes().length - 4;
    while (plain.core.register(0, "pc") !== BigInt(at)) plain.run(1);
    const before = plain.icount;
    // The instruction that is fetched from the page comes behind the jump.
    plain.run(access === "fetch" ? 2 : 1);
    const hold = new MachineDebugger(testMachine({ kernel, memoryBytes: 16 << 20 }));
    hold.addPoint({ kind: "write", address: BigInt(entry), size: 8 });
    const told: WatchedAccess[] = [];
    hold.onWatch({ kind: "write", address: BigInt(entry), size: 8 }, (one) => told.push(one));
    const stop = hold.run(before + 50);
    assertEquals(stop.kind, "watchpoint", access);
    assertEquals(hold.machine.icount, before + (access === "fetch" ? 2 : 1), access);
    assertEquals(hold.machine.digest(), plain.digest(), access);
    assertEquals(
      told.map(({ kind, by, size }) => [kind, by, size]),
      [["write", "walk", 8]],
      access,
    );
    assertEquals(told[0]!.value & 0xc0n, access === "store" ? 0xc0n : 0x40n);
  }
});

Deno.test("what a device writes is seen before the next instruction; what the debugger writes is not", () => {
  const { bytes } = loopOver(() => {});
  const machine = testMachine({ kernel: { kind: "raw", bytes }, memoryBytes: 8 << 20 });
  const hold = new MachineDebugger(machine);
  machine.run(100);
  const point = { kind: "write", address: BigInt(EDGE), size: 8 } as const;
  hold.addPoint(point);
  const told: WatchedAccess[] = [];
  const detach = hold.onWatch({ ...point, kind: "access" }, (access) => told.push(access));
  hold.setMemory(0, BigInt(EDGE), new Uint8Array(8).fill(7));
  assertEquals(hold.run(10), { kind: "budget" });
  machine.memory.write(EDGE - 2, new Uint8Array(16));
  const stop = hold.run(10);
  assertEquals(stop, { kind: "watchpoint", hart: 0, point, address: BigInt(EDGE) });
  assertEquals(machine.icount, 110, "nothing was executed");
  assertEquals(told.map(({ by, icount }) => [by, icount]), [["dma", 110], ["dma", 110]]);
  machine.memory.write(EDGE - 64, new Uint8Array(64));
  machine.memory.write(EDGE + 8, new Uint8Array(64));
  assertEquals(hold.run(10), { kind: "budget" }, "beside the bytes");
  detach();
  hold.removePoint(point);
  machine.memory.write(EDGE, new Uint8Array(8));
  assertEquals([hold.run(10).kind, told.length], ["budget", 2]);
});

Deno.test("several owners share a page: the machine still ends by tohost", async () => {
  const file = new URL("../../guests/bare/pass.elf", import.meta.url);
  const kernel = await readImage(await Deno.readFile(file));
  const machine = testMachine({ kernel });
  const hold = new MachineDebugger(machine);
  const { tohost } = machine.plan;
  const own = { kind: "write", address: BigInt(tohost!), size: 8 } as const;
  const beside = { ...own, address: BigInt(tohost! + 8) };
  hold.addPoint(own);
  hold.addPoint(beside);
  assertEquals(hold.run(1000).kind, "watchpoint");
  hold.removePoint(own);
  assertEquals(hold.run(1000), { kind: "off", code: 0 });
});

Deno.test("watched pages of code that is patched leave the machine as it is on every tier", () => {
  let accesses = 0;
  forSeeds(8, (seed, rng) => {
    const harts = rng.pick([1, 2]);
    const kernel = { kind: "raw", bytes: patchingImage(rng, harts) } as const;
    const config = { kernel, harts, memoryBytes: 8 << 20 };
    const address = BigInt(0x8020_0000 + 4096 * rng.below(3) + 0xff0);
    const range = { kind: "access", address, size: 4096 } as const;
    const moments = [8000, 20_000];
    const run = (options: Partial<MachineConfig>, watches: boolean) => {
      const machine = testMachine({ ...config, ...options });
      const hold = new MachineDebugger(machine);
      const told: string[] = [];
      return moments.map((moment, i) => {
        if (watches && i === 1) {
          hold.onWatch(
            range,
            ({ hart, kind, gpa, size, value, icount }) =>
              told.push(`${icount} ${hart} ${kind} ${gpa} ${size} ${value}`),
          );
        }
        while (machine.icount < moment) hold.run(moment - machine.icount);
        const digest = machine.digest();
        patchByDevice(seed)(machine, moment);
        return { digest, told: [...told] };
      });
    };
    const expected = run({ tier: "interpreter" }, true);
    accesses += expected[1]!.told.length;
    const plain = run({ tier: "interpreter" }, false);
    assertEquals(expected.map(({ digest }) => digest), plain.map(({ digest }) => digest));
    const options = randomOptions(rng);
    assertEquals(run(options, true), expected, `seed ${seed} ${JSON.stringify(options)}`);
  });
  assert(accesses > 100, `only ${accesses} accesses were seen`);
});

Deno.test("a page that is not mapped yet is watched once it is; sizes have limits", () => {
  const program = new Program(START);
  openMemory(program);
  program.setLong(value, 8n << 60n | BigInt(TABLES) >> 12n);
  changeCsr(program, "csrrw", "satp", value);
  program.setLong(base, 0x4000_0000n);
  enterMode(program, "s");
  program.setLong(edge, BigInt(TABLES));
  // The gigabyte at `base` becomes the one of RAM.
  program.setLong(value, BigInt(START) >> 12n << 10n | 0xcfn);
  program.op("sd", { rs1: edge, rs2: value, imm: 8 });
  const mapped = program.here;
  for (let i = 0; i < 20; i++) program.word(markerBits("end"));
  program.setLong(edge, BigInt(DATA - START));
  program.op("add", { rd: base, rs1: base, rs2: edge });
  program.op("sd", { rs1: base, rs2: value });
  const stored = program.here;
  program.op("wfi");
  const bytes = new Uint8Array(TABLES + 4096 - START);
  bytes.set(program.bytes());
  const view = new DataView(bytes.buffer);
  view.setBigUint64(TABLES - START + 16, BigInt(START) >> 12n << 10n | 0xcfn, true);
  const machine = testMachine({ kernel: { kind: "raw", bytes }, memoryBytes: 8 << 20 });
  const hold = new MachineDebugger(machine);
  while (machine.core.register(0, "satp") === 0n || machine.core.word(0, "privilege") === 3) {
    hold.run(1);
  }
  const address = 0x4000_0000n + BigInt(DATA - START);
  assertEquals(hold.memory(0, address, 8).length, 0);
  const point = { kind: "write", address, size: 8 } as const;
  hold.addPoint(point);
  hold.addPoint({ kind: "execute", address: BigInt(mapped), size: 2 });
  assertEquals(hold.run(1000).kind, "breakpoint");
  assertEquals(hold.memory(0, address, 8).length, 8);
  assertEquals(hold.run(1000), { kind: "watchpoint", hart: 0, point, address });
  assertEquals(machine.core.register(0, "pc"), BigInt(stored));
  for (const size of [0, -1, 4097, 1.5]) {
    assertThrows(() => hold.addPoint({ ...point, size }), ConfigError, "1 to 4096");
  }
});
