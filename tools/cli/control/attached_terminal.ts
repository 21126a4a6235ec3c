/**
 * This process' terminal on the console of a VM of another process (issue 5, section 6).
 *
 * Invariant: after `close` the terminal is as it was; nothing that happens here ends the VM but the
 * monitor's own commands.
 */
import { writeError, writeOut } from "../streams.ts";
import { escapeHelp, EscapeParser } from "../terminal/escape.ts";
import { Monitor } from "../terminal/monitor.ts";
import { RawTerminal } from "../terminal/raw_terminal.ts";
import type { ControlClient, OpenRequest } from "./client.ts";
import { InputCredit } from "./input_window.ts";
import { base64Pieces } from "./protocol.ts";
import type { EventOf, ResultOf } from "./verbs.ts";

/** Most typed bytes that wait for a guest that does not read. */
const TYPED_MAXIMUM = 1024 * 1024;

/** A connection between a VM's console and this process. */
export class AttachedTerminal {
  readonly #request: OpenRequest<"attach">;
  readonly #credit = new InputCredit();
  readonly #terminal: RawTerminal | undefined;
  readonly #escapes = new EscapeParser();
  readonly #monitor: Monitor;
  #typing: Promise<void> = Promise.resolve();
  #waiting = 0;
  #closed = false;

  /**
   * Connects at once. `fail` is called when standard input or output fails; `monitor` says whether the
   * monitor is open at first.
   */
  constructor(
    client: ControlClient,
    vm: string,
    fail: (error: unknown) => void,
    monitor: boolean,
  ) {
    this.#monitor = new Monitor(async (line) => {
      // The command may end the VM, and the connection with it.
      const asked = client.ask("monitor", { vm, line });
      return await asked.then(({ text }) => text, (error: Error) => error.message);
    }, writeOut);
    this.#request = client.open("attach", { vm }, (event) => this.#happened(event));
    if (Deno.stdin.isTerminal()) {
      this.#terminal = new RawTerminal((columns, rows) => {
        this.#send({ kind: "size", columns, rows });
      });
      if (monitor) this.#monitor.toggle();
    }
    this.#copyInput().catch(fail);
  }

  /** How the VM ended, or null when the terminal was detached from it; rejects when it failed. */
  get exit(): Promise<ResultOf<"attach">["exit"]> {
    return this.#request.result.then(({ exit }) => exit);
  }

  /** Gives the terminal back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#terminal?.close();
  }

  #happened(event: EventOf<"attach">): void {
    switch (event.kind) {
      case "output":
        return writeOut(Uint8Array.fromBase64(event.data));
      case "dropped":
        return tellDropped(event.bytes);
      case "taken":
        return this.#credit.give(event.bytes);
    }
  }

  async #copyInput(): Promise<void> {
    const chunk = new Uint8Array(4096);
    for (;;) {
      const count = await Deno.stdin.read(chunk);
      // At the end of input this goes on showing what the guest prints.
      if (count === null || this.#closed) return;
      const bytes = chunk.slice(0, count);
      if (this.#terminal === undefined) await this.#toGuest(bytes);
      else this.#typed(bytes);
    }
  }

  /** Never waits: the keys that detach work whatever the guest does. */
  #typed(bytes: Uint8Array): void {
    for (const typed of this.#escapes.push(bytes)) {
      switch (typed.kind) {
        case "data":
          if (this.#monitor.open) this.#monitor.type(typed.bytes);
          else this.#toGuestLater(typed.bytes);
          break;
        case "quit":
          this.#send({ kind: "detach" });
          break;
        case "monitor":
          this.#monitor.toggle();
          break;
        case "help":
          writeOut(
            `\r\n${escapeHelp("detach; the VM goes on").replaceAll("\n", "\r\n")}`,
          );
          break;
      }
    }
  }

  #toGuestLater(bytes: Uint8Array): void {
    // As a serial line does whose other end does not listen; the bell says so.
    if (this.#waiting + bytes.length > TYPED_MAXIMUM) return writeOut("\x07");
    this.#waiting += bytes.length;
    this.#typing = this.#typing.then(() => this.#toGuest(bytes)).then(() => {
      this.#waiting -= bytes.length;
    });
  }

  async #toGuest(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const count = await this.#credit.take(bytes.length - at);
      for (const data of base64Pieces(bytes.subarray(at, at + count))) {
        this.#send({ kind: "input", data });
      }
      at += count;
    }
  }

  #send(message: Parameters<OpenRequest<"attach">["send"]>[0]): void {
    // A connection that broke is known by the request's result.
    this.#request.send(message).catch(() => {});
  }
}

function tellDropped(count: number): void {
  const what = `${count} bytes of output came too fast to be shown`;
  // On a terminal it stands where they are missing; in a file it is none of the guest's output.
  if (Deno.stdout.isTerminal()) writeOut(`\r\n[chronovisor: ${what}]\r\n`);
  else writeError(`chronovisor: ${what}\n`);
}
