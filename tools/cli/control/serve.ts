/** The control socket of a command that runs a VM. */
import { HostError, type Kernel } from "../../../mod.ts";
import { writeError } from "../streams.ts";
import { openControlSocket } from "./sockets.ts";

/** Opens the kernel's control socket; says so when it cannot, for the VM runs without one too. */
export async function serveControl(kernel: Kernel): Promise<AsyncDisposable> {
  try {
    return await openControlSocket(kernel);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    writeError(`chronovisor: ${error.message}\nhint: ps and record do not see this VM\n`);
    return { [Symbol.asyncDispose]: () => Promise.resolve() };
  }
}
