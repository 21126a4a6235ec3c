/**
 * A list of pages, in the order of their first use, as a VM's world tells it in parts.
 *
 * Invariant: what is in the list is a page of the VM, and in it once; a world that says anything else is not
 * trusted any more.
 */
import { assert } from "../base/assert.ts";
import type { Received } from "./mailbox.ts";

/** The list. */
export class TouchedPages {
  readonly #seen: Uint8Array;
  readonly #pages: Uint32Array;
  #count = 0;
  #complete = false;

  /** @param memoryPages guest pages of the VM */
  constructor(memoryPages: number) {
    this.#seen = new Uint8Array(memoryPages);
    this.#pages = new Uint32Array(memoryPages);
  }

  /** A part arrived; true when it was the last one. */
  arrived({ numbers: [more = 0], bytes }: Received): boolean {
    assert(!this.#complete && bytes.length % 4 === 0, "a list of pages");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; at += 4) {
      const page = view.getUint32(at, true);
      assert(page < this.#seen.length && this.#seen[page] === 0, "a page of the VM, named once");
      this.#seen[page] = 1;
      this.#pages[this.#count++] = page;
    }
    this.#complete = more === 0;
    return this.#complete;
  }

  /** The pages that arrived. */
  get pages(): Uint32Array {
    return this.#pages.subarray(0, this.#count);
  }
}
