/**
 * A process that runs a Linux guest through the library and prints how many instructions each part took
 * that the guest names, as a JSON object: a part of the suites `switch` and `userland`. Arguments: kernel,
 * initial RAM disk, command line.
 */
import { VMKernel } from "../../../mod.ts";
import { MarkScanner } from "./marks.ts";

/**
 * What is printed: guest instructions by part. They are asked for when the mark is seen, so a few
 * milliseconds of the next part are in them.
 */
export type PartCounts = Readonly<Record<string, number>>;

if (import.meta.main) {
  const [kernel, initrd, append] = Deno.args as [string, string, string];
  await using vmkernel = await VMKernel.start();
  const vm = await vmkernel.powerOn({ kernel, initrd, append, memory: "512M" });
  const counts: Record<string, number> = {};
  const marks = new MarkScanner();
  let part: { name: string; start: number } | undefined;
  for await (const piece of vm.console.readable.pipeThrough(new TextDecoderStream())) {
    for (const name of marks.scan(piece)) {
      const { instructions } = await vm.stats();
      if (part !== undefined) counts[part.name] = instructions - part.start;
      part = { name, start: instructions };
    }
    if (part?.name === "end") break;
  }
  console.log(JSON.stringify(counts));
}
