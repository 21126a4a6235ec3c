/** Claims about page maps, against plain arrays. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../../kernel/base/errors.ts";
import {
  EMPTY_MAP,
  flatten,
  indexIn,
  mergeMaps,
  type PackedMap,
  readPageMap,
  RunBuilder,
  writePageMap,
} from "../../../kernel/datastore/page_map.ts";

const PAGES = 64;
const IDS = ["a", "b", "c", "d"];

/** What a page is in a difference: the parent's, zeros, or a page of a pack. */
type Place = "parent's" | "zero" | { readonly pack: number; readonly index: number };

const place: fc.Arbitrary<Place> = fc.oneof(
  fc.constant("parent's" as const),
  fc.constant("zero" as const),
  fc.record({ pack: fc.nat(IDS.length - 1), index: fc.nat(5) }),
);
const places = fc.array(place, { minLength: PAGES, maxLength: PAGES });
const order = fc.shuffledSubarray(IDS, { minLength: IDS.length });

function mapOf(list: readonly Place[], packs: readonly string[]): PackedMap {
  const builder = new RunBuilder();
  list.forEach((each, page) => {
    if (each === "zero") builder.add(page, 0, 0);
    else if (each !== "parent's") {
      builder.add(page, packs.indexOf(IDS[each.pack]!) + 1, each.index);
    }
  });
  return { map: builder.finish(), packs };
}

function flatNames(chain: readonly PackedMap[]): string[] {
  const flat = flatten(chain, PAGES);
  assertEquals(Array.from(flat.kept, Boolean), Array.from(flat.packOf, Boolean));
  return Array.from(flat.packOf, (pack, page) => {
    return pack === 0 ? "zero" : `${flat.packs[pack - 1]}${indexIn(flat, page)}`;
  });
}

const nameOf = (each: Place) =>
  each === "zero" || each === "parent's" ? "zero" : `${IDS[each.pack]}${each.index}`;

Deno.test("a flattened chain has the youngest place of each page", () => {
  fc.assert(fc.property(fc.array(fc.tuple(places, order), { maxLength: 5 }), (levels) => {
    const expected = Array.from({ length: PAGES }, (_, page) => {
      return nameOf(
        levels.map(([list]) => list[page]!).findLast((each) => each !== "parent's") ?? "zero",
      );
    });
    assertEquals(flatNames(levels.map(([list, packs]) => mapOf(list, packs))), expected);
  }));
});

Deno.test("a merged map means what the two did, under any parent, and survives its bytes", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(places, order), { minLength: 3, maxLength: 3 }), (levels) => {
      const [root, parent, child] = levels.map(([list, packs]) => mapOf(list, packs));
      const merged = mergeMaps(parent!, child!, PAGES);
      const bytes = writePageMap(merged.map);
      const read = { map: readPageMap(bytes, PAGES, merged.packs.length), packs: merged.packs };
      assertEquals(flatNames([root!, read]), flatNames([root!, parent!, child!]));
      assertEquals(flatNames([read]), flatNames([parent!, child!]));
      assertEquals(new Set(read.map.packs), new Set([...new Set(read.map.packs)]));
      assert(merged.packs.every((_, i) => merged.map.packs.includes(i + 1)), "no pack is unused");
    }),
  );
});

Deno.test("runs join pages that follow each other, and only those", () => {
  const builder = new RunBuilder();
  for (
    const [page, pack, index] of [[0, 1, 5], [1, 1, 6], [2, 1, 8], [3, 0, 0], [4, 0, 7], [6, 0, 0]]
  ) {
    builder.add(page!, pack!, index!);
  }
  assertEquals(builder.finish(), {
    firsts: Uint32Array.of(0, 2, 3, 6),
    counts: Uint32Array.of(2, 1, 2, 1),
    packs: Uint32Array.of(1, 1, 0, 0),
    indices: Uint32Array.of(5, 8, 0, 0),
  });
  assertEquals(readPageMap(writePageMap(EMPTY_MAP), 1, 0), EMPTY_MAP);
});

Deno.test("maps that name what cannot be are refused", () => {
  const bytes = (...words: number[]) => new Uint8Array(Uint32Array.from(words).buffer);
  const refused = (words: number[], reason: string) =>
    void assertThrows(() => readPageMap(bytes(...words), 10, 2), FormatError, reason);
  refused([], "cut");
  refused([1], "not as long");
  refused([1, 0, 1, 0], "cut");
  refused([1, 9, 2, 0, 0], "outside memory");
  refused([1, 0, 0, 0, 0], "outside memory");
  refused([1, 0xffff_ffff, 0xffff_ffff, 0, 0], "outside memory");
  refused([2, 3, 0, 1, 1, 0, 0, 0, 0], "out of order");
  refused([1, 0, 1, 3, 0], "no pack");
  refused([1, 0, 1, 0, 1], "no pack");
  refused([1, 0, 2, 1, 0xffff_ffff], "no pack");
});
