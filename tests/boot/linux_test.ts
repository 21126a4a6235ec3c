/**
 * Debian's own kernel on the whole machine: to its shell, on four harts, under Debian's OpenSBI, twice the
 * same, and again from what it read of the host's time.
 */
import { assert, assertEquals } from "@std/assert";
import type { Machine } from "../../kernel/machine/machine.ts";
import { debianMachine, debianTest, openSbi, PROMPT } from "../_support/debian.ts";
import { offerBytes, runToEnd } from "../_support/machine.ts";
import { absentHost, MemoryLog } from "../_support/nondet_log.ts";

/** Boots to the prompt, types a line, and runs until the machine is off. */
function session(machine: Machine, line: string): string {
  const boot = runToEnd(machine, { until: PROMPT, most: 20_000_000_000 });
  assert(
    boot.console.includes(PROMPT),
    `no prompt; the console ended with: ${boot.console.slice(-500)}`,
  );
  let rest = new TextEncoder().encode(`${line}\n`);
  let console = boot.console;
  while (rest.length > 0) {
    rest = rest.subarray(offerBytes(machine, rest));
    console += runToEnd(machine, { most: machine.icount + 100_000, until: "\n" }).console;
  }
  const end = runToEnd(machine, { most: 40_000_000_000 });
  assertEquals(end.stop, { kind: "off", code: 0 });
  return console + end.console;
}

debianTest("Debian boots to its shell and powers off with status 0", async () => {
  const text = session(await debianMachine(), "uname -m; ls /sys/bus/virtio/devices | wc -l; exit");
  assert(/riscv64/.test(text));
  assert(/\b3\b/.test(text), "console, network and entropy devices are found");
});

debianTest("Debian boots on four harts and sees all of them", async () => {
  const text = session(await debianMachine({ harts: 4 }), "grep -c ^processor /proc/cpuinfo; exit");
  assert(/\r\n4\r\n/.test(text), text.slice(-300));
});

debianTest("Debian's OpenSBI boots the same kernel", async () => {
  const bios = { kind: "raw", bytes: await openSbi() } as const;
  const text = session(await debianMachine({ bios }), "exit");
  assert(text.includes("OpenSBI v1.6"), text.slice(0, 300));
});

debianTest("two runs with the virtual clock and one seed are the same machine", async () => {
  const stops = [50_000_000, 300_000_000, 700_000_000];
  const digests = async (config: Parameters<typeof debianMachine>[0], slice: number) => {
    const machine = await debianMachine({ ...config, seed: 1n });
    return stops.map((most) => {
      runToEnd(machine, { most, slice });
      return `${machine.icount}:${machine.digest()}`;
    });
  };
  const first = await digests({}, 1_000_000);
  console.log(`digests ${first.join(" ")}`);
  assertEquals(await digests({}, 1_000_000), first);
  const odd = { tlbEntries: 16, cacheElements: 2, decodedPages: 300 };
  assertEquals(await digests(odd, 77_777), first);
  assertEquals(await digests({ tier: "interpreter" }, 300_000), first);
});

debianTest("a boot with an exact clock is the same again from its time reads", async () => {
  const config = { clock: "exact", harts: 2 } as const;
  // Up to 10 us ahead of the clock's function, as the host's time lets it be: no two boots are alike.
  const ahead = () => performance.now() * 1e6 % 100;
  const ticks = (): number => recorded.clock.ticksAt(recorded.icountNow()) + ahead();
  const recorded = await debianMachine({ ...config, host: { ticks, entropy16: () => 0 } });
  const log = new MemoryLog();
  recorded.nondeterminism.record(log);
  const text = session(recorded, "date +%s%N; uname -m; exit");
  recorded.nondeterminism.stop();
  assert(log.length > 1000, `only ${log.length} reads`);
  const replayed = await debianMachine({ ...config, host: absentHost, nondetEntries: 512 });
  replayed.nondeterminism.replay(log.first());
  assertEquals(session(replayed, "date +%s%N; uname -m; exit"), text);
  assertEquals(replayed.nondeterminism.entriesConsumed, log.length);
  assertEquals([replayed.icount, replayed.digest()], [recorded.icount, recorded.digest()]);
});
