/** Values of checkpoints, which come from files, as words for a terminal: bounded, and without control codes. */
import { replaceUnseen } from "../../../kernel/base/quoted.ts";

/** Most characters of a text that is shown. */
const TEXT_MAXIMUM = 200;

/** A text of a file; "-" for an empty one. */
export function shownText(text: string): string {
  const plain = replaceUnseen(text.slice(0, TEXT_MAXIMUM), "?");
  return plain === "" ? "-" : plain;
}

/** A time in milliseconds since 1970, to the second. */
export function shownTime(milliseconds: number): string {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? "-" : date.toISOString().replace(/\.\d+Z$/, "Z");
}
