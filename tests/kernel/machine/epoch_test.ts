/** Epoch digests: equal machines have equal ones, and what differs is named with both values. */
import { assertEquals } from "@std/assert";
import { Prng } from "../../../kernel/base/prng.ts";
import { diffEpochs, formatDifference, takeEpoch } from "../../../kernel/machine/epoch.ts";
import type { Machine } from "../../../kernel/machine/machine.ts";
import { DirtyPages } from "../../../kernel/memory/dirty_pages.ts";
import { offerBytes, testMachine } from "../../_support/machine.ts";
import { ProgramMaker } from "../../isa/random_program.ts";

/** A guest page that the program leaves alone. */
const FREE_PAGE = 900;

function pair(): { machine: Machine; dirty: DirtyPages }[] {
  const words = new ProgramMaker(new Prng(5), { slots: 200, float: false }).make();
  const kernel = { kind: "raw", bytes: new Uint8Array(words.buffer as ArrayBuffer) } as const;
  return (["translator", "interpreter"] as const).map((tier) => {
    const machine = testMachine({ kernel, memoryBytes: 4 << 20, harts: 2, tier });
    const dirty = new DirtyPages(machine.core.flags);
    dirty.start();
    machine.run(30_000);
    return { machine, dirty };
  });
}

/** What a change of one of two equal machines makes of their digests. */
function after(change: (machine: Machine) => void) {
  const [one, two] = pair();
  change(two!.machine);
  const recorded = takeEpoch(one!.machine, one!.dirty);
  return diffEpochs(recorded, takeEpoch(two!.machine, two!.dirty));
}

const write = (machine: Machine, value: number, page = FREE_PAGE) =>
  machine.memory.setInteger(machine.core.plan.ramStart + page * 4096, 4, value);

Deno.test("equal machines have equal digests, epoch for epoch", () => {
  const [one, two] = pair();
  for (let epoch = 0; epoch < 5; epoch++) {
    const digests = [one!, two!].map(({ machine, dirty }) => takeEpoch(machine, dirty));
    assertEquals(digests[0], digests[1]);
    assertEquals(diffEpochs(digests[0]!, digests[1]!), undefined);
    for (const { machine } of [one!, two!]) machine.run(3000);
  }
});

Deno.test("one bit of a register is named with its hart, field and both values", () => {
  const difference = after(({ core }) => {
    core.setRegister(1, "x", core.register(1, "x", 7) ^ 1n, 7);
    core.setWord(0, "frm", core.word(0, "frm") ^ 4);
  })!;
  const named = difference.registers.map(({ hart, field, index }) => [hart, field, index]);
  assertEquals(named, [[0, "frm", 0], [1, "x", 7]]);
  const { recorded, replayed } = difference.registers[1]!;
  assertEquals(BigInt(recorded) ^ BigInt(replayed), 1n);
  assertEquals([difference.pages, difference.devices, difference.machine], [[], [], false]);
  const text = formatDifference(difference);
  assertEquals(text.split("\n").length, 3);
  assertEquals(text.includes(`hart 1 x[7]: recorded ${recorded}, replayed ${replayed}`), true);
  assertEquals(text.includes("hart 0 frm: recorded"), true);
});

Deno.test("a page that only one side wrote is named, and so is one with another content", () => {
  const [one, two] = pair();
  write(one!.machine, 1);
  write(one!.machine, 0, FREE_PAGE + 1);
  write(two!.machine, 2);
  write(two!.machine, 0, FREE_PAGE + 2);
  const recorded = takeEpoch(one!.machine, one!.dirty);
  const difference = diffEpochs(recorded, takeEpoch(two!.machine, two!.dirty))!;
  const [both, first, second] = difference.pages;
  assertEquals(difference.pages.map(({ page }) => page - FREE_PAGE), [0, 1, 2]);
  assertEquals(both!.recorded === both!.replayed, false);
  assertEquals([first!.replayed, second!.recorded], [undefined, undefined]);
  const text = formatDifference(difference, 2);
  assertEquals(text.includes(`page ${FREE_PAGE + 1}: recorded 0x`), true);
  assertEquals(text.includes("replayed not written"), true);
  assertEquals(text.endsWith("and 1 more pages"), true);
});

Deno.test("devices, the machine's state, its clock and its icount are told apart", () => {
  const uart = after((machine) => offerBytes(machine, Uint8Array.of(3)))!;
  assertEquals(uart.devices.includes("uart0"), true);
  const state = after((machine) => machine.state.turnLeft++)!;
  assertEquals([state.machine, state.devices, state.registers], [true, [], []]);
  const clock = after((machine) => machine.core.setControl("timeAnchorTicks", 5n))!;
  assertEquals([clock.machine, clock.devices], [true, []]);
  const later = after((machine) => machine.run(1))!;
  assertEquals(later.icounts, { recorded: "30000", replayed: "30001" });
  assertEquals(formatDifference(state).includes("state of the machine or its clock"), true);
  assertEquals(formatDifference(uart).includes("device uart0"), true);
});
