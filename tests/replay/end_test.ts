/**
 * The end of a recording whose guest sends something with its last breath: what leaves is seen before the
 * end is, and both have one icount.
 */
import { assertEquals } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { Program } from "../_support/program.ts";
import { recordStorm, replayRecording } from "../_support/recording.ts";

/** Sends a byte, waits for so many instructions, and switches the machine off. */
function lastWords(between: number): Uint8Array {
  const [uart, test, letter, command] = [5, 6, 7, 28];
  const program = new Program(0x8000_0000 | 0);
  program.set(uart, 0x1000_0000);
  program.set(test, 0x10_0000);
  program.set(letter, "!".charCodeAt(0));
  program.set(command, 0x5555);
  program.op("sb", { rs1: uart, rs2: letter });
  for (let i = 0; i < between; i++) program.op("addi");
  program.op("sw", { rs1: test, rs2: command });
  const here = program.place();
  program.to("jal", here);
  return program.bytes();
}

Deno.test("a guest that sends a byte and switches itself off does both in a replay", () => {
  for (let between = 0; between < 4; between++) {
    for (const tier of ["interpreter", "translator"] as const) {
      const kernel = { kind: "raw", bytes: lastWords(between) } as const;
      const storm = { rng: new Prng(between), slices: [1000], most: 100_000 };
      const recording = recordStorm({ kernel, tier }, new Uint8Array(4096), storm);
      assertEquals(recording.console, "!");
      const { stop, machine, console } = replayRecording(recording);
      assertEquals(stop, { kind: "end", why: "power-off", code: 0 });
      assertEquals([console, machine.digest()], [recording.console, recording.digest]);
    }
  }
});
