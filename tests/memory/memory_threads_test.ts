/**
 * Saving and loading a VM's memory from another thread, while the guest writes all of it as fast as it can
 * (S17, S19.7): what was saved is what memory held, what is loaded is what the guest finds.
 */
import { assert, assertEquals } from "@std/assert";
import { newMemory } from "../../kernel/memory/memory_plan.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { resumeImage, saveImage } from "../../kernel/machine/machine_image.ts";
import { CopyAside } from "../../kernel/memory/copy_aside.ts";
import { LazySource } from "../../kernel/memory/lazy_source.ts";
import { START } from "../_support/hot_program.ts";
import { testMachine } from "../_support/machine.ts";
import { assertSameRam, copyRam } from "../_support/memory_services.ts";
import { MemoryThread } from "../_support/memory_threads.ts";
import { Program } from "../_support/program.ts";

const MEMORY = 24 << 20;
const PAGES = MEMORY / 4096;
/** Pages from here on are written in rounds. */
const WRITTEN = START + (4 << 20);

/** A guest that writes a word of each page, round after round, and adds what it finds there. */
function writer(config: Partial<MachineConfig> = {}): Machine {
  const program = new Program(START);
  const [start, end, at, value, step, found, last] = [20, 21, 22, 23, 24, 25, 26];
  program.setLong(start, BigInt(WRITTEN));
  program.setLong(end, BigInt(START + MEMORY));
  program.setLong(step, 4096n);
  const round = program.place();
  program.op("addi", { rd: at, rs1: start });
  const page = program.place();
  program.op("ld", { rd: last, rs1: at });
  program.op("add", { rd: found, rs1: found, rs2: last });
  program.op("addi", { rd: value, rs1: value, imm: 1 });
  program.op("sd", { rs1: at, rs2: value });
  program.op("add", { rd: at, rs1: at, rs2: step });
  program.to("bltu", page, { rs1: at, rs2: end });
  program.to("jal", round);
  return testMachine({
    kernel: { kind: "raw", bytes: program.bytes() },
    memoryBytes: MEMORY,
    translator: { heat: 2, batch: 1 },
    ...config,
  });
}

function shared(bytes: Uint8Array): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  return buffer;
}

Deno.test("a thread saves what memory held while the guest writes every page", async () => {
  using thread = new MemoryThread();
  const image = new SharedArrayBuffer(MEMORY);
  const plain = writer();
  for (const [slots, restAfter] of [[4, 0], [4, 500], [1024, 2000], [1, 1500]] as const) {
    const machine = writer();
    const { core } = machine;
    const aside = new CopyAside({ ...core, slots });
    machine.run(100_000);
    for (let save = 0; save < 3; save++) {
      const expected = copyRam(core);
      const written = save === 0 ? PAGES : aside.writtenPages().length;
      const area = aside.begin({ all: save === 0 });
      const { buffer: memory, plan: { ram } } = core;
      const done = thread.run({ kind: "read", area, memory, ram, image, restAfter });
      while (!aside.finished) machine.run(20_000);
      aside.end();
      const { pages, twice } = await done;
      assertEquals([pages, twice], [written, 0], `save ${save}`);
      assertSameRam(new Uint8Array(image).slice(), expected, `save ${save} with ${slots} slots`);
      machine.run(3000);
    }
    if (plain.icount < machine.icount) plain.run(machine.icount - plain.icount);
    if (plain.icount === machine.icount) assertEquals(machine.digest(), plain.digest());
  }
});

Deno.test("a guest that waits for a reader goes on when the reader gives up", async () => {
  using thread = new MemoryThread();
  const machine = writer();
  const { core } = machine;
  const aside = new CopyAside({ ...core, slots: 1 });
  const area = aside.begin({ all: true });
  const { buffer: memory, plan: { ram } } = core;
  const image = new SharedArrayBuffer(MEMORY);
  const task = { kind: "read", area, memory, ram, image, restAfter: 0, abortAfter: 50 } as const;
  const done = thread.run(task);
  while (!aside.aborted) machine.run(100_000);
  aside.abort();
  machine.run(100_000);
  assertEquals((await done).pages, 50);
  assertEquals(aside.writtenPages().length, PAGES);
});

Deno.test("a thread loads what the guest touches, and in the background, and the guest cannot tell", async () => {
  using thread = new MemoryThread();
  const plain = writer();
  plain.run(50_000);
  const image = structuredClone(saveImage(plain));
  const ram = copyRam(plain.core);
  const later = 200_000;
  plain.run(later);
  for (const background of [false, true]) {
    const memory = newMemory(plain.core.plan);
    const absent = Array.from({ length: PAGES }, (_, page) => page).filter((page) => page % 9 > 0);
    const source = LazySource.make(PAGES, absent);
    const present = new Uint8Array(memory.buffer, plain.core.plan.ram, MEMORY);
    for (let page = 0; page < PAGES; page += 9) {
      present.set(ram.subarray(page * 4096, (page + 1) * 4096), page * 4096);
    }
    const machine = writer({ restored: { memory, lazy: source.table } });
    resumeImage(machine, image);
    const done = thread.run({
      kind: "load",
      table: source.table,
      memory: memory.buffer as unknown as SharedArrayBuffer,
      ram: machine.core.plan.ram,
      image: shared(ram),
      seed: 1,
      background,
    });
    machine.run(later);
    const touched = machine.lazy!.counters.demanded;
    assertEquals(machine.digest(), plain.digest());
    const { demanded, background: alone, left } = machine.lazy!.counters;
    assertEquals([demanded + alone, left], [absent.length, 0]);
    if (!background) assert(touched > 1000, `${touched} pages were touched`);
    machine.lazy!.settle();
    assert(machine.lazy!.ended);
    assertEquals((await done).pages, absent.length);
  }
});
