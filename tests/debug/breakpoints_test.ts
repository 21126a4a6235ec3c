/**
 * Breakpoints and observers of execution: on code that is hot, patched, on two pages, in all modes and on
 * several harts, set and taken away while it runs, on every tier.
 *
 * Invariants checked: a debugger stops before exactly those instructions that a plain machine executes at
 * these addresses, at their icounts; at every moment the machine is the plain one.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../kernel/base/errors.ts";
import { Prng } from "../../kernel/base/prng.ts";
import { MachineDebugger } from "../../kernel/debug/machine_debugger.ts";
import { readImage } from "../../kernel/machine/image.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import {
  emitCompute,
  emitHandler,
  emitHotLoops,
  emitMaybe,
  enterMode,
  openMemory,
  seedRegisters,
  START,
} from "../_support/hot_program.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { type Executed, executedBy, lineOf, stopsUntil } from "../_support/observed.ts";
import { patchByDevice, patchingImage } from "../_support/patching_program.ts";
import { Program } from "../_support/program.ts";
import { forSeeds, randomOptions } from "../_support/tiers.ts";

const PROGRAMS = 8;
const LIMIT = 12_000;
const BENCH = new URL("../../guests/bench/bench.elf", import.meta.url);

interface Case {
  readonly config: Partial<MachineConfig>;
  /** Icounts at which points change and machines are compared. */
  readonly moments: readonly number[];
  readonly disturb: (machine: Machine, moment: number) => void;
}

/** What a plain machine executes between the moments, and its digests at them. */
function plainly({ config, moments, disturb }: Case): { parts: Executed[][]; digests: string[] } {
  const machine = testMachine({ ...config, tier: "interpreter" });
  const parts: Executed[][] = [];
  const digests: string[] = [];
  for (const moment of moments) {
    parts.push(executedBy(machine, moment));
    digests.push(machine.digest());
    disturb(machine, moment);
  }
  return { parts, digests };
}

/** A few addresses that are executed, those of instructions on two pages first. */
function pickAddresses(rng: Prng, executed: readonly Executed[]): bigint[] {
  const all = [...new Set(executed.map(({ pc }) => pc))];
  const straddling = all.filter((pc) => (pc & 4095n) === 4094n);
  const chosen = Array.from({ length: 1 + rng.below(5) }, () => rng.pick(all));
  return [...new Set([...straddling.slice(0, 2), ...chosen])];
}

/** Points that change at each moment: none before the first, so that the code there is hot. */
function assertStops(seed: number, rng: Prng, test: Case): void {
  const { parts, digests } = plainly(test);
  const addresses = test.moments.map((_, i) => i === 0 ? [] : pickAddresses(rng, parts[i]!));
  const expected = parts.map((part, i) =>
    part.filter(({ pc }) => addresses[i]!.includes(pc)).map(lineOf)
  );
  const total = expected.flat().length;
  assert(total > 0, `seed ${seed}: nothing to stop at`);
  for (
    const options of [{ tier: "interpreter" } as const, randomOptions(rng), randomOptions(rng)]
  ) {
    const hold = new MachineDebugger(testMachine({ ...test.config, ...options }));
    const { machine } = hold;
    test.moments.forEach((moment, i) => {
      const points = addresses[i]!.map((address) =>
        ({ kind: "execute", address, size: 2 }) as const
      );
      for (const point of points) hold.addPoint(point);
      const stops = stopsUntil(hold, moment, rng).map(lineOf);
      const where = `seed ${seed}, moment ${i}, ${JSON.stringify(options)}`;
      assertEquals(stops, expected[i], where);
      assertEquals(machine.digest(), digests[i], where);
      for (const point of points) hold.removePoint(point);
      test.disturb(machine, moment);
    });
  }
}

