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

/** The large images of a guest; a VM world frees them once they lie in guest memory. */
export interface ImagesMessage {
  readonly kernel: Uint8Array<ArrayBuffer> | undefined;
  readonly initrd: Uint8Array<ArrayBuffer> | undefined;
}

/** The first message that a VM world gets through its worker's port; most go by the mailbox. */
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
  void nextMessage<StartMessage>().then((start) => live(start, create));
}

function nextMessage<T>(): Promise<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  const receive = (event: Event) => resolve((event as MessageEvent<T>).data);
  globalThis.addEventListener("message", receive, { once: true });
  return promise;
}

/** Gives the memory of the images back at once, which garbage collection would do late. */
function freeImages({ kernel, initrd }: ImagesMessage): void {
  for (const image of [kernel, initrd]) {
    if (image !== undefined && !image.buffer.detached) image.buffer.transfer(0);
  }
}

/** The images once more, for a guest that starts again. */
function imagesAgain(mailbox: VmMailbox): Promise<ImagesMessage> {
  const answer = nextMessage<ImagesMessage>();
  mailbox.send(TO_KERNEL.imagesWanted, message());
  return answer;
}

function withImages(config: MachineConfig, { kernel, initrd }: ImagesMessage): MachineConfig {
  return { ...config, ...(kernel && { kernel }), ...(initrd && { initrd }) };
}

async function live(start: StartMessage, create: MachineFactory): Promise<void> {
  const mailbox = new VmMailbox(start.mailbox);
  const { compiler, config, onReset } = start;
  const port = compiler && new CompilePort(compiler.port, compiler.keeps);
  let machine: MachinePort | undefined;
  try {
    let end: EndReport | undefined;
    let images: ImagesMessage = { kernel: config.kernel, initrd: config.initrd };
    do {
      machine = undefined;
      if (end !== undefined) images = await imagesAgain(mailbox);
      machine = await create(withImages(config, images), port);
      freeImages(images);
      mailbox.send(TO_KERNEL.running, message());
      const options = { clock: config.clock, hostClock, earlier: end?.stats };
      end = await new VmSide(machine, mailbox, options).run();
    } while (end.why === "reset" && onReset === "restart");
    mailbox.send(TO_KERNEL.halted, jsonMessage([end.code], end));
  } catch (error) {
    const phase = machine === undefined ? "start" : "run";
    mailbox.send(TO_KERNEL.failed, jsonMessage([], reportFailure(phase, error, machine)));
  }
}
