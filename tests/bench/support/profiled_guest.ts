/**
 * A process that runs a Linux guest in its own thread, without workers, so that a profile of the process
 * shows all of it: a part of tools/dev/where.ts. Arguments: kernel, initial RAM disk, command line, the
 * text on the console that begins what is of interest, and the text that ends it.
 */
import { latin1 } from "../../../kernel/base/bytes.ts";
import { readImage } from "../../../kernel/machine/image.ts";
import { testMachine } from "../../_support/machine.ts";

const [kernel, initrd, append, end] = Deno.args as [string, string, string, string];
const machine = testMachine({
  kernel: await readImage(await Deno.readFile(kernel)),
  initrd: await Deno.readFile(initrd),
  append,
  bios: "builtin",
  memoryBytes: 512 << 20,
});
let text = "";
while (!text.includes(end)) {
  const stop = machine.run(1_000_000);
  for (const output of machine.takeOutputs()) {
    if (output.kind === "bytes") text = (text + latin1(output.bytes)).slice(-1000);
  }
  if (stop.kind === "idle") machine.skipTo(stop.wakeTicks);
  if (stop.kind === "off" || stop.kind === "reset") break;
}
console.log(JSON.stringify({
  ...machine.translator!.statistics,
  instructions: machine.icount,
  inRegions: Number(machine.core.control("statRegionInstructions")),
}));
