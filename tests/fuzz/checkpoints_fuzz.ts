/**
 * Fuzz targets for what a checkpoint is read from: its file, its page map, and packs of pages. A checkpoint
 * may come from anybody, with checksums that hold.
 */
import { encode } from "@msgpack/msgpack";
import { assert } from "../../kernel/base/assert.ts";
import { equalBytes } from "../../kernel/base/bytes.ts";
import { FormatError } from "../../kernel/base/errors.ts";
import { encodeSparse } from "../../kernel/base/sparse_bytes.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { PAGE_BYTES } from "../../kernel/base/units.ts";
import {
  CHECKPOINT_SCHEMA,
  type CheckpointHead,
} from "../../kernel/checkpoint/checkpoint_format.ts";
import {
  CHECKPOINT_FRAME_BYTES,
  CHECKPOINT_HEADER_BYTES,
  CheckpointFile,
  writeCheckpoint,
} from "../../kernel/checkpoint/checkpoint_file.ts";
import { loadWorkingSet, writeWorkingSet } from "../../kernel/checkpoint/working_set.ts";
import { PACK_FOOTER_BYTES } from "../../kernel/datastore/pack_format.ts";
import { ClusterCache, PackReader } from "../../kernel/datastore/pack_reader.ts";
import {
  flatten,
  type PageMap,
  readPageMap,
  writePageMap,
} from "../../kernel/datastore/page_map.ts";
import { encodeCluster } from "../../kernel/datastore/page_encoder.ts";
import { PackWriter } from "../../kernel/datastore/pack_writer.ts";
import { HASH_WORDS, hostPageCodec as codec } from "../../kernel/host/page_codec.ts";
import { aboutOf, pageOf, stateOf } from "../_support/checkpoints.ts";
import { CrashFiles } from "../_support/crash_files.ts";
import type { FuzzTarget } from "./engine.ts";
import { damaged, edge32, orRefused } from "./support.ts";

const ID = "0123456789abcdef0123456789abcdef";
const PAGES = 64;

const HEAD: CheckpointHead = {
  ...aboutOf(),
  schema: CHECKPOINT_SCHEMA,
  id: ID,
  parent: null,
  memoryPages: PAGES,
  packs: [ID, ID.replace("0", "a")],
  counts: { added: 4, zero: 1, known: 1, stored: 2, storedBytes: 8192 },
};

const MAP: PageMap = {
  firsts: Uint32Array.of(0, 8, 20),
  counts: Uint32Array.of(8, 2, 30),
  packs: Uint32Array.of(1, 0, 2),
  indices: Uint32Array.of(5, 0, 100),
};

function goodFile(): Uint8Array {
  return writeCheckpoint({
    head: HEAD,
    state: stateOf([1, 2]),
    map: MAP,
    active: Uint32Array.of(3, 9),
  }, codec);
}

/** Reads all that a resume would. */
function readFile(bytes: Uint8Array): void {
  const file = orRefused(() => new CheckpointFile(bytes, ID, codec), FormatError);
  if (file === undefined) return;
  orRefused(() => file.state(), FormatError);
  const { memoryPages, packs } = file.head;
  const map = orRefused(() => file.map(), FormatError);
  if (map) {
    const flat = flatten([{ map, packs }], memoryPages);
    assert(flat.packOf.every((pack) => pack <= packs.length), "every page has a place");
  }
  for (const end of orRefused(() => file.active(), FormatError) ?? []) {
    assert(end <= memoryPages, "active pages are pages");
  }
}

/** A file of frames that a forger made: lengths and checksums hold. */
function forged(random: Prng, frames: readonly Uint8Array[]): Uint8Array {
  const parts = frames.map((contents, i) => {
    const forms = [() => contents, () => codec.pack(contents), () => encodeSparse(contents)];
    const form = random.below(forms.length);
    const stored = forms[form]!();
    const bytes = new Uint8Array(CHECKPOINT_FRAME_BYTES + stored.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, i + 1 | (form === 2 || random.below(20) === 0 ? 1 << 16 : 0), true);
    view.setUint32(4, stored.length, true);
    view.setUint32(8, random.below(20) === 0 ? edge32(random) : contents.length, true);
    bytes.set(stored, CHECKPOINT_FRAME_BYTES);
    view.setUint32(12, codec.crc32(stored, codec.crc32(bytes.subarray(0, 12))), true);
    return bytes;
  });
  const length = parts.reduce((sum, part) => sum + part.length, CHECKPOINT_HEADER_BYTES);
  const file = new Uint8Array(length);
  const view = new DataView(file.buffer);
  file.set(goodFile().subarray(0, CHECKPOINT_HEADER_BYTES));
  view.setUint32(12, length, true);
  view.setUint32(20, codec.crc32(file.subarray(0, 20)), true);
  let at = CHECKPOINT_HEADER_BYTES;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}

