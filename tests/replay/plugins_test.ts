/**
 * Plugins of replays: what they are told is the same on every tier and in slices of any size, what they do
 * disturbs nothing, and their mistakes end the replay by name.
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { Prng } from "../../kernel/base/prng.ts";
import { ConfigError, FormatError } from "../../kernel/base/errors.ts";
import { definePlugin, type Replay, type ReplayPlugin } from "../../kernel/debug/plugin.ts";
import { csrNumber } from "../../kernel/cpu/csr_table.ts";
import type { ClockKind } from "../../kernel/machine/clock.ts";
import { readImage } from "../../kernel/machine/image.ts";
import { loadPlugins } from "../../kernel/world/plugin_side.ts";
import { changeCsr, enterMode, openMemory, readCsr, START } from "../_support/hot_program.ts";
import { observeReplay } from "../_support/observed_replay.ts";
import { type Place, Program } from "../_support/program.ts";
import { recordStorm, type TestRecording } from "../_support/recording.ts";
import { forSeeds, randomOptions } from "../_support/tiers.ts";

const STORM = new URL("../../guests/storm/storm.elf", import.meta.url);
const kernel = await readImage(await Deno.readFile(STORM));
/** Where the storm's code and variables lie. */
const [IMAGE, IMAGE_BYTES] = [0x8020_0000, 1 << 20];
const WATCHED_BYTES = 64;

function stormRecording(
  rng: Prng,
  clock: ClockKind,
  most = 1_200_000,
  harts = rng.pick([1, 4]),
): TestRecording {
  const config = {
    kernel,
    bios: "builtin",
    memoryBytes: 16 << 20,
    harts,
    clock,
    seed: rng.u64(),
  } as const;
  return recordStorm(config, rng.bytes(64 * 512), { rng, slices: [1000, 30_000], most });
}

/** Prints all that it is told, and where it is told of it. */
function watcher(watched: bigint, size: number): ReplayPlugin {
  return definePlugin({
    name: "watcher",
    start(replay) {
      const say = (what: string) => {
        const { icount, ticks, hart } = replay;
        const state = [replay.pc(), replay.x(2), replay.x(10), replay.csr("sstatus")];
        replay.print(`${icount} ${ticks} ${hart} ${state.join(" ")} ${what}\n`);
      };
      replay.onTrap({ exceptions: true, interrupts: true }, (trap) => {
        say(`trap ${trap.cause} ${trap.isInterrupt} ${trap.epc} ${trap.value} ${trap.icount}`);
      });
      replay.every(7777, () => say("sample"));
      replay.every(50_000, () => say("other sample"));
      replay.onTurn(({ hart }) => say(`turn ${hart}`));
      replay.onWait(() => say("wait"));
      replay.onEvent((event) => say(`event ${Deno.inspect(event, { iterableLimit: 300 })}`));
      replay.onEpoch(() => say("epoch"));
      replay.onSyscall((call) => say(`call ${call.number}`), ({ value }) => say(`= ${value}`));
      replay.onWatch({ kind: "access", address: watched, size, physical: true }, (access) => {
        const { kind, address, by, pc, before, after, icount } = access;
        say(`${kind} ${address} ${by} ${pc} ${before} ${after} ${icount}`);
      });
      replay.onEnd(({ kind }) => say(`end ${kind}`));
    },
  });
}

/** Physical bytes that change most often. */
function busyAddress(recording: TestRecording): bigint {
  const changes = new Map<number, number>();
  let before: Uint8Array | undefined;
  const plugin = definePlugin({
    name: "changes",
    start(replay) {
      replay.every(10_000, () => {
        const now = replay.physical(IMAGE, IMAGE_BYTES);
        for (let at = 0; before !== undefined && at < now.length; at += WATCHED_BYTES) {
          const same = now.subarray(at, at + WATCHED_BYTES)
            .every((byte, i) => byte === before![at + i]);
          if (!same) changes.set(at, (changes.get(at) ?? 0) + 1);
        }
        before = now;
      });
    },
  });
  observeReplay(recording, { tier: "interpreter" }, { plugins: [plugin] });
  const [busiest] = [...changes].sort(([, a], [, b]) => b - a);
  return BigInt(IMAGE + busiest![0]);
}

