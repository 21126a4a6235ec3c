/**
 * What a terminal would show of a guest's bytes, as lines of text: escape sequences (ECMA-48) are
 * followed where they concern the line under way, and dropped otherwise.
 *
 * Invariant: how the bytes were cut into pieces makes no difference.
 */

/** Columns that a line may have: a guest can move the cursor anywhere. */
const COLUMNS_MAXIMUM = 4096;
const TAB = 8;

type State = "text" | "escape" | "charset" | "control" | "string" | "string escape";

/** Makes text of bytes. */
export class ConsoleText {
  readonly #decoder = new TextDecoder();
  #state: State = "text";
  #parameters = "";
  #line: string[] = [];
  #column = 0;

  /** The line that is not finished. */
  get line(): string {
    return this.#line.join("");
  }

  /** Takes bytes; gives the lines that are finished now, each with its line end. */
  push(bytes: Uint8Array): string {
    let finished = "";
    for (const letter of this.#decoder.decode(bytes, { stream: true })) {
      if (this.#state !== "text") this.#sequence(letter);
      else if (letter === "\n") {
        finished += `${this.line}\n`;
        this.#line = [];
        this.#column = 0;
      } else this.#text(letter);
    }
    return finished;
  }

  #text(letter: string): void {
    switch (letter) {
      case "\x1b":
        this.#state = "escape";
        return;
      case "\r":
        this.#column = 0;
        return;
      case "\b":
        return this.#move(-1);
      case "\t":
        return this.#move(TAB - this.#column % TAB);
    }
    if (letter < " " || letter >= "\x7f" && letter < "\xa0") return;
    while (this.#line.length < this.#column) this.#line.push(" ");
    this.#line[this.#column] = letter;
    this.#move(1);
  }

  #sequence(letter: string): void {
    switch (this.#state) {
      case "escape":
        this.#parameters = "";
        if (letter === "[") this.#state = "control";
        else if ("]PX^_".includes(letter)) this.#state = "string";
        else this.#state = "()*+#%".includes(letter) ? "charset" : "text";
        return;
      case "control":
        if (letter >= "@" && letter <= "~") {
          this.#state = "text";
          this.#control(letter);
        } else if (this.#parameters.length < 16) this.#parameters += letter;
        return;
      case "string":
        if (letter === "\x07") this.#state = "text";
        else if (letter === "\x1b") this.#state = "string escape";
        return;
      default:
        this.#state = "text";
    }
  }

  #control(final: string): void {
    const count = Number.parseInt(this.#parameters, 10);
    switch (final) {
      case "C":
        return this.#move(count || 1);
      case "D":
        return this.#move(-(count || 1));
      case "G":
        this.#column = 0;
        return this.#move((count || 1) - 1);
      case "J":
      case "K":
        // What lies before the cursor stays; lines above are paper.
        if (!count) this.#line.length = Math.min(this.#line.length, this.#column);
    }
  }

  #move(columns: number): void {
    this.#column = Math.max(0, Math.min(COLUMNS_MAXIMUM - 1, this.#column + columns));
  }
}
