/**
 * Benchmark suite `switch`: what an operating system does between its processes, in a Linux guest, here
 * and under QEMU (guests/switch); and what the host's own system takes for the same.
 */
import { linuxSuite, type NativeParts, timeParts } from "./support/linux_contest.ts";
import { buildNative } from "./support/native.ts";

const PROGRAM = new URL("../../guests/switch/switch", import.meta.url);

async function native(note: (why: string) => void): Promise<NativeParts | undefined> {
  const program = await buildNative("switch", [], note);
  if (program === undefined) return undefined;
  return {
    run: () => timeParts(program.path, []),
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

export default linuxSuite({
  description: "processes, pipes, mappings and context switches of a Linux guest, against QEMU",
  packages: [],
  program: { name: "switch", bytes: () => Deno.readFile(PROGRAM) },
  native,
  leastMean: 1.5,
});
