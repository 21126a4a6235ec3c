/** The control socket of a command that runs a VM. */
import { HostError } from "../../../kernel/base/errors.ts";
import type { Kernel } from "../../../mod.ts";
import { writeError } from "../streams.ts";
import { importLate } from "../../../kernel/host/late_import.ts";

/**
 * Opens the kernel's control socket while the caller goes on: no VM waits for it, nor for the modules that it
 * takes. Says so when it cannot be opened, for the VM runs without one too.
 */
export function serveControl(kernel: Kernel): AsyncDisposable {
  const opening = open(kernel);
  return { [Symbol.asyncDispose]: async () => await (await opening)?.[Symbol.asyncDispose]() };
}

async function open(kernel: Kernel): Promise<AsyncDisposable | undefined> {
  const { openControlSocket } = await importLate<typeof import("./sockets.ts")>(
    "./sockets.ts",
    import.meta.url,
  );
  try {
    return await openControlSocket(kernel);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    writeError(`chronovisor: ${error.message}\nhint: ps and record do not see this VM\n`);
    return undefined;
  }
}
