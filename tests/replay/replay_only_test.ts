/**
 * Replay-only code (S13): it runs on a replay, where it was jumped over in the recording, and leaves nothing
 * behind but what it printed, and that on the side channel alone.
 */
import { assert, assertEquals } from "@std/assert";
import { latin1 } from "../../kernel/base/bytes.ts";
import { Prng } from "../../kernel/base/prng.ts";
import { CORE_OFFSET, markerBits } from "../../kernel/cpu/isa/marker.ts";
import { readImage } from "../../kernel/machine/image.ts";
import type { MachineConfig } from "../../kernel/machine/machine.ts";
import { type CoreReport, VMKernel } from "../../mod.ts";
import { START } from "../_support/hot_program.ts";
import { observeReplay } from "../_support/observed_replay.ts";
import { type Place, Program } from "../_support/program.ts";
import { recordStorm } from "../_support/recording.ts";

const REPLAY = await Deno.readFile(new URL("../../guests/replay/replay.elf", import.meta.url));
const MAIN = new URL("../../tools/cli/main.ts", import.meta.url).pathname;
const CONSOLE = "abcdef\n";
/** What the cores of guests/replay print, but for those of its hot loop. */
const LAST = [
  ["rewrite\nordinary output of a core\n", "end"],
  ["outer\nouter again\n", "end"],
  ["endless\n", "budget"],
  ["faulting\n", "budget"],
  ["straddle\n", "end"],
];

function checkReports(reports: readonly CoreReport[]): void {
  assertEquals(reports.length, 2005);
  const hot = reports.slice(0, 2000);
  assertEquals(new Set(hot.map(({ pc }) => pc)).size, 1);
  const spoke = hot.flatMap(({ output }, i) => output.length > 0 ? [[i, latin1(output)]] : []);
  assertEquals(spoke, [[0, "hot\n"], [1000, "hot\n"]]);
  assert(hot.every(({ ended, executed }) => ended === "end" && executed < 100));
  const last = reports.slice(2000).map(({ output, ended }) => [latin1(output), ended]);
  assertEquals(last, LAST);
  assertEquals(reports[2004]!.pc & 4095n, 4094n, "a marker on two pages");
  const places = reports.map(({ icount }) => icount);
  assertEquals(places, places.toSorted((a, b) => a - b));
}

for (const clock of ["virtual", "host", "exact"] as const) {
  Deno.test(`cores run on replay alone and leave nothing behind, clock ${clock}`, async () => {
    const kernel = await readImage(REPLAY);
    const storm = { rng: new Prng(7), slices: [700, 5000], most: 1_000_000 };
    const config = { kernel, bios: "none", clock } as const;
    const recording = recordStorm(config, new Uint8Array(4096), storm);
    assertEquals(recording.console, CONSOLE);
    const tiers: Partial<MachineConfig>[] = [
      { tier: "interpreter" },
      { tier: "translator", translator: { heat: 5, batch: 1 } },
    ];
    let first: readonly CoreReport[] | undefined;
    for (const options of tiers) {
      for (const cores of [false, true]) {
        const slice = () => cores ? 3000 : 50_000_000;
        const replay = observeReplay(recording, options, { cores, slice });
        assertEquals(replay.stop, { kind: "end", why: "power-off", code: 0 });
        assertEquals(replay.console, CONSOLE);
        assertEquals(replay.machine.digest(), recording.digest);
        if (!cores) assertEquals(replay.reports, []);
        else {
          checkReports(replay.reports);
          assertEquals(replay.reports, first ??= replay.reports);
        }
      }
    }
  });
}

/** A core that sends a page's bytes many times, so that they are more than a message holds. */
function talkative(times: number): Uint8Array<ArrayBuffer> {
  const [a0, a1, count, test, command] = [10, 11, 12, 13, 14];
  const program = new Program(START | 0);
  const [behind, data]: Place[] = [{}, {}];
  program.word(markerBits("begin"));
  program.to("jal", behind!);
  assertEquals(program.here - (START | 0), CORE_OFFSET);
  program.address(a0, data!);
  program.set(a1, 60_000);
  program.set(count, times);
  const round = program.place();
  program.word(markerBits("write"));
  program.op("addi", { rd: count, rs1: count, imm: -1 });
  program.to("bne", round, { rs1: count });
  program.word(markerBits("end"));
  program.place(behind);
  program.set(test, 0x10_0000);
  program.set(command, 0x5555);
  program.op("sw", { rs1: test, rs2: command });
  const here = program.place();
  program.to("jal", here);
  program.place(data);
  for (let i = 0; i < 15_000; i++) program.word(i);
  return program.bytes();
}

