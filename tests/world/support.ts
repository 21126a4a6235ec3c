/** Builds kernels over the fake machine. */
import { Kernel, type PowerOnOptions, type VM } from "../../kernel/mod.ts";

/** Guests of the fake kernel: none. */
const NO_GUESTS = { resolve: (name: string) => Promise.reject(new Error(`no guest ${name}`)) };

/** A kernel whose VMs are fake machines. */
export function fakeKernel(world = "./fake_world.ts"): Kernel {
  return new Kernel({ world: new URL(world, import.meta.url), guests: NO_GUESTS });
}

/** Options for a fake machine that does what the line says. */
export function behave(append: string, more: PowerOnOptions = {}): PowerOnOptions {
  return { kernel: new Uint8Array(4), memory: "1M", append, ...more };
}

/** All that a VM prints until it ends. */
export async function allOutput(vm: VM): Promise<string> {
  return await new Response(vm.console.readable as BodyInit).text();
}
