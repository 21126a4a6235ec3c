/** The control socket of a command that runs a VM. */
import { HostError } from "../../../kernel/base/errors.ts";
import type { Kernel } from "../../../mod.ts";
import { writeError } from "../streams.ts";
import { importLate } from "../../../kernel/host/late_import.ts";

/** A control socket that is being opened, or open. */
export interface Control extends AsyncDisposable {
  /** Resolves when others can see the VMs, or cannot. */
  readonly opened: Promise<unknown>;
}

/**
 * Opens the kernel's control socket, with the modules that it takes, while the caller's VM starts. Says so
 * when it cannot be opened, for the VM runs without one too.
 */
export function serveControl(kernel: Kernel): Control {
  const opened = open(kernel);
  return {
    opened,
    [Symbol.asyncDispose]: async () => await (await opened)?.[Symbol.asyncDispose](),
  };
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