/** A head with fields of other sorts, or some left out. */
function drawHead(random: Prng): Record<string, unknown> {
  const head: Record<string, unknown> = { ...HEAD };
  for (let times = random.below(4); times > 0; times--) {
    const name = random.pick(Object.keys(head));
    const values = [
      null,
      -1,
      0,
      edge32(random),
      1e300,
      NaN,
      "",
      ID,
      [ID],
      [],
      {},
      true,
      [[]],
      "x".repeat(2000),
    ];
    if (random.below(5) === 0) delete head[name];
    else head[name] = random.pick<unknown>(values);
  }
  return head;
}

function drawWords(random: Prng, most: number): Uint8Array {
  const words = Uint32Array.from(
    { length: random.below(most) },
    () => random.pick([0, 1, 2, random.below(PAGES), edge32(random)]),
  );
  if (words.length > 0 && random.below(2) === 0) words[0] = (words.length - 1) / 4;
  return new Uint8Array(words.buffer);
}

const file: FuzzTarget = {
  name: "checkpoint-file",
  step(random) {
    readFile(damaged(random, goodFile()));
    const contents = [
      encode(drawHead(random)),
      random.below(2) === 0 ? encode(stateOf([1])) : random.bytes(random.below(100)),
      random.below(2) === 0 ? writePageMap(MAP) : drawWords(random, 40),
      drawWords(random, 9),
    ];
    if (random.below(3) === 0) contents[0] = damaged(random, contents[0]!);
    if (random.below(3) === 0) contents[1] = damaged(random, contents[1]!);
    readFile(forged(random, contents));
    readFile(random.bytes(random.below(200)));
  },
};

const map: FuzzTarget = {
  name: "page-map",
  step(random) {
    const bytes = random.below(2) === 0
      ? damaged(random, writePageMap(MAP))
      : drawWords(random, 60);
    const pages = random.pick([1, PAGES, 1000]);
    const packs = random.below(4);
    const read = orRefused(() => readPageMap(bytes, pages, packs), FormatError);
    if (read === undefined) return;
    assert(equalBytes(writePageMap(read), bytes), "what is read is what is there");
    const ids = Array.from({ length: packs }, (_, i) => `${i}`);
    const flat = flatten([{ map: read, packs: ids }], pages);
    const named = read.counts.reduce((sum, count, i) => sum + (read.packs[i] ? count : 0), 0);
    assert(
      flat.packOf.reduce((sum, pack) => sum + (pack ? 1 : 0), 0) === named,
      "runs do not overlap",
    );
  },
};

const NUMBERS = [1, 2, 3, 1001, 1002, 4, 5, 1003, 6, 7];
let goodPack: Promise<Uint8Array> | undefined;

async function makePack(): Promise<Uint8Array> {
  const files = new CrashFiles();
  const writer = new PackWriter({ files, codec, path: "p", pack: { id: ID, generation: 2 } });
  let number = 0;
  for (const count of [4, 3, 3]) {
    const contents = new Uint8Array(count * PAGE_BYTES);
    const hashes = new Uint32Array(HASH_WORDS * count);
    for (let i = 0; i < count; i++) {
      const page = pageOf(NUMBERS[number + i]!);
      contents.set(page, i * PAGE_BYTES);
      codec.hash(page, hashes, HASH_WORDS * i);
    }
    // Every second number was taken out.
    const numbers = Uint32Array.from({ length: count }, (_, i) => 2 * (number + i));
    writer.append([encodeCluster(contents, hashes, codec)], [numbers]);
    number += count;
  }
  await writer.seal(2 * NUMBERS.length);
  writer.publish();
  return await files.readAll("p");
}