Deno.test("breakpoints stop before each execution on code that is patched", () => {
  forSeeds(PROGRAMS, (seed, rng) => {
    const harts = rng.pick([1, 1, 2, 3]);
    const kernel = { kind: "raw", bytes: patchingImage(rng, harts) } as const;
    const memoryBytes = 8 << 20;
    assertStops(seed, rng, {
      config: { kernel, harts, memoryBytes },
      moments: [LIMIT, 2 * LIMIT, 3 * LIMIT],
      disturb: patchByDevice(seed),
    });
  });
});

/** Hot loops in user mode, and calls of machine mode. */
function userImage(rng: Prng): Uint8Array<ArrayBuffer> {
  const program = new Program(START);
  openMemory(program);
  emitHandler(program, "m");
  seedRegisters(program, rng);
  enterMode(program, "u");
  // So that loops lie on two pages.
  for (let i = rng.below(900); i > 0; i--) program.op("addi");
  emitHotLoops(program, rng, () => {
    const kind = rng.below(8);
    if (kind === 0) program.op(rng.pick(["ecall", "ebreak"]));
    else if (kind === 1) emitMaybe(program, rng, () => emitCompute(program, rng));
    else if (kind === 2) program.half(0x0585);
    else emitCompute(program, rng);
  });
  return program.bytes();
}

Deno.test("breakpoints stop before each execution in user mode and in its handler", () => {
  forSeeds(PROGRAMS, (seed, rng) => {
    const kernel = { kind: "raw", bytes: userImage(rng) } as const;
    const config = { kernel, memoryBytes: 8 << 20 };
    assertStops(seed, rng, { config, moments: [LIMIT, 2 * LIMIT], disturb: () => {} });
  });
});

Deno.test("an observer of a range is told of each instruction in it, once", () => {
  forSeeds(PROGRAMS, (seed, rng) => {
    const harts = rng.pick([1, 2]);
    const kernel = { kind: "raw", bytes: patchingImage(rng, harts) } as const;
    const config = { kernel, harts, memoryBytes: 8 << 20 };
    const plain = testMachine({ ...config, tier: "interpreter" });
    const executed = executedBy(plain, LIMIT);
    const middle = rng.pick(executed).pc & ~1n;
    const bytes = rng.pick([2, 64, 4096, 10_000]);
    const address = middle - BigInt(rng.below(bytes) & ~1);
    const inRange = executed.filter(({ pc }) => pc >= address && pc < address + BigInt(bytes));
    const hold = new MachineDebugger(testMachine({ ...config, ...randomOptions(rng) }));
    const told: Executed[] = [];
    hold.onExecute({ address, bytes }, (execution) => told.push(execution));
    // A breakpoint in the range: the observer hears of its instruction once all the same.
    hold.addPoint({ kind: "execute", address: middle, size: 2 });
    stopsUntil(hold, LIMIT, rng);
    assertEquals(told.map(lineOf), inRange.map(lineOf), `seed ${seed}`);
    assertEquals(hold.machine.digest(), plain.digest());
  });
});

Deno.test("code on other pages stays in regions, and that of a page comes back when its points go", async () => {
  const kernel = await readImage(await Deno.readFile(BENCH));
  const machine = testMachine({
    kernel,
    bios: "builtin",
    append: "bench=sort scale=1",
    translator: { heat: 20, batch: 1 },
  });
  const hold = new MachineDebugger(machine);
  const inRegions = () => Number(machine.core.control("statRegionInstructions"));
  const share = (instructions: number) => {
    const [before, from] = [inRegions(), machine.icount];
    const pages = new Map<bigint, number>();
    for (let i = 0; i < 1000; i++) {
      machine.run(instructions / 1000);
      const page = machine.core.register(0, "pc") >> 12n;
      pages.set(page, (pages.get(page) ?? 0) + 1);
    }
    return { part: (inRegions() - before) / (machine.icount - from), pages };
  };
  machine.run(600_000);
  const { part, pages } = share(300_000);
  const [hottest] = [...pages].sort(([, a], [, b]) => b - a)[0]!;
  assert(part > 0.5, `only ${part} in regions before`);
  const elsewhere = hold.onExecute({ address: (hottest + 100n) << 12n, bytes: 4096 }, () => {});
  assert(share(200_000).part > 0.5, "points elsewhere cost nothing");
  let told = 0;
  const detach = hold.onExecute({ address: hottest << 12n, bytes: 4096 }, () => told++);
  const from = machine.icount;
  const during = share(200_000);
  assert(told > 0 && told <= machine.icount - from);
  assert(during.part < part, `${during.part} in regions while the page is observed`);
  elsewhere();
  detach();
  const after = share(200_000);
  assert(after.part > 0.5, `only ${after.part} in regions after`);
  assertEquals(machine.core.points.any, false);
});