Deno.test("plugins are told the same on every tier and in all slices, and disturb nothing", () => {
  const seen = new Map<string, number>();
  forSeeds(3, (seed, rng) => {
    const clock = rng.pick<ClockKind>(["virtual", "host", "exact"]);
    const recording = stormRecording(rng, clock, 900_000, seed % 2 === 0 ? 1 : 4);
    const plugins = [watcher(busyAddress(recording), WATCHED_BYTES)];
    const plain = observeReplay(recording, { tier: "interpreter" }, { plugins });
    const what = `seed ${seed}, clock ${clock}`;
    assertEquals(plain.pluginStop, undefined, what);
    assertEquals(plain.machine.digest(), recording.digest, what);
    assertEquals(plain.console, recording.console, what);
    const largest = rng.pick([400, 60_000]);
    const slice = () => 1 + rng.below(largest);
    const other = observeReplay(recording, randomOptions(rng), { plugins, slice });
    assertEquals(other.machine.digest(), recording.digest, what);
    assertEquals(other.printed.split("\n"), plain.printed.split("\n"), what);
    for (const kind of ["trap", "sample", "turn", "event", "epoch", "write", "end"]) {
      const count = plain.printed.split(` ${kind} `).length - 1 +
        (plain.printed.split(` ${kind}\n`).length - 1);
      seen.set(kind, (seen.get(kind) ?? 0) + count);
    }
  });
  for (const [kind, count] of seen) assert(count > 0, `${count} of ${kind}`);
});

Deno.test("an access is told with the instruction that made it, and what it changed", () => {
  forSeeds(2, (seed, rng) => {
    const recording = stormRecording(rng, "host", 600_000);
    const address = busyAddress(recording);
    const executed = new Map<number, bigint>();
    const told: { icount: number; pc: bigint | undefined }[] = [];
    let last: Uint8Array | undefined;
    const plugin = definePlugin({
      name: "accesses",
      start(replay) {
        // All code of the guest: each instruction tells its place, in the interpreter.
        replay.onExecute({ address: BigInt(0x8020_0000), bytes: 1 << 20 }, ({ icount, pc }) => {
          executed.set(icount, pc);
        });
        const range = { kind: "write", address, size: WATCHED_BYTES, physical: true } as const;
        replay.onWatch(range, ({ icount, pc, by, before, after }) => {
          if (by === "instruction") told.push({ icount, pc });
          if (last !== undefined) assertEquals(before, last);
          last = after;
        });
      },
    });
    const { machine, pluginStop } = observeReplay(recording, {}, { plugins: [plugin] });
    assertEquals([pluginStop, machine.digest()], [undefined, recording.digest], `seed ${seed}`);
    const known = told.filter(({ icount }) => executed.has(icount - 1));
    assert(known.length > 20, `seed ${seed}: ${known.length} of ${told.length}`);
    for (const { icount, pc } of known) assertEquals(pc, executed.get(icount - 1), `${icount}`);
  });
});

/** Replays a storm under one plugin. */
function under(start: (replay: Replay) => void) {
  let outcome: ReturnType<typeof observeReplay> | undefined;
  forSeeds(1, (_seed, rng) => {
    const recording = stormRecording(rng, "host", 1_200_000);
    outcome = observeReplay(recording, {}, { plugins: [definePlugin({ name: "mine", start })] });
  });
  return outcome!;
}

Deno.test("a plugin stops the replay where it says, and is told of nothing behind", () => {
  const { pluginStop, machine, stop } = under((replay) => {
    replay.every(12_345, () => {
      replay.stop("far enough", 3);
      replay.stop("not this one");
    });
    replay.every(12_346, () => assert(false, "behind the stop"));
    replay.onEnd(({ kind }) => assertEquals(kind, "stopped"));
  });
  assertEquals(pluginStop, { kind: "stopped", plugin: "mine", reason: "far enough", status: 3 });
  assertEquals([machine.icount, stop], [12_345, { kind: "point" }]);
});

Deno.test("a stop in a hook ends the replay at an exact place, on every tier", () => {
  const hooks: Readonly<Record<string, (replay: Replay, tell: () => void) => void>> = {
    interrupt: (replay, tell) => replay.onTrap({ exceptions: false, interrupts: true }, tell),
    code: (replay, tell) => replay.onExecute({ address: 0x8020_0000n, bytes: 4096 }, tell),
    turn: (replay, tell) => replay.onTurn(tell),
    wait: (replay, tell) => replay.onWait(tell),
    event: (replay, tell) => replay.onEvent(tell),
    epoch: (replay, tell) => replay.onEpoch(tell),
  };
  const stopped = new Set<string>();
  /** Instructions between a hook and its stop. */
  const behind: Readonly<Record<string, number>> = { interrupt: 1 };
  forSeeds(2, (seed, rng) => {
    const recording = stormRecording(rng, "host", 1_000_000, 4);
    for (const [name, hook] of Object.entries(hooks)) {
      const ends: string[] = [];
      for (const options of [{ tier: "interpreter" } as const, randomOptions(rng)]) {
        let count = 0;
        let at = 0;
        const plugin = definePlugin({
          name,
          start: (replay) =>
            hook(replay, () => {
              if (++count !== 1) return;
              at = replay.icount;
              replay.stop("here");
            }),
        });
        const slice = () => 1 + rng.below(50_000);
        const { machine, pluginStop } = observeReplay(recording, options, {
          plugins: [plugin],
          slice,
        });
        // Whether a guest waits at all is chance.
        if (pluginStop === undefined && name === "wait") continue;
        stopped.add(name);
        assertEquals(pluginStop?.kind, "stopped", `seed ${seed}: ${name}`);
        assertEquals(machine.icount, at + (behind[name] ?? 0), `seed ${seed}: ${name}`);
        ends.push(`${machine.icount} ${machine.digest()}`);
      }
      assertEquals(ends[1], ends[0], `seed ${seed}: ${name}`);
    }
  });
  for (const name of Object.keys(hooks)) assert(name === "wait" || stopped.has(name), name);
});

