/**
 * Differential tests against QEMU: random programs of every instruction class, in every privilege mode,
 * with and without page tables, must leave the same registers, memory and flags and have taken the same
 * traps. At least 100 million instructions; CHRONOVISOR_LONG=SECONDS goes on for longer. The seed of a
 * failing case is in its message; CHRONOVISOR_SEED=N starts from another.
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { peerTest, runPeer } from "../_support/peers.ts";
import { type Paging, type RunnerCase, runnerImage } from "./runner_image.ts";

const QEMU = "qemu-system-riscv64";
const RUNNER = new URL("../../guests/isa/runner/runner.bin", import.meta.url);
const INSTRUCTIONS = 100_000_000;
const FLOAT_SHARE = 3;
/** Extensions beyond ours are off, those that QEMU leaves off by default are on. */
const CPU = "rv64,h=false,zbc=false,svinval=true";

function randomCase(rng: Prng): RunnerCase {
  const privilege = rng.pick([0, 1, 1, 3] as const);
  return {
    privilege,
    paging: privilege === 3 ? "bare" : rng.pick<Paging>(["bare", "sv39", "sv39", "sv48", "sv57"]),
    float: rng.below(FLOAT_SHARE) > 0,
    slots: 200 + rng.below(1800),
    iterations: 1 + rng.below(600),
  };
}

function runOurs(image: Uint8Array, label: string): { text: string; instructions: number } {
  const machine = testMachine({ bios: { kind: "raw", bytes: image }, memoryBytes: 16 << 20 });
  const { stop, console } = runToEnd(machine, { most: 200_000_000 });
  assertEquals(stop.kind, "off", `${label}: the program did not end`);
  return { text: console, instructions: machine.icount };
}

async function runQemu(image: Uint8Array): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".bin" });
  try {
    await Deno.writeFile(file, image);
    // Two harts make QEMU's atomics real ones, whose faults are then store faults as specified.
    const board = ["-M", "virt", "-cpu", CPU, "-smp", "2", "-m", "16M", "-bios", file];
    const args = [...board, "-display", "none", "-monitor"];
    const { stdout } = await runPeer(QEMU, [...args, "none", "-serial", "stdio"]);
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(file);
  }
}

const NAMES = [
  "trap hash",
  "trap count",
  ...Array.from({ length: 31 }, (_, i) => `x${i + 1}`),
  "fcsr",
  ...Array.from({ length: 32 }, (_, i) => `f${i}`),
  "data",
  "tables",
];

/** Lines of a dump with their names. */
function named(text: string): string[] {
  return text.trim().split(/\r?\n/).map((line, i) => `${NAMES[i] ?? "?"} ${line}`);
}

peerTest("random programs do the same here and under QEMU", [QEMU], async () => {
  const runner = await Deno.readFile(RUNNER);
  const long = Number(Deno.env.get("CHRONOVISOR_LONG") ?? 0) * 1000;
  const end = performance.now() + long;
  let seed = Number(Deno.env.get("CHRONOVISOR_SEED") ?? 1);
  let instructions = 0;
  let cases = 0;
  while (instructions < INSTRUCTIONS || performance.now() < end) {
    const rng = new Prng(seed);
    const c = randomCase(rng);
    const image = runnerImage(runner, rng, c);
    const ours = runOurs(image, `seed ${seed}`);
    const theirs = await runQemu(image);
    assertEquals(
      named(ours.text),
      named(theirs),
      `seed ${seed}: ${JSON.stringify(c)} (left: ours, right: QEMU)`,
    );
    instructions += ours.instructions;
    cases++;
    seed++;
  }
  console.log(`${cases} programs, ${instructions} instructions, last seed ${seed - 1}`);
});
