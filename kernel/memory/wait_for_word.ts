/**
 * How a VM's thread waits for another one: for a slot of a save's ring, for a page that is being loaded.
 * A VM world blocks; whoever plays both sides in one thread lets the other side go on instead.
 */

/** Waits while a word has a value, or until it is told to look; may come back early. */
export type WaitForWord = (
  words: Int32Array<SharedArrayBuffer>,
  index: number,
  value: number,
) => void;

/** Blocks the thread. */
export const blockForWord: WaitForWord = (words, index, value) => {
  Atomics.wait(words, index, value);
};