Deno.test("a plugin that throws ends the replay by its name and hook", () => {
  const failing = (hook: string, start: (replay: Replay, fail: () => never) => void) => {
    const fail = () => {
      throw new TypeError("my mistake");
    };
    const { pluginStop } = under((replay) => start(replay, fail));
    const expected = { kind: "plugin failed", plugin: "mine", hook, what: "TypeError: my mistake" };
    assertEquals<unknown>(pluginStop, expected);
  };
  failing("start", (_replay, fail) => fail());
  failing("onTrap", (replay, fail) => replay.onTrap({ exceptions: true, interrupts: true }, fail));
  failing("every", (replay, fail) => replay.every(1000, fail));
  failing("onEvent", (replay, fail) => replay.onEvent(fail));
  failing("onOutput", (replay, fail) => replay.onOutput(fail));
  failing("onTurn", (replay, fail) => replay.onTurn(fail));
  failing("onEpoch", (replay, fail) => replay.onEpoch(fail));
  failing("onEnd", (replay, fail) => replay.onEnd(fail));
  const all = { address: 0x8020_0000n, bytes: 1 << 20 };
  failing("onExecute", (replay, fail) => replay.onExecute(all, fail));
  failing("onFunction", (replay, fail) => replay.onFunction(0x8020_0000n, fail));
});

Deno.test("what cannot be asked for is refused by name", () => {
  const refused = (expected: RegExp, start: (replay: Replay) => void) => {
    const { pluginStop } = under(start);
    assert(pluginStop?.kind === "plugin failed");
    assertMatch(pluginStop.what, expected);
  };
  refused(/ConfigError: there is no function "main": no symbols were given/, (replay) => {
    replay.onFunction("main", () => {});
  });
  refused(/instructions is 1 or more, not 0/, (replay) => void replay.every(0, () => {}));
  refused(/"misa" cannot be looked at/, (replay) => void replay.csr("misa"));
  refused(/no register x32/, (replay) => void replay.x(32));
  refused(/no hart 9/, (replay) => void replay.pc(9));
  refused(/a status is 0 to 255, not 256/, (replay) => replay.stop("", 256));
  refused(/1 to 4096 bytes, not 5000/, (replay) => {
    replay.onWatch({ kind: "read", address: 0n, size: 5000 }, () => {});
  });
});

Deno.test("what a plugin is given is its own: it can change nothing", () => {
  forSeeds(2, (_seed, rng) => {
    const recording = stormRecording(rng, "host", 200_000);
    let vandalized = 0;
    const vandal = definePlugin({
      name: "vandal",
      start(replay) {
        const spoil = (bytes: Uint8Array | undefined) => {
          if (bytes === undefined || bytes.length === 0) return;
          bytes.fill(0xee);
          vandalized++;
        };
        replay.every(1000, () => {
          spoil(replay.memory(replay.x(2), 64));
          spoil(replay.physical(0x8020_0000, 4096));
        });
        replay.onEvent((event) => {
          if ("bytes" in event) spoil(event.bytes);
          if (event.kind === "disk") spoil(event.data);
        });
        replay.onOutput((output) => {
          if (output.kind === "disk") spoil(output.request.data);
          else spoil(output.bytes);
        });
        const address = BigInt(0x8020_0000);
        replay.onWatch({ kind: "access", address, size: 4096, physical: true }, (access) => {
          spoil(access.before);
          spoil(access.after);
        });
        replay.onTrap({ exceptions: true, interrupts: true }, (trap) => {
          assert(Object.isFrozen(trap));
        });
      },
    });
    const replay = observeReplay(recording, {}, { plugins: [vandal] });
    assertEquals([replay.pluginStop, replay.stop.kind], [undefined, "end"]);
    assertEquals(replay.machine.digest(), recording.digest);
    assertEquals(replay.console, recording.console);
    assert(vandalized > 100);
  });
});

