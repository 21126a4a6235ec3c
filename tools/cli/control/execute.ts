/**
 * The verb `exec`: a command in a running VM, its streams on the connection (issue 5, section 6).
 *
 * Invariants: the command's output is read whatever the client does, so the VM never stands still for
 * it. A client that leaves OUTPUT_HIGH bytes unread has its command stopped (SIGSTOP) until it reads on;
 * one that has OUTPUT_MAXIMUM bytes unread all the same loses its command. A client that goes away takes
 * its command along.
 */
import { type ExecProcess, FormatError, HostError } from "../../../mod.ts";
import { InputWindow } from "./input_window.ts";
import { base64Pieces, bytesOf } from "./protocol.ts";
import { type Call, type ControlledVm, namedVm } from "./verb.ts";

/** Unread output in bytes at which a command is stopped. */
const OUTPUT_HIGH = 1024 * 1024;
/** Unread output in bytes at which it goes on. */
const OUTPUT_LOW = 256 * 1024;
/** Unread output in bytes at which it is ended. */
const OUTPUT_MAXIMUM = 8 * 1024 * 1024;
/** Most commands of one VM that clients asked for and that have not ended. */
const COMMANDS_MAXIMUM = 32;
/** Most signals of a command that wait for the guest's agent. */
const SIGNALS_MAXIMUM = 16;

/** Linux' numbers. */
const SIGNAL = { kill: 9, goOn: 18, stop: 19 } as const;

type Message =
  | { readonly kind: "input"; readonly data: string }
  | { readonly kind: "end" }
  | { readonly kind: "signal"; readonly number: number };
type Event =
  | { kind: "stdout" | "stderr"; data: string }
  | { kind: "taken"; bytes: number };
type ExecCall = Call<{ vm: string; words: string[] }, Event, Message>;

const running = new WeakMap<ControlledVm, number>();

/** Does it. */
export async function execute(call: ExecCall): Promise<{ status: number }> {
  const { kernel, request, over } = call;
  const vm = namedVm(kernel, request.vm);
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => {});
  over.addEventListener("abort", () => ended.reject(over.reason), { once: true });
  const starting = spawn(vm, request.words, over);
  takeMessages(call, starting, (error) => ended.reject(error));
  const process = await Promise.race([starting, ended.promise]);
  const output = new Output(process);
  const showing = output.show(call.emit);
  showing.catch((error) => ended.reject(error));
  const status = await Promise.race([process.status, ended.promise]);
  await Promise.race([showing, ended.promise]);
  return { status };
}

async function spawn(
  vm: ControlledVm,
  words: readonly string[],
  signal: AbortSignal,
): Promise<ExecProcess> {
  const count = running.get(vm) ?? 0;
  if (count >= COMMANDS_MAXIMUM) {
    throw new HostError(
      `${count} commands run in the VM "${vm.name}" or wait for it: expected ` +
        `less than ${COMMANDS_MAXIMUM}`,
    );
  }
  running.set(vm, count + 1);
  const ended = () => running.set(vm, running.get(vm)! - 1);
  try {
    const process = await vm.spawn(words, { signal });
    process.status.then(ended, ended);
    return process;
  } catch (error) {
    ended();
    throw error;
  }
}

function takeMessages(
  { receive, emit }: ExecCall,
  starting: Promise<ExecProcess>,
  fail: (error: unknown) => void,
): void {
  const stdin = starting.then(({ stdin }) => stdin.getWriter());
  stdin.catch(() => {});
  let over = false;
  let signals = 0;
  const input = new InputWindow(
    async (bytes) => {
      // A command may end, or close its stdin, without reading all of it.
      if (!over) await (await stdin).write(bytes).catch(() => over = true);
    },
    (bytes) => emit({ kind: "taken", bytes }),
    fail,
  );
  const kill = async (number: number) => {
    const process = await starting;
    await process.kill(number);
    signals--;
  };
  let ending = false;
  receive((message) => {
    switch (message.kind) {
      case "input":
        if (ending) throw new FormatError("Input came after its end");
        return input.push(bytesOf(message.data));
      case "end":
        if (!ending) input.then(async () => await (await stdin).close().catch(() => {}));
        ending = true;
        return;
      case "signal":
        if (++signals > SIGNALS_MAXIMUM) throw new FormatError("Too many signals at once");
        kill(message.number).catch(fail);
    }
  });
}

/** What a command prints, on its way to a client. */
class Output {
  readonly #process: ExecProcess;
  readonly #pieces: { readonly kind: "stdout" | "stderr"; readonly bytes: Uint8Array }[] = [];
  #bytes = 0;
  #open = 2;
  #stopped = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(process: ExecProcess) {
    this.#process = process;
    void this.#read("stdout");
    void this.#read("stderr");
  }

  /** Shows all, to the end. */
  async show(emit: (event: Event) => Promise<void>): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const piece = this.#pieces.shift();
      if (piece === undefined) {
        if (this.#open === 0) return;
        await new Promise<void>((resolve) => this.#wake = resolve);
        continue;
      }
      for (const data of base64Pieces(piece.bytes)) await emit({ kind: piece.kind, data });
      this.#bytes -= piece.bytes.length;
      this.#balance();
    }
  }

  async #read(kind: "stdout" | "stderr"): Promise<void> {
    for await (const bytes of this.#process[kind]) {
      if (this.#failure !== undefined) continue;
      this.#pieces.push({ kind, bytes });
      this.#bytes += bytes.length;
      this.#balance();
      this.#wake?.();
    }
    this.#open--;
    this.#wake?.();
  }

  #balance(): void {
    if (this.#bytes > OUTPUT_MAXIMUM) {
      this.#failure = new HostError(
        `The command was ended: ${this.#bytes} bytes of its output were not read`,
      );
      this.#pieces.length = 0;
      this.#signal(SIGNAL.kill);
      this.#wake?.();
      return;
    }
    const stopped = this.#bytes > (this.#stopped ? OUTPUT_LOW : OUTPUT_HIGH);
    if (stopped !== this.#stopped) this.#signal(stopped ? SIGNAL.stop : SIGNAL.goOn);
    this.#stopped = stopped;
  }

  #signal(number: number): void {
    // A command that has ended needs no signal.
    this.#process.kill(number).catch(() => {});
  }
}
