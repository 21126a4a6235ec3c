/**
 * Bytes that leave a VM through one port, as a web stream.
 *
 * Invariants: no byte is lost or reordered once somebody reads; before that, the last SCROLLBACK_BYTES
 * are kept, so that a reader who comes late still sees the boot, and a VM nobody watches cannot fill
 * the kernel's memory. What a slow reader leaves behind is `backlog`; the owner holds the VM for it.
 */
import { concatBytes } from "../base/bytes.ts";

/** Bytes kept while nobody reads. */
export const SCROLLBACK_BYTES = 256 * 1024;

/** A port's output. */
export class ByteOutput {
  readonly #onRead: () => void;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #stream: ReadableStream<Uint8Array> | undefined;
  #wake: (() => void) | undefined;
  #ended = false;
  #error: Error | undefined;
  #discard = false;

  /** `onRead` is called when a reader took bytes, that is, when `backlog` went down. */
  constructor(onRead: () => void) {
    this.#onRead = onRead;
  }

  /** Bytes that a reader has yet to take; 0 while nobody reads. */
  get backlog(): number {
    return this.#stream === undefined ? 0 : this.#bytes;
  }

  /** The output from the start of the scrollback on. One stream: the second reader gets the same. */
  get readable(): ReadableStream<Uint8Array> {
    this.#stream ??= new ReadableStream<Uint8Array>({
      pull: (controller) => this.#pull(controller),
      cancel: () => this.#drop(),
    }, { highWaterMark: 0 });
    return this.#stream;
  }

  /** Bytes came out of the VM. */
  push(bytes: Uint8Array): void {
    if (this.#discard || this.#ended || bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    while (
      this.#stream === undefined && this.#bytes - this.#chunks[0]!.length >= SCROLLBACK_BYTES
    ) {
      this.#bytes -= this.#chunks.shift()!.length;
    }
    this.#wake?.();
  }

  /** No more will come; with an error when the VM failed. What came before can still be read. */
  end(error?: Error): void {
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#bytes === 0 && !this.#ended && !this.#discard) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    this.#wake = undefined;
    if (this.#discard) return;
    if (this.#bytes > 0) {
      const all = concatBytes(this.#chunks);
      this.#chunks = [];
      this.#bytes = 0;
      controller.enqueue(all);
      this.#onRead();
    } else if (this.#error) controller.error(this.#error);
    else controller.close();
  }

  #drop(): void {
    this.#discard = true;
    this.#chunks = [];
    this.#bytes = 0;
    this.#wake?.();
    this.#onRead();
  }
}
