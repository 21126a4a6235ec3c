/** The control socket of a command that runs a VM. */
import { HostError, type Kernel } from "../../../mod.ts";
import { writeError } from "../streams.ts";
import { Consoles } from "./consoles.ts";
import { type ControlSocket, openControlSocket } from "./sockets.ts";

/** What a command needs of its kernel's control socket. */
export type ServedControl = AsyncDisposable & Pick<ControlSocket, "consoles" | "claimName">;

/** Opens the kernel's control socket; says so when it cannot, for the VM runs without one too. */
export async function serveControl(kernel: Kernel): Promise<ServedControl> {
  try {
    return await openControlSocket(kernel);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    writeError(`chronovisor: ${error.message}\nhint: other processes do not see this VM\n`);
    return {
      consoles: new Consoles(),
      // Nobody can mean it by its name.
      claimName: ([name = ""]) => Promise.resolve({ name, [Symbol.dispose]: () => {} }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
}
