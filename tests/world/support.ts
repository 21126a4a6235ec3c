/** Builds kernels over the fake machine. */
import { denoHost } from "../../kernel/host/deno_host.ts";
import { ConfigError, type Host, Kernel, type PowerOnOptions, type VM } from "../../kernel/mod.ts";

/** Guests of the fake kernel: each is a fake machine that does what its name says. */
const GUESTS = {
  resolve: (name: string) => {
    if (name === "debina") return Promise.reject(new ConfigError(`There is no guest "${name}"`));
    return Promise.resolve({ kernel: new Uint8Array(4), append: name, memory: "1M" });
  },
};

/** A kernel whose VMs are fake machines. */
export function fakeKernel(world = "./fake_world.ts", host: Host = denoHost): Kernel {
  return new Kernel({ world: new URL(world, import.meta.url), guests: GUESTS, host });
}

/** Options for a fake machine that does what the line says. */
export function behave(append: string, more: PowerOnOptions = {}): PowerOnOptions {
  return { kernel: new Uint8Array(4), memory: "1M", append, ...more };
}

/** All that a VM prints until it ends. */
export async function allOutput(vm: VM): Promise<string> {
  return await new Response(vm.console.readable as BodyInit).text();
}