Deno.test("each hart stops at a breakpoint at its entry, and events wait meanwhile", async () => {
  const kernel = await readImage(
    await Deno.readFile(new URL("../../guests/bare/smp.elf", import.meta.url)),
  );
  const plain = testMachine({ kernel, harts: 4 });
  runToEnd(plain);
  const hold = new MachineDebugger(testMachine({ kernel, harts: 4 }));
  const { machine } = hold;
  hold.addPoint({ kind: "execute", address: BigInt(START), size: 2 });
  const stops: number[] = [];
  for (;;) {
    const stop = hold.run(1_000_000);
    if (stop.kind !== "breakpoint") {
      assertEquals(stop, { kind: "off", code: 0 });
      break;
    }
    stops.push(stop.hart);
    const event = { kind: "console", device: "uart0", port: 0, bytes: Uint8Array.of(65) } as const;
    assertEquals(machine.gate.deliver(event), 0, "no event comes in before the instruction");
  }
  assertEquals(stops, [1, 2, 3, 0], "turns begin behind the first hart");
  assertEquals([machine.icount, machine.digest()], [plain.icount, plain.digest()]);
});

Deno.test("observers may leave when they are told, in the middle of a run", () => {
  forSeeds(3, (seed, rng) => {
    const kernel = { kind: "raw", bytes: patchingImage(rng, 1) } as const;
    const config = { kernel, memoryBytes: 8 << 20, ...randomOptions(rng) };
    const plain = testMachine(config);
    plain.run(LIMIT);
    const hold = new MachineDebugger(testMachine(config));
    const told: string[] = [];
    const once = (what: string, observe: (tell: () => void) => () => void) => {
      const leave = observe(() => {
        told.push(what);
        leave();
      });
    };
    for (let i = 0; i < 3; i++) {
      once("execute", (tell) => hold.onExecute({ address: BigInt(START), bytes: 1 << 15 }, tell));
      once("trap", (tell) => hold.onTrap({ exceptions: true, interrupts: true }, tell));
      const range = { kind: "read", address: 0x8021_0000n, size: 4096 } as const;
      once("watch", (tell) => hold.onWatch(range, tell));
    }
    while (hold.machine.icount < LIMIT) hold.run(LIMIT - hold.machine.icount);
    for (const what of ["execute", "watch"]) {
      assertEquals(told.filter((each) => each === what).length, 3, `seed ${seed}, ${what}`);
    }
    assertEquals(hold.machine.digest(), plain.digest());
    assertEquals(hold.machine.core.points.any, false);
  });
});

Deno.test("addresses and lengths that cannot be are refused with their reason", () => {
  const hold = new MachineDebugger(testMachine({
    kernel: { kind: "raw", bytes: new Uint8Array(16) },
  }));
  const odd = { kind: "execute", address: 0x8000_0001n, size: 2 } as const;
  assertThrows(() => hold.addPoint(odd), ConfigError, "even addresses");
  for (const bytes of [0, -2, 1.5, 1 << 30]) {
    assertThrows(() => hold.onExecute({ address: 0n, bytes }, () => {}), ConfigError, "bytes");
  }
  const last = { address: (1n << 64n) - 2n, bytes: 4 };
  assertThrows(() => hold.onExecute(last, () => {}), ConfigError, "where addresses do");
});
