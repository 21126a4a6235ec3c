/**
 * Differential tests against QEMU: random programs of every instruction class, in every privilege mode,
 * with and without page tables, must leave the same registers, memory and flags and have taken the same
 * traps. At least 100 million instructions; CHRONOVISOR_LONG=SECONDS goes on for longer. The seed of a
 * failing case is in its message; CHRONOVISOR_SEED=N starts from another.
 */
import { assertEquals } from "@std/assert";
import { latin1 } from "../../kernel/base/bytes.ts";
import { Prng } from "../../kernel/base/prng.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { peerTest } from "../_support/peers.ts";
import { type Paging, type RunnerCase, runnerImage } from "./runner_image.ts";

const QEMU = "qemu-system-riscv64";
const RUNNER = new URL("../../guests/isa/runner/runner.bin", import.meta.url);
const INSTRUCTIONS = 100_000_000;
/** A program that ends does so long before. */
const INSTRUCTIONS_EACH = 200_000_000;
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

/** What one side did with a program. */
interface Outcome {
  readonly text: string;
  /** A machine-mode program can, by chance, ruin the runner; then it must on both sides. */
  readonly ended: boolean;
}

/** Regions as early as can be. */
const EAGER = { heat: 2, batch: 1 };

/** Runs on both tiers, which must agree in everything. */
function runOurs(image: Uint8Array, label: string): Outcome & { readonly instructions: number } {
  const bios = { kind: "raw", bytes: image } as const;
  const [interpreter, translator] = (["interpreter", "translator"] as const).map((tier) => {
    const machine = testMachine({ bios, memoryBytes: 16 << 20, tier, translator: EAGER });
    const { stop, console } = runToEnd(machine, { most: INSTRUCTIONS_EACH });
    const { icount: instructions } = machine;
    const digest = machine.digest();
    return { text: console, ended: stop.kind === "off", instructions, digest };
  });
  assertEquals(translator, interpreter, `${label}: left the translator, right the interpreter`);
  return translator!;
}

/**
 * Gives a program that ends here minutes under QEMU, and another a few seconds in which to print more than it
 * has here, once it has printed that.
 */
async function runQemu(image: Uint8Array, { ended, text: ours }: Outcome): Promise<Outcome> {
  const file = await Deno.makeTempFile({ suffix: ".bin" });
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await Deno.writeFile(file, image);
    // Two harts make QEMU's atomics real ones, whose faults are then store faults as specified.
    const board = ["-M", "virt", "-cpu", CPU, "-smp", "2", "-m", "16M", "-bios", file];
    const args = [...board, "-display", "none", "-monitor"];
    const late = new AbortController();
    const { signal } = late;
    const giveUpAfter = (seconds: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => late.abort(), seconds * 1000);
    };
    giveUpAfter(240);
    const command = new Deno.Command(QEMU, {
      args: [...args, "none", "-serial", "stdio"],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
      signal,
    });
    const child = command.spawn();
    let text = "";
    const enough = () => !ended && text.length >= ours.length;
    if (enough()) giveUpAfter(5);
    for await (const bytes of child.stdout) {
      const before = enough();
      text += latin1(bytes);
      if (enough() && !before) giveUpAfter(5);
    }
    await child.status;
    return { text, ended: !signal.aborted };
  } finally {
    clearTimeout(timer);
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
    const theirs = await runQemu(image, ours);
    const label = `seed ${seed}: ${JSON.stringify(c)} (left: ours, right: QEMU)`;
    assertEquals(named(ours.text), named(theirs.text), label);
    assertEquals(ours.ended, theirs.ended, `ends, ${label}`);
    instructions += ours.instructions;
    cases++;
    seed++;
  }
  console.log(`${cases} programs, ${instructions} instructions, last seed ${seed - 1}`);
});
