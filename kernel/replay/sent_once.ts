/**
 * Console bytes of a replay that goes back and forth: what was sent once is not sent again (issue 4,
 * "gdb, both directions").
 *
 * Invariant: the bytes that are given are the stream from its beginning, each of them once.
 */

/** How much of a stream was sent. */
export class SentOnce {
  #sent = 0;

  /**
   * The bytes among these that were not sent yet, which are sent now.
   * @param end bytes of the stream up to the end of these
   */
  fresh(bytes: Uint8Array, end: number): Uint8Array {
    const known = Math.min(bytes.length, Math.max(0, this.#sent - (end - bytes.length)));
    this.#sent = Math.max(this.#sent, end);
    return bytes.subarray(known);
  }
}
