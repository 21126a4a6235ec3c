/**
 * A VM's console on this process' standard streams: what the guest prints goes to standard output, what
 * is typed goes to the guest, with the escape key and the monitor when it is typed on a terminal.
 *
 * Invariant: after `close` the terminal is as it was, and this process reads no more input for the VM.
 */
import { HostError, type VM } from "../../mod.ts";
import type { SharedConsole } from "./control/consoles.ts";
import type { Ending } from "./ending.ts";
import { EXIT } from "./errors.ts";
import { writeOut } from "./streams.ts";
import { escapeHelp, EscapeParser } from "./terminal/escape.ts";
import { Monitor, runMonitorCommand } from "./terminal/monitor.ts";
import { RawTerminal } from "./terminal/raw_terminal.ts";
import { UntilScanner } from "./until_scanner.ts";

/** A connection between a VM's console and this process. */
export class Session {
  /** Resolves when all that the guest printed was written; rejects when it cannot be written. */
  readonly outputDone: Promise<void>;
  /** Resolves (to nothing) when the console showed the text; never without one. */
  readonly untilFound: Promise<undefined>;
  readonly #vm: VM;
  readonly #ending: Ending;
  readonly #shared: SharedConsole | undefined;
  readonly #scanner: UntilScanner | undefined;
  readonly #terminal: RawTerminal | undefined;
  readonly #escapes = new EscapeParser();
  readonly #monitor: Monitor;
  readonly #foundText: () => void;
  #closed = false;

  /** Connects at once; what the guest prints goes to `shared` too. */
  constructor(vm: VM, ending: Ending, until: string | undefined, shared?: SharedConsole) {
    this.#vm = vm;
    this.#shared = shared;
    this.#ending = ending;
    this.#scanner = until === undefined ? undefined : new UntilScanner(until);
    const found = Promise.withResolvers<undefined>();
    this.untilFound = found.promise;
    this.#foundText = () => found.resolve(undefined);
    const quit = () => ending.end(EXIT.ok);
    this.#monitor = new Monitor((line) => runMonitorCommand({ vm, quit }, line), writeOut);
    if (Deno.stdin.isTerminal()) {
      this.#terminal = new RawTerminal((columns, rows) => void vm.console.resize(columns, rows));
    }
    this.outputDone = this.#copyOutput();
    this.outputDone.catch((error) => ending.fail(error));
    this.#copyInput().catch((error) => ending.fail(error));
  }

  /** Whether the console showed the text that was looked for. */
  get found(): boolean {
    return this.#scanner?.found ?? false;
  }

  /** Gives the terminal back. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#terminal?.close();
  }

  async #copyOutput(): Promise<void> {
    try {
      for await (const bytes of this.#vm.console.readable) {
        if (bytes.length > 0) writeOut(bytes);
        this.#shared?.push(bytes);
        if (this.#scanner?.push(bytes)) this.#foundText();
      }
    } finally {
      this.#shared?.end();
    }
  }

  async #copyInput(): Promise<void> {
    const chunk = new Uint8Array(4096);
    for (;;) {
      const count = await Deno.stdin.read(chunk);
      // At the end of input the guest goes on: it has nothing more to read, that is all.
      if (count === null || this.#closed) return;
      const bytes = chunk.slice(0, count);
      if (this.#terminal === undefined) await this.#toGuest(bytes);
      else await this.#typed(bytes);
    }
  }

  async #typed(bytes: Uint8Array): Promise<void> {
    for (const typed of this.#escapes.push(bytes)) {
      switch (typed.kind) {
        case "data":
          if (this.#monitor.open) this.#monitor.type(typed.bytes);
          else await this.#toGuest(typed.bytes);
          break;
        case "quit":
          this.#ending.end(EXIT.ok);
          break;
        case "monitor":
          this.#monitor.toggle();
          break;
        case "help":
          writeOut(`\r\n${escapeHelp("quit").replaceAll("\n", "\r\n")}`);
          break;
      }
    }
  }

  async #toGuest(bytes: Uint8Array): Promise<void> {
    try {
      await this.#vm.console.write(bytes);
    } catch (error) {
      // Typed while the VM was ending: nobody is there to read it.
      if (!(error instanceof HostError)) throw error;
    }
  }
}