/** Damages footer or tables, and makes their checksums good. */
function reforged(random: Prng, good: Uint8Array): Uint8Array {
  const bytes = good.slice();
  const end = bytes.length - PACK_FOOTER_BYTES;
  const view = new DataView(bytes.buffer);
  const footer = new DataView(bytes.buffer, end);
  const sizes = [3 * 12, 4 * NUMBERS.length, 16 * NUMBERS.length];
  const tables = end - sizes.reduce((sum, size) => sum + size, 0);
  for (let times = 1 + random.below(3); times > 0; times--) {
    const word = random.pick([random.below(20), edge32(random), random.below(PAGE_BYTES * 5)]);
    if (random.below(3) === 0) footer.setUint32(4 * random.below(4), word, true);
    else view.setUint32(tables + 4 * random.below((end - tables) / 4), word, true);
  }
  let at = tables;
  sizes.forEach((size, i) => {
    footer.setUint32(16 + 4 * i, codec.crc32(bytes.subarray(at, at + size)), true);
    at += size;
  });
  footer.setUint32(56, codec.crc32(bytes.subarray(end, end + 56)), true);
  return bytes;
}

/** Reads all that can be read; `exact`: what is read must be what was written. */
function readPack(bytes: Uint8Array, exact: boolean): void {
  const files = new CrashFiles();
  files.create("p").write(0, bytes);
  const pack = PackReader.open(files, "p", ID, codec);
  const pages = orRefused(() => pack.directory && pack.footer.numbers, FormatError);
  orRefused(() => pack.verify(() => {}), FormatError);
  const page = new Uint8Array(PAGE_BYTES);
  const cache = new ClusterCache(2);
  for (let number = 0; number < Math.min(pages ?? 0, 64); number++) {
    const read = orRefused(() => {
      pack.readPage(number, page, cache);
      return true;
    }, FormatError);
    if (!read || !exact) continue;
    assert(
      number % 2 === 0 && equalBytes(page, pageOf(NUMBERS[number / 2]!)),
      "a page is as it was",
    );
  }
  orRefused(() => pack.plainRun(0, 100), FormatError);
}

const pack: FuzzTarget = {
  name: "page-pack",
  async step(random) {
    const good = await (goodPack ??= makePack());
    readPack(good, true);
    readPack(damaged(random, good), true);
    readPack(reforged(random, good), false);
    readPack(random.bytes(random.below(300)), false);
  },
};

/** Puts other numbers into header or lists, and makes their checksums good. */
function reforgedSet(random: Prng, good: Uint8Array): Uint8Array {
  const bytes = good.slice();
  const view = new DataView(bytes.buffer);
  for (let times = 1 + random.below(3); times > 0; times--) {
    const at = random.pick([12, 32, 36, 48 + 4 * random.below(12)]);
    view.setUint32(at, random.pick([random.below(PAGES + 2), edge32(random)]), true);
  }
  const [pages, runs] = [view.getUint32(32, true), view.getUint32(36, true)];
  const end = 48 + 4 * Math.ceil(pages / 256) + 8 * runs;
  if (end <= bytes.length) view.setUint32(40, codec.crc32(bytes.subarray(48, end)), true);
  view.setUint32(44, codec.crc32(bytes.subarray(0, 44)), true);
  return bytes;
}

/** Loads what can be loaded; `exact`: what is loaded must be what was written. */
function readSet(bytes: Uint8Array, exact: boolean): void {
  const files = new CrashFiles();
  files.create("w").write(0, bytes);
  const ram = new Uint8Array(PAGES * PAGE_BYTES);
  const of = { id: ID, memoryPages: PAGES };
  orRefused(() => {
    loadWorkingSet(files.open("w"), of, codec, ram, (first, pages) => {
      assert(first >= 0 && pages > 0 && first + pages <= PAGES, "pages lie in memory");
      for (let page = first; exact && page < first + pages; page++) {
        const contents = ram.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
        assert(equalBytes(contents, pageOf(page + 1)), "a page is as it was");
      }
    });
  }, FormatError);
}

const workingSet: FuzzTarget = {
  name: "working-set",
  step(random) {
    const pages = Uint32Array.of(1, 2, 3, 9, 20, 21, 63);
    const read = (page: number, into: Uint8Array) => into.set(pageOf(page + 1));
    const good = writeWorkingSet({ id: ID, memoryPages: PAGES }, pages, read, codec);
    readSet(good, true);
    readSet(damaged(random, good), true);
    readSet(reforgedSet(random, good), false);
    readSet(random.bytes(random.below(300)), false);
  },
};

/** The targets of this file. */
export const CHECKPOINT_TARGETS: readonly FuzzTarget[] = [file, map, pack, workingSet];
