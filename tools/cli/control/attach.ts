/**
 * The verb `attach`: a client on the console of a VM (issue 5, section 6).
 *
 * Invariants: a client that reads slowly or not at all loses output and is told so; it holds up neither
 * the VM nor other clients. Its end changes nothing for the VM.
 */
import { HostError } from "../../../mod.ts";
import type { ConsoleView } from "./consoles.ts";
import { InputWindow } from "./input_window.ts";
import { bytesOf, DATA_BYTES_MAXIMUM } from "./protocol.ts";
import { suspendedTo } from "./suspending.ts";
import { type Call, type ControlledVm, namedVm } from "./verb.ts";

type Message =
  | { readonly kind: "input"; readonly data: string }
  | { readonly kind: "size"; readonly columns: number; readonly rows: number }
  | { readonly kind: "detach" };
type Event =
  | { kind: "output"; data: string }
  | { kind: "dropped"; bytes: number }
  | { kind: "taken"; bytes: number };

/** How the VM ended, or null when the client detached first. */
interface Result {
  exit: { code: number; why: string } | null;
}

/** Does it. */
export async function attach(call: Call<{ vm: string }, Event, Message>): Promise<Result> {
  const { kernel, consoles, request, over, emit, receive } = call;
  const vm = namedVm(kernel, request.vm);
  const shared = consoles.of(vm);
  using view = shared.watch();
  let failure: unknown;
  let detached = false;
  const leave = (why?: unknown) => {
    failure ??= why;
    view.close();
  };
  const input = new InputWindow(
    (bytes) => shared.type(bytes),
    (bytes) => emit({ kind: "taken", bytes }),
    (error) => {
      // Typed while the VM was ending: how it ended says more.
      if (!shared.ended) leave(error);
    },
  );
  receive((message) => {
    switch (message.kind) {
      case "input":
        return input.push(bytesOf(message.data));
      case "size":
        return shared.resize(message.columns, message.rows);
      case "detach":
        detached = true;
        return leave();
    }
  });
  over.addEventListener("abort", () => leave(over.reason), { once: true });
  await show(view, emit);
  if (failure !== undefined) throw failure;
  return { exit: detached ? null : await exitOf(vm) };
}

async function show(view: ConsoleView, emit: (event: Event) => Promise<void>): Promise<void> {
  for (let piece; (piece = await view.next(DATA_BYTES_MAXIMUM)) !== undefined;) {
    if (piece.dropped > 0) await emit({ kind: "dropped", bytes: piece.dropped });
    await emit({ kind: "output", data: piece.bytes.toBase64() });
  }
}

async function exitOf(vm: ControlledVm): Promise<Result["exit"]> {
  try {
    const { code, why } = await vm.waitForExit();
    return { code, why: await suspendedTo(vm) === undefined ? why : "suspended" };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(reason, { cause });
  }
}
