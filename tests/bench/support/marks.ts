/** The lines by which a guest's program names its parts on the console when they begin: "@part". */

/** Finds the marks in a console's text, whose pieces may end anywhere. */
export class MarkScanner {
  #text = "";

  /** Text behind the last mark. */
  get rest(): string {
    return this.#text;
  }

  /** The names in the next piece, in their order. */
  *scan(piece: string): Generator<string> {
    this.#text += piece;
    for (let found = MARK.exec(this.#text); found !== null; found = MARK.exec(this.#text)) {
      this.#text = this.#text.slice(found.index + found[0].length);
      yield found[1]!;
    }
  }
}

const MARK = /^@(\S+)[^\n]*\n/m;
