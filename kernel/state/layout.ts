/**
 * How state becomes bytes: named, versioned fields over bytes that are lent ("State is lent to
 * behaviour", habit 1). A device declares a layout and is handed a view; whoever keeps the bytes can
 * copy, compare, save and restore them without asking the device.
 *
 * Invariants: every field is aligned to its element size; a view holds no value of its own.
 */
import { assert } from "../base/assert.ts";

/** A queue of bytes inside a state: bounded, kept in place. */
export interface ByteQueue {
  /** Bytes in the queue. */
  readonly length: number;
  /** Most bytes it can hold. */
  readonly capacity: number;
  /** Appends a byte; false when it is full. */
  push(value: number): boolean;
  /** Takes the oldest byte, or undefined when it is empty. */
  shift(): number | undefined;
  /** Empties it. */
  clear(): void;
}

/** A field's kind: bytes, alignment, and how to make its accessor. */
export interface FieldKind<T> {
  readonly byteLength: number;
  readonly alignment: number;
  /** Whether the view's property can be assigned. */
  readonly writable: boolean;
  /** Makes getter and setter over bytes that start at `offset`. */
  bind(buffer: ArrayBufferLike, offset: number): { get(): T; set?(value: T): void };
}

/** Fields by name. */
export type Fields = Readonly<Record<string, FieldKind<unknown>>>;
/** The object through which a state is read and written. */
export type View<F extends Fields> = {
  -readonly [K in keyof F]: F[K] extends FieldKind<infer T> ? T : never;
};

/** A named, versioned list of fields with their offsets. */
export interface Layout<F extends Fields = Fields> {
  readonly name: string;
  /** Raised when a field changes. */
  readonly version: number;
  readonly fields: F;
  readonly offsets: { readonly [K in keyof F]: number };
  readonly byteLength: number;
  /** Makes a view over lent bytes. `byteOffset` must be a multiple of 8. */
  view(buffer: ArrayBufferLike, byteOffset: number): View<F>;
}

/** Declares a layout. */
export function layout<F extends Fields>(name: string, version: number, fields: F): Layout<F> {
  const offsets = {} as { [K in keyof F]: number };
  let next = 0;
  for (const key of Object.keys(fields) as (keyof F)[]) {
    const { alignment, byteLength } = fields[key]!;
    next = Math.ceil(next / alignment) * alignment;
    offsets[key] = next;
    next += byteLength;
  }
  return {
    name,
    version,
    fields,
    offsets,
    byteLength: Math.ceil(next / 8) * 8,
    view(buffer, byteOffset) {
      assert(byteOffset % 8 === 0, `${name}: state must lie at a multiple of 8`);
      const view = {};
      for (const key of Object.keys(fields) as (keyof F & string)[]) {
        const bound = fields[key]!.bind(buffer, byteOffset + offsets[key]);
        Object.defineProperty(view, key, { enumerable: true, ...bound });
      }
      return view as View<F>;
    },
  };
}
