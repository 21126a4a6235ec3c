/**
 * Flattened device trees: writes version 17 blobs (Devicetree Specification 0.4, chapter 5).
 * Invariant: the same tree gives the same bytes.
 */

/** A property's value: a string, strings, 32-bit cells, bytes, or nothing. */
export type PropertyValue = string | readonly string[] | readonly number[] | Uint8Array | true;

/** A node: properties in order, then children. */
export interface TreeNode {
  readonly name: string;
  readonly properties: Readonly<Record<string, PropertyValue>>;
  readonly children?: readonly TreeNode[];
}

const MAGIC = 0xd00dfeed;
const TOKEN = { beginNode: 1, endNode: 2, property: 3, end: 9 } as const;
const HEADER_BYTES = 40;
const RESERVE_MAP_BYTES = 16;
const encoder = new TextEncoder();

/** Splits a 64-bit value into two cells. */
export function cells64(value: number): [number, number] {
  return [Math.floor(value / 0x1_0000_0000), value % 0x1_0000_0000];
}

class Writer {
  readonly #words: number[] = [];
  readonly #strings = new Map<string, number>();
  #stringBytes = 0;

  word(value: number): void {
    this.#words.push(value >>> 24 & 255, value >>> 16 & 255, value >>> 8 & 255, value & 255);
  }

  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.#words.push(byte);
    while (this.#words.length % 4 !== 0) this.#words.push(0);
  }

  stringOffset(name: string): number {
    const known = this.#strings.get(name);
    if (known !== undefined) return known;
    const offset = this.#stringBytes;
    this.#strings.set(name, offset);
    this.#stringBytes += name.length + 1;
    return offset;
  }

  structure(): Uint8Array {
    return Uint8Array.from(this.#words);
  }

  strings(): Uint8Array {
    return encoder.encode([...this.#strings.keys()].map((name) => `${name}\0`).join(""));
  }
}

function encode(value: PropertyValue): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (typeof value === "string") return encoder.encode(`${value}\0`);
  if (value instanceof Uint8Array) return value;
  if (value.length > 0 && typeof value[0] === "string") {
    return encoder.encode(value.map((text) => `${text}\0`).join(""));
  }
  const bytes = new Uint8Array(value.length * 4);
  const view = new DataView(bytes.buffer);
  value.forEach((cell, i) => view.setUint32(i * 4, cell as number));
  return bytes;
}

function writeNode(writer: Writer, node: TreeNode): void {
  writer.word(TOKEN.beginNode);
  writer.bytes(encoder.encode(`${node.name}\0`));
  for (const [name, value] of Object.entries(node.properties)) {
    const bytes = encode(value);
    writer.word(TOKEN.property);
    writer.word(bytes.length);
    writer.word(writer.stringOffset(name));
    writer.bytes(bytes);
  }
  for (const child of node.children ?? []) writeNode(writer, child);
  writer.word(TOKEN.endNode);
}

/** The blob of a tree; `root.name` is empty. `bootHart` is the physical id of the boot hart. */
export function flatten(root: TreeNode, bootHart = 0): Uint8Array {
  const writer = new Writer();
  writeNode(writer, root);
  writer.word(TOKEN.end);
  const structure = writer.structure();
  const strings = writer.strings();
  const structureAt = HEADER_BYTES + RESERVE_MAP_BYTES;
  const stringsAt = structureAt + structure.length;
  const blob = new Uint8Array(Math.ceil((stringsAt + strings.length) / 8) * 8);
  const view = new DataView(blob.buffer);
  const header = [
    MAGIC,
    blob.length,
    structureAt,
    stringsAt,
    HEADER_BYTES,
    17,
    16,
    bootHart,
    strings.length,
    structure.length,
  ];
  header.forEach((value, i) => view.setUint32(i * 4, value));
  blob.set(structure, structureAt);
  blob.set(strings, stringsAt);
  return blob;
}
