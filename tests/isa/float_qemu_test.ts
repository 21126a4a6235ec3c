/**
 * Floating point against QEMU: one guest (guests/isa/float) computes every operation of the F and D
 * extensions in every rounding mode over edge-heavy operands, on our machine and on QEMU, and
 * prints checksums of results and flags. Millions of operand tuples; CHRONOVISOR_LONG=SECONDS goes
 * on with further seeds, CHRONOVISOR_SEED=N starts from another.
 */
import { assert, assertEquals } from "@std/assert";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { peerTest, runPeer } from "../_support/peers.ts";

const QEMU = "qemu-system-riscv64";
const GUEST = new URL("../../guests/isa/float/float.bin", import.meta.url);
/** Where start.S keeps the seed and the number of operand tuples of each operation. */
const SEED_OFFSET = 8;
const TUPLES_OFFSET = 16;
const TUPLES = 50_000;
const OPERATIONS = 48;
const MODES = ["rne", "rtz", "rdn", "rup", "rmm"];

function imageFor(guest: Uint8Array, seed: number, tuples: number): Uint8Array {
  const image = guest.slice();
  const view = new DataView(image.buffer);
  view.setBigUint64(SEED_OFFSET, BigInt(seed), true);
  view.setBigUint64(TUPLES_OFFSET, BigInt(tuples), true);
  return image;
}

const linesOf = (text: string) => text.trim().split(/\r?\n/);

function runOurs(image: Uint8Array): string[] {
  const machine = testMachine({ bios: { kind: "raw", bytes: image }, memoryBytes: 16 << 20 });
  const { stop, console } = runToEnd(machine);
  assertEquals(stop.kind, "off", "the float guest did not end");
  return linesOf(console);
}

async function runQemu(image: Uint8Array): Promise<string[]> {
  const file = await Deno.makeTempFile({ suffix: ".bin" });
  try {
    await Deno.writeFile(file, image);
    const board = ["-M", "virt", "-cpu", "rv64", "-m", "16M", "-bios", file, "-no-reboot"];
    const quiet = ["-display", "none", "-monitor", "none", "-serial", "stdio"];
    return linesOf(new TextDecoder().decode((await runPeer(QEMU, [...board, ...quiet])).stdout));
  } finally {
    await Deno.remove(file);
  }
}

/** Operations and modes whose checksums differ. */
function differences(ours: readonly string[], theirs: readonly string[]): string[] {
  assertEquals([ours.length, theirs.length], [OPERATIONS, OPERATIONS], "lines of ours and QEMU's");
  return ours.flatMap((line, i) => {
    const [name, ...sums] = line.split(" ");
    const [otherName, ...otherSums] = theirs[i]!.split(" ");
    assertEquals(name, otherName);
    return MODES.filter((_, mode) => sums[mode] !== otherSums[mode]).map((m) => `${name} ${m}`);
  });
}

/** Differences for a seed, and the fewest tuples that show one. */
async function compare(guest: Uint8Array, seed: number): Promise<string | undefined> {
  const differing = async (tuples: number) => {
    const image = imageFor(guest, seed, tuples);
    return differences(runOurs(image), await runQemu(image));
  };
  let worst = await differing(TUPLES);
  if (worst.length === 0) return undefined;
  let equal = 0;
  let unequal = TUPLES;
  while (unequal - equal > 1) {
    const middle = (equal + unequal) >> 1;
    const found = await differing(middle);
    if (found.length === 0) equal = middle;
    else [unequal, worst] = [middle, found];
  }
  return `seed ${seed}: first difference in tuple ${unequal} of ${worst.join(", ")}`;
}

peerTest("every float operation gives QEMU's bits and flags in every mode", [QEMU], async () => {
  const guest = await Deno.readFile(GUEST);
  const end = performance.now() + Number(Deno.env.get("CHRONOVISOR_LONG") ?? 0) * 1000;
  let seed = Number(Deno.env.get("CHRONOVISOR_SEED") ?? 1);
  do {
    const difference = await compare(guest, seed);
    assert(difference === undefined, difference);
    seed++;
  } while (performance.now() < end);
});
