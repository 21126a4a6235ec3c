/**
 * The other sides of a VM's memory in a thread of their own, for tests with real threads: a reader of frozen
 * pages, a source of lazy pages (memory_thread_main.ts).
 */

/** What a thread is to do. */
export type ThreadTask =
  | {
    readonly kind: "read";
    readonly area: SharedArrayBuffer;
    readonly memory: SharedArrayBuffer;
    readonly ram: number;
    /** Gets the pages, each where it lies in RAM. */
    readonly image: SharedArrayBuffer;
    /** Pages between two rests of a millisecond; 0: none. */
    readonly restAfter: number;
    /** Pages after which it rests and gives the save up. */
    readonly abortAfter?: number;
  }
  | {
    readonly kind: "load";
    readonly table: SharedArrayBuffer;
    readonly memory: SharedArrayBuffer;
    readonly ram: number;
    /** What RAM is to hold. */
    readonly image: SharedArrayBuffer;
    readonly seed: number;
    /** Whether pages that nobody wants are loaded as well. */
    readonly background: boolean;
  };

/** What a thread did. */
export interface ThreadDone {
  readonly pages: number;
  readonly twice: number;
  readonly overtaken: number;
}

/** A thread at work; `run` may be called again when it is done. */
export class MemoryThread {
  readonly #worker = new Worker(new URL("./memory_thread_main.ts", import.meta.url), {
    type: "module",
  });

  /** Begins a task. The thread goes on while this one is blocked. */
  run(task: ThreadTask): Promise<ThreadDone> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => resolve(data);
      this.#worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      this.#worker.postMessage(task);
    });
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
