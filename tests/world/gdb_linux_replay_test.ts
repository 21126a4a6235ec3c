/**
 * Debian's gdb on a recording of Debian itself, with its kernel's symbols: forwards to a breakpoint,
 * backwards to another one and to the store that changed a variable of the kernel (issue 4, "gdb, both
 * directions").
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { VMKernel } from "../../mod.ts";
import { parseSymbolText, writeSymbolElf } from "../../tools/symbols/mod.ts";
import { debianTest } from "../_support/debian.ts";
import { GDB, gdbOn } from "../_support/gdb.ts";
import { hasPeer } from "../_support/peers.ts";

/** Places in the text that `monitor when` printed. */
function placesOf(text: string): number[] {
  return [...text.matchAll(/^icount (\d+),/gm)].map((match) => Number(match[1]));
}

debianTest("gdb goes back in a recording of Debian by its kernel's symbols", async () => {
  if (!hasPeer(GDB)) return console.log(`${GDB} is not installed`);
  const folder = await Deno.makeTempDir();
  try {
    await using kernel = await VMKernel.start();
    const vm = await kernel.powerOn({
      guest: "debian",
      clock: "host",
      record: { folder: `${folder}/record` },
    });
    void vm.console.readable.pipeTo(new WritableStream());
    const { text: kallsyms } = await vm.exec("cat /proc/kallsyms");
    await vm.exec("for i in 1 2 3 4 5; do ls / > /dev/null; done");
    await vm.powerOff();
    const symbols = `${folder}/kernel.elf`;
    await Deno.writeFile(symbols, writeSymbolElf(parseSymbolText(kallsyms)));
    const replay = await kernel.replay(`${folder}/record`, { waitsForDebugger: true });
    void replay.console.readable.pipeTo(new WritableStream());
    const text = await gdbOn(replay, [
      `symbol-file ${symbols}`,
      "break *begin_new_exec",
      "ignore 1 6",
      "continue",
      "backtrace 2",
      "monitor when",
      "p *(long *)&total_forks",
      "delete",
      "break *do_exit",
      "reverse-continue",
      "monitor when",
      "delete",
      "watch *(long *)&total_forks",
      "reverse-continue",
      "monitor when",
      "p *(long *)&total_forks",
      "continue",
      "p *(long *)&total_forks",
      "set var *(long *)&total_forks = 1",
      "monitor checkpoint list",
      "detach",
    ]);
    assertMatch(text, /Breakpoint 1, 0x[0-9a-f]+ in begin_new_exec/);
    assertMatch(text, /#0 +0x[0-9a-f]+ in begin_new_exec/);
    assertMatch(text, /Breakpoint 2, 0x[0-9a-f]+ in do_exit/);
    const [exec, exit, store] = placesOf(text);
    assert(exit! < exec! && store! < exit!, `${exec}, ${exit}, ${store}`);
    const [, old, now] = /Old value = (\d+)\nNew value = (\d+)/.exec(text)!.map(Number);
    assertEquals(now, old! - 1, "backwards, the fork is undone");
    const values = [...text.matchAll(/^\$\d+ = (\d+)$/gm)].map((match) => Number(match[1]));
    assertEquals(values.slice(1), [now, old], "and done again forwards");
    assertMatch(text, /Cannot access memory/);
    assertEquals(
      (await replay.waitForExit()).replay?.kind,
      "end",
      "the replay goes on without gdb",
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
