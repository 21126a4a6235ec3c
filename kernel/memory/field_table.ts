/**
 * Turns a list of named fields into byte offsets, for blocks of VM memory that generated code and
 * TypeScript both address. Invariant: every field is aligned to its own size and none overlap.
 */

/** Bytes of one element of a field. */
export type FieldWidth = 4 | 8;

/** Description of fields: name to [bytes per element, number of elements]. */
export type FieldList = Readonly<Record<string, readonly [FieldWidth, number]>>;

/** Offsets of the fields of a block, relative to its start. */
export interface FieldTable<F extends FieldList> {
  /** Byte offset of each field's first element. */
  readonly offset: { readonly [K in keyof F]: number };
  /** The list the table was made of. */
  readonly fields: F;
  /** Bytes of the block. */
  readonly byteLength: number;
}

/** Lays out fields one after another in the order given. */
export function fieldTable<const F extends FieldList>(fields: F): FieldTable<F> {
  let next = 0;
  const offset = {} as Record<keyof F, number>;
  for (const name of Object.keys(fields) as (keyof F)[]) {
    const [width, count] = fields[name]!;
    next = Math.ceil(next / width) * width;
    offset[name] = next;
    next += width * count;
  }
  return { offset, fields, byteLength: Math.ceil(next / 8) * 8 };
}
