/** Words that may stand in a shell script without quoting. */
import { Broken } from "../../mod.ts";

/** Throws `Broken` unless the word is letters, digits, dashes and underscores. */
export function assertPlain(word: string): void {
  if (!/^[\w-]+$/.test(word)) throw new Broken(`"${word}" is no plain word`);
}
