/**
 * Machines that are made from an image: in a memory that somebody else made, with RAM that comes later, with
 * disk requests that were in flight (S17.9, S19.6), twice from one image.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Broken } from "../../../kernel/base/assert.ts";
import { FormatError } from "../../../kernel/base/errors.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import { newMemory } from "../../../kernel/memory/memory_plan.ts";
import { readImage } from "../../../kernel/machine/image.ts";
import type { Machine, MachineConfig, RestoredMemory } from "../../../kernel/machine/machine.ts";
import {
  type MachineImage,
  resumeImage,
  saveImage,
} from "../../../kernel/machine/machine_image.ts";
import { planOptions } from "../../../kernel/machine/machine_plan.ts";
import { DISK_REQUESTS_MAXIMUM, PHASE } from "../../../kernel/machine/machine_state.ts";
import { planMemory } from "../../../kernel/memory/memory_plan.ts";
import { touchedBytes } from "../../../kernel/machine/digest.ts";
import { stateClusters } from "../../../kernel/replay/start_state.ts";
import { START } from "../../_support/hot_program.ts";
import { testMachine } from "../../_support/machine.ts";
import { copyRam, Loader, somePages } from "../../_support/memory_services.ts";
import { Program } from "../../_support/program.ts";

const HELLO = new URL("../../../guests/hello/", import.meta.url);
const MEMORY = 16 << 20;
/** Instructions between two looks. */
const STEP = 400;

/** A guest with a disk whose answers come some steps after they were asked for. */
class DiskGuest {
  #asked: {
    readonly disk: number;
    readonly tag: number;
    readonly due: number;
    data: Uint8Array;
  }[] = [];
  step = 0;
  /** Requests that left, and when: by number of the step. */
  readonly left: string[] = [];

  constructor(
    readonly machine: Machine,
    private readonly disk: Uint8Array,
    private readonly delay: number,
  ) {}

  /** Runs a step; gives the digest behind it, undefined when the machine has ended. */
  advance(): string | undefined {
    const { machine } = this;
    const end = machine.icount + STEP;
    while (machine.icount < end) {
      this.#exchange();
      const stop = machine.run(end - machine.icount);
      if (stop.kind === "off") return undefined;
      this.#exchange(stop.kind === "await" || stop.kind === "idle");
      if (stop.kind === "idle" && stop.wakeTicks !== Infinity) machine.skipTo(stop.wakeTicks);
    }
    this.#exchange();
    this.step++;
    return machine.digest();
  }

  /** Takes what leaves; answers what is due, or all. */
  #exchange(all = false): void {
    const { machine } = this;
    for (const output of machine.takeOutputs()) {
      if (output.kind !== "disk") continue;
      const { tag, sector, length, kind } = output.request;
      assertEquals(kind, "read");
      this.left.push(`${this.step} ${output.disk} ${tag} ${sector} ${length}`);
      const data = this.disk.slice(sector * 512, sector * 512 + length);
      this.#asked.push({ disk: output.disk, tag, due: this.step + this.delay, data });
    }
    const due = this.#asked.filter((request) => all || request.due <= this.step);
    this.#asked = this.#asked.filter((request) => !due.includes(request));
    for (const { disk, tag, data } of due) {
      machine.gate.deliver({ kind: "disk", device: `disk${disk}`, tag, status: 0, data });
    }
  }
}

const kernel = await readImage(await Deno.readFile(new URL("hello.elf", HELLO)));
const disk = await Deno.readFile(new URL("disk.img", HELLO));

function hello(config: Partial<MachineConfig> = {}): Machine {
  return testMachine({
    kernel,
    bios: "builtin",
    memoryBytes: MEMORY,
    disks: [{ sectors: disk.length / 512, readOnly: true }],
    translator: { heat: 2, batch: 1 },
    ...config,
  });
}

/** What is restored from an image and a copy of RAM, of which some pages, at least so many, come later. */
function restored(ram: Uint8Array, rng: Prng, least = 0): RestoredMemory {
  const plan = planMemory(planOptions({ memoryBytes: MEMORY, harts: 1, clock: "virtual" }));
  const memory = newMemory(plan);
  let absent = somePages(rng, plan.ramPages);
  while (absent.length < least) absent = somePages(rng, plan.ramPages);
  const loader = new Loader(memory, plan, ram, absent, rng);
  return { memory, lazy: loader.source.table, wait: loader.wait };
}

/** Slots of requests that are in flight and have no result. */
function inFlight({ state, gate }: Machine): number[] {
  const slots = Array.from({ length: DISK_REQUESTS_MAXIMUM }, (_, slot) => slot);
  return slots.filter((slot) => state.diskDue[slot] !== 0 && !gate.diskResults.has(slot));
}

