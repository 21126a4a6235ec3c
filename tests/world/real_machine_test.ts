/** Claims about the whole of it: mod.ts, a worker with the built-in drivers, the real machine. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, FormatError, VMKernel } from "../../mod.ts";

/** A raw image for machine mode. */
function program(...words: number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.from(words).buffer);
}

/** Prints "A" on the serial port, then ends with code 3 through the test device. */
const PRINT_AND_FAIL = program(
  0x100002b7, // lui  t0, 0x10000
  0x04100313, // addi t1, zero, 'A'
  0x00628023, // sb   t1, 0(t0)
  0x001002b7, // lui  t0, 0x100
  0x00033337, // lui  t1, 0x33
  0x33330313, // addi t1, t1, 0x333
  0x0062a023, // sw   t1, 0(t0)
  0x0000006f, // j    .
);
/** Sends back what is typed. */
const ECHO = program(
  0x100002b7, // lui  t0, 0x10000
  0x0052c303, // lbu  t1, 5(t0)
  0x00137313, // andi t1, t1, 1
  0xfe030ce3, // beqz t1, -8
  0x0002c303, // lbu  t1, 0(t0)
  0x00628023, // sb   t1, 0(t0)
  0xfedff06f, // j    -20
);

const BARE = { bios: "none", memory: "4M" } as const;

Deno.test("a bare-metal program prints, and its code is the VM's", async () => {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ ...BARE, kernel: PRINT_AND_FAIL, clock: "virtual" });
  assertEquals(await new Response(vm.console.readable as BodyInit).text(), "A");
  assertEquals(await vm.waitForExit(), { code: 3, why: "power-off" });
  const { instructions, mips } = await vm.stats();
  assert(instructions >= 7 && instructions < 10 && mips > 0, `${instructions} instructions`);
});

Deno.test("what is typed reaches the guest, and it can be looked at while it waits", async () => {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ ...BARE, kernel: ECHO });
  const reader = vm.console.readable.pipeThrough(new TextDecoderStream()).getReader();
  const text = "the quick brown fox jumps over the lazy dog. ".repeat(20);
  await vm.console.write(text);
  let got = "";
  while (got.length < text.length) got += (await reader.read()).value ?? "";
  assertEquals(got, text);
  await vm.pause();
  const registers = await vm.registers(0);
  assertEquals([registers.privilege, registers.x[5]], ["M", "0x10000000"]);
  assert((await vm.memoryTree()).includes("uart0"));
  const touched = await vm.touchedBytes();
  assert(touched > 0 && touched % 4096 === 0, `${touched}`);
  assertEquals((await vm.digest()).digest.length, 16);
  await vm.powerOff();
  assertEquals(vm.state, "stopped");
});

Deno.test("the instruction trace names every instruction", async () => {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ ...BARE, kernel: PRINT_AND_FAIL, trace: true });
  const lines = (await new Response(vm.trace as BodyInit).text()).trim().split("\n");
  assert(lines.length >= 7, lines.join("\n"));
  assert(lines[0]!.includes("80000000"), lines[0]);
});

Deno.test("an image that cannot run here is refused by name of its fault", async () => {
  await using kernel = await VMKernel.start();
  const elf32 = new Uint8Array(64);
  elf32.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  await assertRejects(() => kernel.powerOn({ ...BARE, kernel: elf32 }), FormatError, "32-bit");
  assertEquals(kernel.vms, []);
});

Deno.test("guest memory that the guest has not touched is not resident", async () => {
  const main = new URL("../_support/resident_main.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", main],
    stdin: "null",
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const grown = new TextDecoder().decode(stdout).trim();
  if (grown === "unknown") return;
  assert(Number(grown) < 512, `3072 MiB of guest memory made ${grown} MiB resident`);
});

Deno.test("sizes of the caches and tiers change nothing that the guest does", async () => {
  await using kernel = await VMKernel.start();
  const counts = [];
  const variants = [
    {},
    { tlbEntries: 16, cacheElements: 1 },
    { tier: "interpreter" },
    { tier: "check" },
  ] as const;
  for (const sizes of variants) {
    const vm = await kernel.powerOn({
      ...BARE,
      kernel: PRINT_AND_FAIL,
      clock: "virtual",
      ...sizes,
    });
    assertEquals(await vm.waitForExit(), { code: 3, why: "power-off" });
    counts.push((await vm.stats()).instructions);
  }
  assertEquals(new Set(counts).size, 1);
  const odd = { ...BARE, kernel: PRINT_AND_FAIL, tlbEntries: 1000 };
  await assertRejects(() => kernel.powerOn(odd), ConfigError, "tlbEntries is 1000");
});
