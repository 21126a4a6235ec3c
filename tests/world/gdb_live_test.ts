/**
 * Debian's gdb on VMs that run: guests of ours and Debian's kernel with its symbols (issue 4, "gdb, both
 * directions").
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type PowerOnOptions, type VM, VMKernel } from "../../mod.ts";
import { parseSymbolText, writeSymbolElf } from "../../tools/symbols/mod.ts";
import { debianTest } from "../_support/debian.ts";
import { continueForASecond, GDB, gdbOn } from "../_support/gdb.ts";
import { hasPeer, peerTest } from "../_support/peers.ts";

const CORRUPT = new URL("../../guests/corrupt/", import.meta.url).pathname;
const SOURCES = [`file ${CORRUPT}corrupt.elf`, `dir ${CORRUPT}`];

/** A VM that waits for a debugger; what it prints. */
async function withVm(
  options: PowerOnOptions,
  body: (vm: VM, shown: Promise<string>) => Promise<void>,
): Promise<void> {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ waitsForDebugger: true, ...options });
  await body(vm, new Response(vm.console.readable as BodyInit).text());
}

/** Values that `p` printed, in order. */
function valuesOf(text: string): string[] {
  return [...text.matchAll(/^\$\d+ = (.*)$/gm)].map((match) => match[1]!);
}

peerTest("gdb changes a running guest of ours, which goes on when gdb leaves", [GDB], async () => {
  await withVm({ guest: "corrupt", clock: "host" }, async (vm, shown) => {
    const text = await gdbOn(vm, [
      ...SOURCES,
      "break transfer",
      "continue",
      "backtrace",
      "delete",
      "watch memory.total",
      "continue",
      "p memory.total == now",
      // The guest is told what it wants to hear, so that its check passes, then something else.
      "set var memory.total = 16000",
      "delete",
      "break failed",
      "tbreak sum_of_accounts",
      "continue",
      "set var accounts[0] = accounts[0] + 1",
      "set var $t6 = 77",
      "p $t6",
      "continue",
      "p sum",
      "detach",
    ]);
    assertMatch(text, /#0 +transfer .*\n#1 .* in main /);
    assertMatch(
      text,
      /Hardware watchpoint 2: memory.total\n\nOld value = 16000\nNew value = (\d+)/,
    );
    assertEquals(valuesOf(text), ["1", "77", "16001"], text);
    assertEquals(await vm.waitForExit(), { code: 1, why: "power-off" });
    assertMatch(await shown, /the accounts hold 16001, the total is \d+/);
  });
});

peerTest("a VM that is recorded refuses what its recording would not have", [GDB], async () => {
  const folder = await Deno.makeTempDir();
  try {
    const record = { folder: `${folder}/record` };
    await withVm({ guest: "corrupt", clock: "host", record }, async (vm, shown) => {
      const text = await gdbOn(vm, [
        ...SOURCES,
        "break transfer",
        "continue",
        "set var $t6 = 77",
        "reverse-stepi",
        "detach",
      ]);
      assertMatch(text, /Breakpoint 1, transfer/);
      assertMatch(
        text,
        /the VM is being recorded: a change from here would not be in the recording/,
      );
      assertMatch(text, /Target remote does not support this command/);
      assertEquals(await vm.waitForExit(), { code: 1, why: "power-off" });
      await shown;
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Debian's own names of its kernel's addresses, as a file for gdb, while the body runs. */
async function withSymbols(kernel: VMKernel, body: (file: string) => Promise<void>): Promise<void> {
  const vm = await kernel.powerOn({ guest: "debian", memory: "256M" });
  const { text } = await vm.exec(["cat", "/proc/kallsyms"]);
  await vm.powerOff();
  const file = await Deno.makeTempFile({ suffix: ".elf" });
  try {
    await Deno.writeFile(file, writeSymbolElf(parseSymbolText(text)));
    await body(file);
  } finally {
    await Deno.remove(file);
  }
}

debianTest("gdb debugs Debian's kernel on four harts by its symbols", async () => {
  if (!hasPeer(GDB)) return console.log(`${GDB} is not installed`);
  await using kernel = await VMKernel.start();
  await withSymbols(kernel, async (file) => {
    const options = { guest: "debian", memory: "256M", harts: 4, waitsForDebugger: true } as const;
    const vm = await kernel.powerOn({ ...options, clock: "host" });
    const text = await gdbOn(vm, [
      `symbol-file ${file}`,
      "break *kernel_init",
      "continue",
      "delete",
      "break *do_execveat_common",
      "continue",
      "backtrace",
      "info threads",
      "delete",
      "watch *(long *)&jiffies_64",
      "continue",
      "backtrace 3",
      "delete",
      ...continueForASecond(),
      "info threads",
      "p $_thread",
      "detach",
    ]);
    assertMatch(text, /Breakpoint 1, 0x[0-9a-f]+ in kernel_init/);
    assertMatch(text, /Breakpoint 2, 0x[0-9a-f]+ in do_execveat_common/);
    assertEquals(text.match(/^[* ] [1-4] +Thread \d "hart \d"/gm)?.length, 8, text);
    assertMatch(text, /Old value = (\d+)\nNew value = (\d+)/);
    const [, before, after] = /Old value = (\d+)\nNew value = (\d+)/.exec(text)!;
    assert(Number(after) > Number(before));
    assertMatch(text, /received signal SIGINT/);
    const { status, text: said } = await vm.exec("nproc");
    assertEquals([status, said.trim()], [0, "4"], "the guest goes on");
    await vm.powerOff();
  });
});