Deno.test("a machine with disk requests in flight, restored twice, is the same at every icount", () => {
  const rng = new Prng(7);
  const guest = new DiskGuest(hello(), disk, 2);
  const kept: { step: number; image: MachineImage; ram: Uint8Array; due: number[] }[] = [];
  const digests: (string | undefined)[] = [];
  for (let digest = guest.advance(); digest !== undefined; digest = guest.advance()) {
    digests.push(digest);
    const { machine } = guest;
    if (inFlight(machine).length === 0) continue;
    const due = [...machine.state.diskDue];
    kept.push({ step: guest.step, image: saveImage(machine), ram: copyRam(machine.core), due });
  }
  assert(kept.length >= 2, "requests were in flight");
  for (const { step, image, ram, due } of kept) {
    for (const tier of ["translator", "interpreter"] as const) {
      const machine = hello({ tier, restored: restored(ram, rng) });
      resumeImage(machine, structuredClone(image));
      const asked = inFlight(machine);
      assertEquals([...machine.state.diskDue], due, "a request ends when it would have ended");
      const again = new DiskGuest(machine, disk, 1);
      const seen = [];
      for (let digest = again.advance(); digest !== undefined; digest = again.advance()) {
        seen.push(digest);
      }
      assertEquals(seen, digests.slice(step), `from step ${step} with ${tier}`);
      const first = again.left.filter((line) => line.startsWith("0 ")).map((line) =>
        Number(line.split(" ")[2])
      );
      assertEquals(first.slice(0, asked.length).sort(), asked.sort());
      assertEquals(machine.state.phase, PHASE.off);
    }
  }
});

Deno.test("an end of a request that its device has forgotten is made up, and held until it is due", () => {
  const machine = hello();
  machine.run(1000);
  machine.takeOutputs();
  machine.state.diskDue[9] = machine.ticks() + 500;
  const image = saveImage(machine);
  const other = hello({ restored: restored(copyRam(machine.core), new Prng(1)) });
  resumeImage(other, image);
  assertEquals(other.gate.diskResults.get(9), { status: 0, data: undefined });
  assertEquals(other.digest(), machine.digest());
  assert(other.gate.deliverDueDisks(machine.state.diskDue[9]!));
  assertEquals(other.state.diskDue[9], 0);
});

Deno.test("tohost ends a machine that was restored as it ends the one that was loaded", () => {
  const program = new Program(START);
  const toHost = START + 0x8000;
  program.setLong(11, BigInt(toHost));
  for (let i = 0; i < 100; i++) program.op("addi", { rd: 5, rs1: 5, imm: 1 });
  program.set(12, 2 * 21 + 1);
  program.op("sd", { rs1: 11, rs2: 12 });
  const config = { kernel: { kind: "raw", bytes: program.bytes() }, memoryBytes: MEMORY } as const;
  const machine = testMachine(config);
  machine.watchToHost(toHost);
  machine.run(50);
  const image = structuredClone(saveImage(machine));
  assertEquals(image.toHost, toHost);
  const other = testMachine({
    memoryBytes: MEMORY,
    restored: restored(copyRam(machine.core), new Prng(2)),
  });
  assertEquals(other.toHost, undefined);
  resumeImage(other, image);
  assertEquals(other.run(1000), { kind: "off", code: 21 });
  assertEquals(machine.run(1000), { kind: "off", code: 21 });
  assertEquals(other.digest(), machine.digest());
  for (const toHost of [-1, 0.5, "8"]) {
    const broken = { ...image, toHost } as unknown as MachineImage;
    assertThrows(() => resumeImage(machine, broken), FormatError, "tohost");
  }
});

Deno.test("a recording that begins with pages that are not loaded has what they hold", () => {
  const machine = hello();
  machine.run(5000);
  machine.takeOutputs();
  const image = saveImage(machine);
  const expected = [...stateClusters(machine)];
  const other = hello({ restored: restored(copyRam(machine.core), new Prng(3), 1) });
  resumeImage(other, image);
  other.takeOutputs();
  const { left } = other.lazy!.counters;
  assert(left > 0 && touchedBytes(other) >= left * 4096);
  assertEquals(other.lazy!.counters.left, left, "a statistic loads nothing");
  assertEquals([...stateClusters(other)], expected);
  assertEquals(other.lazy!.counters.left, 0);
});

Deno.test("a machine that is made to be restored holds nothing, and takes the memory of its plan alone", () => {
  const empty = hello({ restored: {} });
  assertEquals(empty.core.hash.ram(), hello({ restored: {} }).core.hash.ram());
  assertEquals(copyRam(empty.core).some((byte) => byte !== 0), false);
  const { wasmPages } = empty.core.plan;
  const memories = [
    new WebAssembly.Memory({ initial: wasmPages + 1, maximum: wasmPages + 1, shared: true }),
    new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages }),
  ];
  assertThrows(() => hello({ restored: { memory: memories[0]! } }), Broken, "not the plan's");
  assertThrows(() => hello({ restored: { memory: memories[1]! } }), Broken, "shared");
});
