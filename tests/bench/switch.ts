/**
 * Benchmark suite `switch`: what an operating system does between its processes, in a Linux guest, here
 * and under QEMU (guests/switch).
 */
import { linuxSuite } from "./support/linux_contest.ts";

const PROGRAM = new URL("../../guests/switch/switch", import.meta.url);

export default linuxSuite({
  description: "processes, pipes, mappings and context switches of a Linux guest, against QEMU",
  packages: [],
  program: { name: "switch", bytes: () => Deno.readFile(PROGRAM) },
  leastMean: 1.5,
});
