/**
 * A process of its own that gives a guest 3 GiB and prints by how many MiB that grew it; "unknown" where the
 * host does not tell. In the tests' own process others take memory meanwhile.
 */
import { denoHost } from "../../kernel/host/deno_host.ts";
import { VMKernel } from "../../mod.ts";
import { countingGuest } from "./counting_guest.ts";

function residentMemory(): number {
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1024;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return NaN;
    throw error;
  }
}

// The host need not have so much memory just now.
const memory = { ...denoHost.memory, available: () => Infinity };
await using kernel = await VMKernel.start({ host: { ...denoHost, memory } });
const before = residentMemory();
const vm = await kernel.powerOn({ kernel: countingGuest(), bios: "none", memory: "3G" });
const reader = vm.console.readable.getReader();
await vm.console.write("x");
await reader.read();
const grown = residentMemory() - before;
await vm.powerOff();
console.log(Number.isNaN(grown) ? "unknown" : grown);
