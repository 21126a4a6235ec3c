/** Texts of others in messages: quoted, so that a terminal shows them and does nothing that they say. */

/** Characters that a terminal obeys, or that turn the direction of what is behind them. */
const UNSEEN_SOURCE =
  "[\\u0000-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]";
const ANY_UNSEEN = new RegExp(UNSEEN_SOURCE);
const EACH_UNSEEN = new RegExp(UNSEEN_SOURCE, "g");

/** Whether a text has control characters or marks of its direction. */
export function hasUnseen(text: string): boolean {
  return ANY_UNSEEN.test(text);
}

/** The text with something else in place of each control character and each mark of its direction. */
export function replaceUnseen(text: string, by: string): string {
  return text.replace(EACH_UNSEEN, by);
}

/** The text in quotes, as JSON has it: control characters and marks of its direction are escaped, too. */
export function quoted(text: string): string {
  return JSON.stringify(text).replace(
    EACH_UNSEEN,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
