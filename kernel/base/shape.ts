/**
 * Reads decoded values (msgpack, JSON) whose bytes came from a file or a peer: each field is taken by name
 * and refused, by name, when it is not what was expected. For formats that must be read fast after the
 * start of a process; manifests that people edit have schemas (replay/manifest.ts).
 *
 * Invariant: what comes out has the type it says; nothing else of the value is looked at.
 */
import { FormatError } from "./errors.ts";

/** A part of a value, with its place for messages. */
export class Shape {
  /** @param where what the value is of, such as `"file": vm` */
  constructor(private readonly value: unknown, private readonly where: string) {}

  /** A field of an object, which may be missing: then it is refused by whoever takes it. */
  field(name: string): Shape {
    const { value } = this;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.#refuse("an object");
    }
    const has = Object.hasOwn(value, name);
    return new Shape(
      has ? (value as Record<string, unknown>)[name] : undefined,
      `${this.where}.${name}`,
    );
  }

  /** A field that may be missing or null. */
  optional<T>(name: string, read: (shape: Shape) => T): T | undefined {
    const field = this.field(name);
    return field.value === undefined || field.value === null ? undefined : read(field);
  }

  /** Elements of a list of at most so many. */
  list<T>(most: number, read: (element: Shape) => T): T[] {
    const { value } = this;
    if (!Array.isArray(value) || value.length > most) this.#refuse(`a list of at most ${most}`);
    return value.map((element, i) => read(new Shape(element, `${this.where}[${i}]`)));
  }

  /** A text of at most so many characters. */
  text(most = 65536): string {
    const { value } = this;
    if (typeof value !== "string" || value.length > most) {
      this.#refuse(`a text of at most ${most} characters`);
    }
    return value;
  }

  /** A text that matches. */
  matching(pattern: RegExp, expected: string): string {
    const text = this.text();
    return pattern.test(text) ? text : this.#refuse(expected);
  }

  /** One of some words. */
  oneOf<T extends string>(words: readonly T[]): T {
    const { value } = this;
    return words.includes(value as T) ? value as T : this.#refuse(words.join(" or "));
  }

  /** A whole number within bounds. */
  whole(least: number, most = Number.MAX_SAFE_INTEGER): number {
    const { value } = this;
    const fits = Number.isSafeInteger(value) && value as number >= least && value as number <= most;
    return fits ? value as number : this.#refuse(`a whole number from ${least} to ${most}`);
  }

  /** A whole number below 2^64 as decimal digits. */
  digits(): bigint {
    const value = BigInt(this.matching(/^\d{1,20}$/, "decimal digits"));
    return value < 1n << 64n ? value : this.#refuse("a number below 2^64");
  }

  /** True or false. */
  flag(): boolean {
    const { value } = this;
    return typeof value === "boolean" ? value : this.#refuse("true or false");
  }

  /** At most so many bytes. */
  bytes(most: number): Uint8Array<ArrayBuffer> {
    const { value } = this;
    if (value instanceof Uint8Array && value.length <= most) {
      return value as Uint8Array<ArrayBuffer>;
    }
    return this.#refuse(`at most ${most} bytes`);
  }

  #refuse(expected: string): never {
    const { value } = this;
    const has = typeof value === "string"
      ? JSON.stringify(value.slice(0, 40))
      : value instanceof Uint8Array
      ? `${value.length} bytes`
      : typeof value === "object" && value !== null
      ? Array.isArray(value) ? `a list of ${value.length}` : "an object"
      : String(value);
    throw new FormatError(
      `${this.where} is ${value === undefined ? "missing" : has}: expected ${expected}`,
    );
  }
}
