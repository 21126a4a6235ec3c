/** Questions to a VM world and their answers, matched by number. */
import { HostError } from "../base/errors.ts";
import { type Message, message, messageText, TO_VM } from "./protocol.ts";
import type { VmLink } from "./vm_link.ts";

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Open questions to one VM world. */
export class VmQueries {
  readonly #link: VmLink;
  readonly #pending = new Map<number, Pending>();
  #next = 1;
  #closed = false;

  /** Questions over a link. */
  constructor(link: VmLink) {
    this.#link = link;
  }

  /** Asks; resolves to the answer. Rejects with `HostError` when the VM ends before it. */
  ask(question: string, argument = 0): Promise<unknown> {
    if (this.#closed) return Promise.reject(gone());
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    const text = new TextEncoder().encode(question);
    void this.#link.send(TO_VM.query, message("", [id, argument], text));
    return answer;
  }

  /** An answer arrived. */
  answered({ numbers: [id = 0, good = 0], bytes }: Message): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    const value: unknown = JSON.parse(messageText(bytes));
    if (good === 1) pending?.resolve(value);
    else pending?.reject(new HostError(String(value)));
  }

  /** The VM ended: nothing open will be answered. */
  close(): void {
    this.#closed = true;
    for (const { reject } of this.#pending.values()) reject(gone());
    this.#pending.clear();
  }
}

function gone(): HostError {
  return new HostError("The VM is not running");
}
