/** The control socket of a command that runs a VM. */
import { HostError } from "../../../kernel/base/errors.ts";
import type { Kernel } from "../../../mod.ts";
import { writeError } from "../streams.ts";
import { importLate } from "../../../kernel/host/late_import.ts";
import { Consoles } from "./consoles.ts";
import type { ControlSocket } from "./sockets.ts";
import type { ClaimedName } from "./verb.ts";

/**
 * A kernel's control socket, opened when it is wanted: no VM waits for it, nor for the modules that it
 * takes. When it cannot be opened that is said, for the VM runs without one too.
 */
export class ServedControl implements AsyncDisposable {
  /** Consoles of the kernel's VMs, for whoever attaches. */
  readonly consoles: Consoles = new Consoles();
  readonly #kernel: Kernel;
  #opening: Promise<ControlSocket | undefined> | undefined;

  /** Of a kernel. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Opens it while the caller goes on; resolves when others can see the VMs, or cannot. */
  async open(): Promise<void> {
    await this.#opened();
  }

  /**
   * Takes the name that the user asked for, if they did; opens the socket. Rejects with ConfigError when
   * another VM has it.
   */
  async claimName(name: string | undefined): Promise<ClaimedName | undefined> {
    if (name === undefined) return undefined;
    return await this.claimFirst([name]);
  }

  /** Takes the first of some names that is free. Rejects like `claimName`. */
  async claimFirst(names: Iterable<string>): Promise<ClaimedName | undefined> {
    return await (await this.#opened())?.claimName(names);
  }

  /** Closes it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#opening)?.[Symbol.asyncDispose]();
  }

  #opened(): Promise<ControlSocket | undefined> {
    this.#opening ??= openOrSay(this.#kernel, this.consoles);
    return this.#opening;
  }
}

async function openOrSay(kernel: Kernel, consoles: Consoles): Promise<ControlSocket | undefined> {
  const { openControlSocket } = await importLate<typeof import("./sockets.ts")>(
    "./sockets.ts",
    import.meta.url,
  );
  try {
    return await openControlSocket(kernel, { consoles });
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    writeError(`chronovisor: ${error.message}\nhint: other processes do not see this VM\n`);
    return undefined;
  }
}
