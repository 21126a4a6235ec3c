/**
 * Debian's gdb on recordings of guests of ours, forwards and backwards, through the whole kernel (issue 4,
 * "gdb, both directions").
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type PowerOnOptions, VMKernel } from "../../mod.ts";
import { GDB, gdbOn } from "../_support/gdb.ts";
import { peerTest } from "../_support/peers.ts";

const CORRUPT = new URL("../../guests/corrupt/", import.meta.url).pathname;
const SOURCES = [`file ${CORRUPT}corrupt.elf`, `dir ${CORRUPT}`];

/** Records a guest of ours until it ends; what is typed waits for it when it begins. */
async function recorded(
  options: PowerOnOptions,
  body: (kernel: VMKernel, folder: string) => Promise<void>,
  typed = "",
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using kernel = await VMKernel.start();
    const record = { folder: `${folder}/record` };
    const vm = await kernel.powerOn({ ...options, record, waitsForDebugger: true });
    void vm.console.readable.pipeTo(new WritableStream());
    const debug = await vm.debug();
    const typing = vm.console.write(typed);
    await debug.detach();
    await typing;
    await vm.waitForExit();
    await body(kernel, record.folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What gdb prints on a replay, and what the replay's console shows then. */
async function replayed(
  kernel: VMKernel,
  folder: string,
  commands: readonly string[],
  more: { readonly historyBytes?: number } = {},
): Promise<{ readonly text: string; readonly shown: string }> {
  const vm = await kernel.replay(folder, { waitsForDebugger: true, ...more });
  const shown = new Response(vm.console.readable as BodyInit).text();
  const text = await gdbOn(vm, commands);
  await vm.waitForExit();
  return { text, shown: await shown };
}

for (const clock of ["virtual", "host", "exact"] as const) {
  peerTest(
    `gdb finds the store that corrupted a variable, backwards (clock ${clock})`,
    [GDB],
    async () => {
      await recorded({ guest: "corrupt", clock }, async (kernel, folder) => {
        const { text, shown } = await replayed(kernel, folder, [
          ...SOURCES,
          "break failed",
          "continue",
          "info registers",
          "p memory.total",
          "watch memory.total",
          "reverse-continue",
          "backtrace 1",
          "p memory.total",
          "p cursor - memory.notes",
          "reverse-stepi",
          "p memory.total",
          "delete 2",
          "continue",
          "info registers",
          "p memory.total",
        ]);
        assertMatch(text, /Breakpoint 1, failed \(sum=16000\) at \.\/corrupt.c:/);
        assertMatch(
          text,
          /Hardware watchpoint 2: memory.total\n\nOld value = (\d+)\nNew value = 16000\n/,
        );
        assertMatch(text, /#0 .*note \(now=(\d+)\)/, "the frame is the culprit");
        const [wrong, right, index, before, again] = valuesOf(text);
        assertEquals([right, index, before], ["16000", "9", "16000"], text);
        assert(wrong !== "16000");
        assertEquals(again, wrong);
        const [first, second] = text.match(/^ra .*\n(?:.*\n)*?^pc .*$/gm)!;
        assertEquals(second, first, "going forward again gives the same registers");
        assertEquals(shown.match(/corrupt: begins/g)?.length, 1);
        assertMatch(shown, /^corrupt: begins\ncorrupt: the accounts hold 16000, .*\n$/);
      });
    },
  );
}

/** Values that `p` printed, in order. */
function valuesOf(text: string): string[] {
  return [...text.matchAll(/^\$\d+ = (.*)$/gm)].map((match) => match[1]!);
}

peerTest("gdb goes back over lines, calls and instructions, and to both ends", [GDB], async () => {
  await recorded({ guest: "corrupt", clock: "virtual" }, async (kernel, folder) => {
    const { text } = await replayed(kernel, folder, [
      ...SOURCES,
      "break transfer",
      "continue",
      "continue 3",
      "delete",
      "finish",
      "reverse-step",
      "frame",
      "reverse-finish",
      "frame",
      "next",
      "next",
      "reverse-next",
      "reverse-next",
      "p $pc",
      "stepi",
      "reverse-stepi",
      "p $pc",
      "reverse-continue",
      "monitor when",
      "continue",
      "monitor when",
      "reverse-stepi",
      "monitor when",
      "stepi",
      "monitor when",
    ]);
    const frames = [...text.matchAll(/^#0 .* in (\w+) .*:(\d+)$/gm)].map((
      [, name, line],
    ) => [name, line]);
    assertEquals(frames, [["transfer", "78"], ["main", "105"]], text);
    const [first, second] = valuesOf(text);
    assertEquals(first, second);
    assertEquals(text.match(/No more reverse-execution history/g)?.length, 2, text);
    const places = [...text.matchAll(/^icount (\d+),/gm)].map(([, icount]) => Number(icount));
    assertEquals(places.length, 4);
    assertEquals(places[0], 0);
    const end = places[1]!;
    assertEquals(places.slice(1), [end, end - 1, end]);
  });
});

peerTest("a replay refuses what would change it; monitor says where it is", [GDB], async () => {
  await recorded({ guest: "corrupt", clock: "host" }, async (kernel, folder) => {
    const { text } = await replayed(kernel, folder, [
      ...SOURCES,
      "break failed",
      "continue",
      "set var $t0 = 5",
      "set var memory.total = 1",
      "monitor info",
      "monitor checkpoint list",
      "monitor seek 1000",
      "maintenance flush register-cache",
      "maintenance flush dcache",
      "monitor when",
      "p memory.total",
    ]);
    assertMatch(text, /a replay repeats what was recorded: it cannot be changed/);
    assertMatch(text, /memory.total|Cannot access memory/);
    assertMatch(text, /replay, \d+ instructions executed; \d+ checkpoints hold \d+ MiB/);
    assertMatch(text, /^icount 0, /m);
    assertMatch(text, /^icount 1000, guest time/m);
    assertEquals(valuesOf(text), ["0"], text);
  });
});

peerTest("gdb goes back behind a reset of the guest, with little history too", [GDB], async () => {
  await recorded({ guest: "corrupt", clock: "host" }, async (kernel, folder) => {
    for (const historyBytes of [1 << 29, 1 << 16]) {
      const { text, shown } = await replayed(kernel, folder, [
        ...SOURCES,
        "break failed",
        "continue",
        "watch memory.total",
        "reverse-continue",
        "reverse-continue",
        "reverse-continue",
        "reverse-continue",
        "monitor when",
        "delete",
        "continue",
      ], { historyBytes });
      assertMatch(text, /New value = 16000\n.* in note /, text);
      assertEquals(shown.match(/corrupt: begins/g)?.length, 2, shown);
      assertEquals(text.match(/^icount 0,/gm)?.length, 1, text);
    }
  }, "r");
});

for (const [harts, clock] of [[2, "exact"], [4, "host"], [4, "virtual"]] as const) {
  peerTest(
    `gdb goes back and forth over ${harts} harts and a disk (clock ${clock})`,
    [GDB],
    async () => {
      const path = await Deno.makeTempFile();
      try {
        await Deno.truncate(path, 64 * 512);
        const options = { guest: "storm", harts, clock, drives: [{ path }], seed: 7 } as const;
        await recorded(options, async (kernel, folder) => {
          const { text, shown } = await replayed(kernel, folder, [
            "monitor seek 900000",
            "maintenance flush register-cache",
            "maintenance flush dcache",
            "info threads",
            "thread 2",
            "p $pc",
            "stepi 20",
            "p $pc",
            "reverse-stepi 20",
            "p $pc",
            "stepi 20",
            "p $pc",
            "break *$pc",
            "continue",
            "monitor when",
            "p $x10 + $x11 + $x12 + $x13 + $x14 + $x15",
            "continue",
            "continue",
            "reverse-continue",
            "reverse-continue",
            "monitor when",
            "p $x10 + $x11 + $x12 + $x13 + $x14 + $x15",
            "delete",
            "reverse-continue",
            "continue",
          ]);
          assertEquals(text.match(/^[* ] \d +Thread \d "hart \d"/gm)?.length, harts, text);
          const [begin, end, back, again, sum, sumAgain] = valuesOf(text);
          assertEquals([back, again, sumAgain], [begin, end, sum], text);
          const [, there, thereAgain] = [...text.matchAll(/^icount (\d+),/gm)].map((m) => m[1]);
          assertEquals(thereAgain, there, text);
          assertMatch(shown, /^storm: begins[^]*storm: sum [0-9a-f]{16}\n$/);
          assertEquals(shown.match(/storm: sum/g)?.length, 1);
        });
      } finally {
        await Deno.remove(path);
      }
    },
  );
}
