/**
 * A VM world from its first message to its end: what a worker module calls (drivers/vm_world.ts, which
 * adds the drivers). Uses no Deno API, so it also runs in a browser's worker.
 *
 * Invariant: whatever is thrown here ends as a `failed` message with a state dump, not as silence.
 */
import { hostClock } from "../host/clock.ts";
import type { MachineConfig, MachineFactory, MachinePort } from "./machine_port.ts";
import { VmMailbox } from "./mailbox.ts";
import { jsonMessage, message, TO_KERNEL } from "./protocol.ts";
import { CompilePort } from "./remote_compiler.ts";
import { type EndReport, reportFailure } from "./reports.ts";
import { VmSide } from "./vm_side.ts";

/** The one message that a VM world gets through its worker's port; all else goes by the mailbox. */
export interface StartMessage {
  /** Memory of the mailbox. */
  readonly mailbox: SharedArrayBuffer;
  /** What to build. */
  readonly config: MachineConfig;
  /** Whether a guest that resets itself starts again, or ends. */
  readonly onReset: "restart" | "end";
  /** The way to the compile world, if there is one. */
  readonly compiler: { readonly port: MessagePort; readonly keeps: boolean } | undefined;
}

/** Makes this worker a VM world: waits for its start message, then makes and runs the machine. */
export function serveVmWorld(create: MachineFactory): void {
  const start = (event: Event): void => {
    void live((event as MessageEvent<StartMessage>).data, create);
  };
  globalThis.addEventListener("message", start, { once: true });
}

/** Gives the memory of the images back at once, which garbage collection would do late. */
function freeImages({ kernel, initrd, ...config }: MachineConfig): MachineConfig {
  kernel?.buffer.transfer(0);
  initrd?.buffer.transfer(0);
  return config;
}

async function live(start: StartMessage, create: MachineFactory): Promise<void> {
  const mailbox = new VmMailbox(start.mailbox);
  const { compiler } = start;
  const port = compiler && new CompilePort(compiler.port, compiler.keeps);
  let machine: MachinePort | undefined;
  try {
    let end: EndReport | undefined;
    do {
      machine = undefined;
      machine = await create(start.config, port);
      // Images are large, and needed again only by a guest that starts again.
      if (start.onReset === "end") start = { ...start, config: freeImages(start.config) };
      mailbox.send(TO_KERNEL.running, message());
      const options = { clock: start.config.clock, hostClock, earlier: end?.stats };
      end = await new VmSide(machine, mailbox, options).run();
    } while (end.why === "reset" && start.onReset === "restart");
    mailbox.send(TO_KERNEL.halted, jsonMessage([end.code], end));
  } catch (error) {
    const phase = machine === undefined ? "start" : "run";
    mailbox.send(TO_KERNEL.failed, jsonMessage([], reportFailure(phase, error, machine)));
  }
}
