/**
 * The built-in firmware and Debian's OpenSBI, judged by one guest that calls every function (guests/isa/sbi,
 * RISC-V SBI 2.0): the same lines from the built-in firmware, from OpenSBI here, and from it under QEMU.
 */
import { assert, assertEquals } from "@std/assert";
import { readImage } from "../../kernel/machine/image.ts";
import { debianTest, openSbi } from "../_support/debian.ts";
import { golden } from "../_support/golden.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { peerReason, runPeer } from "../_support/peers.ts";

const GUEST = new URL("../../guests/isa/sbi/sbi.elf", import.meta.url);
const FIRST_LINE = "specification, at least 2.0";
const QEMU = "qemu-system-riscv64";

/** The guest's own lines, without what a firmware prints before. */
function linesOf(console: string): string[] {
  const lines = console.split(/\r?\n/);
  const start = lines.findIndex((line) => line.startsWith(FIRST_LINE));
  assert(start >= 0, `the guest printed nothing: ${console.slice(-500)}`);
  return lines.slice(start);
}

async function ours(bios: Parameters<typeof testMachine>[0]["bios"]): Promise<string[]> {
  const kernel = await readImage(await Deno.readFile(GUEST));
  const machine = testMachine({ kernel, bios: bios ?? "builtin", harts: 2, memoryBytes: 64 << 20 });
  const { stop, console } = runToEnd(machine, { most: 400_000_000 });
  assertEquals(stop, { kind: "off", code: 0 }, console);
  return linesOf(console);
}

Deno.test("the built-in firmware answers every call as specified", async () => {
  await golden("firmware/calls", (await ours("builtin")).join("\n"));
});

debianTest("OpenSBI answers as the built-in firmware does", async () => {
  const bios = { kind: "raw", bytes: await openSbi() } as const;
  assertEquals(await ours(bios), await ours("builtin"));
});

debianTest("the built-in firmware answers as OpenSBI under QEMU", async () => {
  if (peerReason(QEMU) !== undefined) return;
  const firmware = await Deno.makeTempFile();
  try {
    await Deno.writeFile(firmware, await openSbi());
    const board = ["-M", "virt", "-cpu", "rv64,h=false", "-smp", "2", "-m", "64M"];
    const images = ["-bios", firmware, "-kernel", GUEST.pathname];
    const consoles = ["-display", "none", "-monitor", "none", "-serial", "stdio"];
    const { stdout } = await runPeer(QEMU, [...board, ...images, ...consoles]);
    assertEquals(linesOf(new TextDecoder().decode(stdout)), await ours("builtin"));
  } finally {
    await Deno.remove(firmware);
  }
});
