/** Decoded values are taken field by field, and refused by name. */
import { assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../../../kernel/base/errors.ts";
import { Shape } from "../../../kernel/base/shape.ts";

const shape = new Shape({
  name: "vm",
  harts: 4,
  wall: "18446744073709551615",
  on: true,
  data: Uint8Array.of(1, 2),
  disks: [{ path: "a" }, { path: "b" }],
  nothing: null,
}, "file");

Deno.test("fields are what they say", () => {
  assertEquals(shape.field("name").text(), "vm");
  assertEquals(shape.field("name").oneOf(["vm", "host"]), "vm");
  assertEquals(shape.field("harts").whole(1, 8), 4);
  assertEquals(shape.field("wall").digits(), 2n ** 64n - 1n);
  assertEquals(shape.field("on").flag(), true);
  assertEquals(shape.field("data").bytes(2), Uint8Array.of(1, 2));
  assertEquals(shape.field("disks").list(2, (disk) => disk.field("path").text()), ["a", "b"]);
  assertEquals(shape.optional("nothing", (it) => it.text()), undefined);
  assertEquals(shape.optional("none", (it) => it.text()), undefined);
  assertEquals(shape.optional("name", (it) => it.text()), "vm");
});

Deno.test("what does not fit is refused by its place, what it is and what was expected", () => {
  const cases: [() => unknown, string][] = [
    [
      () => shape.field("none").text(),
      "file.none is missing: expected a text of at most 65536 characters",
    ],
    [
      () => shape.field("harts").whole(1, 3),
      "file.harts is 4: expected a whole number from 1 to 3",
    ],
    [
      () => shape.field("name").whole(0),
      'file.name is "vm": expected a whole number from 0 to 9007199254740991',
    ],
    [() => shape.field("name").oneOf(["a", "b"]), 'file.name is "vm": expected a or b'],
    [() => shape.field("name").digits(), 'file.name is "vm": expected decimal digits'],
    [() => shape.field("data").bytes(1), "file.data is 2 bytes: expected at most 1 bytes"],
    [
      () => shape.field("disks").list(1, String),
      "file.disks is a list of 2: expected a list of at most 1",
    ],
    [() => shape.field("disks").field("x"), "file.disks is a list of 2: expected an object"],
    [
      () => shape.field("disks").list(2, (disk) => disk.field("path").flag()),
      'file.disks[0].path is "a": expected true or false',
    ],
    [
      () => shape.field("toString").text(),
      "file.toString is missing: expected a text of at most 65536 characters",
    ],
    [
      () => new Shape("18446744073709551616", "n").digits(),
      'n is "18446744073709551616": expected a number below 2^64',
    ],
  ];
  for (const [take, message] of cases) assertThrows(take, FormatError, message);
});