/** Records a bare guest in a folder, and gives it to the body. */
async function withRecording(
  kernel: Uint8Array<ArrayBuffer>,
  body: (folder: string, vms: VMKernel) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using vms = await VMKernel.start();
    const record = `${folder}/recording`;
    const options = { kernel, bios: "none", memory: "16M", clock: "virtual", record } as const;
    const vm = await vms.powerOn(options);
    assertEquals((await vm.waitForExit()).code, 0);
    await body(record, vms);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function allText(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream as BodyInit).text();
}

Deno.test("what a core prints arrives whole, and only where it is listened to", async () => {
  await withRecording(talkative(20), async (folder, vms) => {
    const reports: CoreReport[] = [];
    const replay = await vms.replay(folder, {
      verify: true,
      onReplayOnly: (report) => reports.push(report),
    });
    assertEquals(await allText(replay.console.readable), "");
    const exit = await replay.waitForExit();
    assertEquals([exit.replay?.kind, reports.length], ["end", 1]);
    const { output, pc, hart, icount, ended, executed } = reports[0]!;
    assertEquals({ pc, hart, icount, ended }, {
      pc: BigInt(START),
      hart: 0,
      icount: 0,
      ended: "end",
    });
    assertEquals(executed, 6 + 3 * 20);
    assertEquals(output.length, 20 * 60_000);
    const words = new Uint32Array(output.slice().buffer);
    assert(words.every((word, i) => word === i % 15_000));
    const none = await vms.replay(folder, {
      verify: true,
      replayOnly: false,
      onReplayOnly: () => assert(false, "no core runs"),
    });
    assertEquals((await none.waitForExit()).replay?.kind, "end");
  });
});

Deno.test("a core that prints without end is ended", async () => {
  await withRecording(talkative(400), async (folder, vms) => {
    const ended: string[] = [];
    const onReplayOnly = (report: CoreReport) => ended.push(`${report.ended}`);
    const replay = await vms.replay(folder, { verify: true, onReplayOnly });
    assertEquals((await replay.waitForExit()).replay?.kind, "end");
    assertEquals(ended, ["output"]);
  });
});

Deno.test("replay shows cores on standard error, in a file, or not at all", async () => {
  await withRecording(REPLAY, async (folder) => {
    const replay = async (...words: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", MAIN, "replay", folder, "--verify", ...words],
      }).output();
      return { code, out: latin1(stdout), err: latin1(stderr) };
    };
    const shown = await replay();
    assertEquals([shown.code, shown.out], [0, CONSOLE]);
    const lines = shown.err.split("\n");
    const heads = lines.filter((line) => line.startsWith("chronovisor: replay-only code at "));
    assertEquals(heads.length, 2005);
    assert(/icount \d+, hart 0, pc 0x80\w+: executed \d+ instructions, /.test(heads[0]!), heads[0]);
    assert(heads[0]!.endsWith("ended by itself"));
    assert(
      heads[2002]!.endsWith("executed 50000000 instructions, was ended: it executed too much"),
    );
    assertEquals(lines[lines.indexOf(heads[2000]!) + 1], "rewrite");
    const file = `${folder}/cores.txt`;
    const kept = await replay("--replay-output", file);
    assertEquals(kept.out, CONSOLE);
    const own = "chronovisor: the replay is the recording";
    assert(kept.err.startsWith(own), kept.err.slice(0, 200));
    assertEquals(await Deno.readTextFile(file), shown.err.slice(0, shown.err.indexOf(own)));
    const none = await replay("--no-replay-only");
    assertEquals([none.out, none.err], [CONSOLE, kept.err]);
  });
});
