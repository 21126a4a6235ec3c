/**
 * A lock between asynchronous pieces of work: one after the other, in the order they came.
 */

/** The lock. */
export class Lock {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs work when all that came before has ended; resolves or rejects as it does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}