Deno.test("hooks come and go while the machine executes, at exact places", () => {
  const spans: string[] = [];
  under((replay) => {
    let detach: (() => void) | undefined;
    let from = 0;
    let count = 0;
    replay.onTrap({ exceptions: true, interrupts: true }, ({ icount }) => {
      if (detach === undefined) {
        from = icount;
        count = 0;
        detach = replay.onExecute({ address: 0x8000_0000n, bytes: 16 << 20 }, () => count++);
      } else {
        detach();
        detach = undefined;
        spans.push(`${count} ${icount - from}`);
      }
    });
  });
  assert(spans.length > 3);
  for (const span of spans) {
    const [count, instructions] = span.split(" ").map(Number);
    // The trap itself counts, or does not, as an instruction.
    assert(Math.abs(count! - instructions!) <= 2, span);
  }
});

/** A user program that calls with growing numbers; the handler gives back a0 + 1 in a0. */
function callingProgram(): Uint8Array {
  const program = new Program(START);
  const [first, test, command, count] = [28, 13, 14, 20];
  const [handler, start]: Place[] = [{}, {}];
  openMemory(program);
  program.address(first, handler!);
  changeCsr(program, "csrrw", "mtvec", first);
  program.to("jal", start!);
  program.align(8);
  program.place(handler);
  readCsr(program, first, "mepc");
  program.op("addi", { rd: first, rs1: first, imm: 4 });
  changeCsr(program, "csrrw", "mepc", first);
  program.op("addi", { rd: 10, rs1: 10, imm: 1 });
  program.op("mret");
  program.place(start);
  program.setLong(2, 0x8010_0000n);
  enterMode(program, "u");
  program.op("addi", { rd: count, imm: 300 });
  const round = program.place();
  program.op("add", { rd: 17, rs1: count });
  program.op("slli", { rd: 10, rs1: count, imm: 3 });
  program.op("addi", { rd: 11, imm: 77 });
  program.op("ecall");
  program.op("addi", { rd: count, rs1: count, imm: -1 });
  program.to("bne", round, { rs1: count });
  program.set(test, 0x10_0000);
  program.set(command, 0x5555);
  program.op("sw", { rs1: test, rs2: command });
  const here = program.place();
  program.to("jal", here);
  assert(csrNumber("mepc") > 0);
  return program.bytes();
}

Deno.test("system calls are told with arguments, and their results when they return", () => {
  const image = { kind: "raw", bytes: callingProgram() } as const;
  forSeeds(3, (_seed, rng) => {
    const storm = { rng, slices: [5000], most: 100_000 };
    const recording = recordStorm({ kernel: image }, new Uint8Array(4096), storm);
    for (const options of [{ tier: "interpreter" } as const, randomOptions(rng)]) {
      const calls: unknown[] = [];
      const results: unknown[] = [];
      const plugin = definePlugin({
        name: "calls",
        start(replay) {
          replay.onSyscall(
            (call) => calls.push([call.id, call.number, call.arguments[0], call.arguments[1]]),
            ({ call, value, icount }) => {
              results.push([call.id, value]);
              // The handler has five instructions.
              assertEquals(icount, call.icount + 5);
            },
          );
        },
      });
      const replay = observeReplay(recording, options, { plugins: [plugin] });
      assertEquals(replay.pluginStop, undefined);
      assertEquals(replay.machine.digest(), recording.digest);
      const number = (id: number) => BigInt(300 - id);
      const expected = Array.from(
        { length: 300 },
        (_, id) => [id, number(id), number(id) * 8n, 77n],
      );
      assertEquals(calls, expected);
      assertEquals(results, expected.map(([id]) => [id, number(id as number) * 8n + 1n]));
    }
  });
});

Deno.test("modules that are no plugins, and options that they have not, are refused", async () => {
  const load = (code: string, options = {}) => loadPlugins([{ file: "mine.ts", code, options }]);
  const good = 'export default { name: "good", options: { a: "a letter" }, start() {} };';
  const [loaded] = await load(good, { a: "1" });
  assertEquals([loaded!.plugin.name, loaded!.options], ["good", { a: "1" }]);
  const message = async (code: string, options = {}) => {
    return (await assertRejects(() => load(code, options), Error)).message;
  };
  assertMatch(await message("export default 5;"), /"mine.ts" is no plugin: expected/);
  assertMatch(await message('export default { name: "x" };'), /is no plugin/);
  assertMatch(await message("export const x = 1;"), /is no plugin/);
  assertMatch(await message("throw new Error('at once');"), /cannot be loaded: Error: at once/);
  assertMatch(await message("export default {{"), /"mine.ts" cannot be loaded: .*SyntaxError/);
  await assertRejects(() => load("export default 5;"), FormatError);
  await assertRejects(
    () => load(good, { b: "2" }),
    ConfigError,
    'the plugin "good" has no option "b"; it has a (a letter)',
  );
});
