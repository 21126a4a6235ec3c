/**
 * A process that boots Debian through the library, then prints how much memory it has, had at most, and how
 * much of that is the guest's, as a JSON object: a part of the suite `boot`.
 */
import { VMKernel } from "../../../mod.ts";
import { PROMPT } from "../../_support/debian.ts";

/** What is printed: bytes. */
export interface MemoryUse {
  readonly peak: number;
  readonly resident: number;
  readonly touched: number;
}

if (import.meta.main) {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ guest: "debian" });
  let text = "";
  for await (const piece of vm.console.readable.pipeThrough(new TextDecoderStream())) {
    text = (text + piece).slice(-1000);
    if (text.includes(PROMPT)) break;
  }
  const status = await Deno.readTextFile("/proc/self/status");
  const bytes = (name: string) =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 1024;
  const use: MemoryUse = {
    peak: bytes("VmHWM"),
    resident: bytes("VmRSS"),
    touched: await vm.touchedBytes(),
  };
  console.log(JSON.stringify(use));
}
