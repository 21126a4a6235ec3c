/** Claims about texts: found in a stream, near each other, described. */
import { assert, assertEquals } from "@std/assert";
import { describeError } from "./errors.ts";
import { describeImage } from "./inspect_image.ts";
import { editDistance, nearMatch } from "./near_match.ts";
import { UntilScanner } from "./until_scanner.ts";
import { ConfigError, HostError } from "../../mod.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("a text is found wherever the stream is cut, and not before its end", () => {
  const stream = bytes("login: größe\n");
  for (let cut = 0; cut <= stream.length; cut++) {
    const scanner = new UntilScanner("größe");
    scanner.push(stream.subarray(0, cut));
    assertEquals(scanner.found, cut >= stream.length - 1);
    assert(scanner.push(stream.subarray(cut)));
  }
  const single = new UntilScanner("x");
  assertEquals([single.push(bytes("ab")), single.push(bytes("x"))], [false, true]);
});

Deno.test("near matches are near", () => {
  assertEquals(editDistance("memroy", "memory"), 1);
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(nearMatch("debina", ["hello", "debian"]), "debian");
  assertEquals(nearMatch("xyz", ["hello", "debian"]), undefined);
});

Deno.test("errors of the user have a line and a status, errors of ours their stack", () => {
  assertEquals(describeError(new ConfigError("no")), { status: 2, text: "chronovisor: no\n" });
  assertEquals(describeError(new HostError("no")).status, 1);
  const ours = describeError(new TypeError("oops"));
  assertEquals(ours.status, 70);
  assert(ours.text.includes("bug of ours") && ours.text.includes("text_test.ts"));
});

Deno.test("images are told apart, damaged ones are described as damaged", async () => {
  const kind = async (image: Uint8Array) => (await describeImage(image))[0]![1];
  const disk = (offset: number, magic: number[]) => {
    const image = new Uint8Array(4096);
    image.set(magic, offset);
    return image;
  };
  assertEquals(await kind(new Uint8Array(0)), "an empty file");
  assertEquals(await kind(bytes("070701000")), "cpio archive");
  assert((await kind(disk(510, [0x55, 0xaa]))).includes("master boot record"));
  assert((await kind(disk(1080, [0x53, 0xef]))).includes("ext4"));
  assert((await kind(disk(56, [0x52, 0x53, 0x43, 0x05]))).includes("Linux kernel image"));
  assertEquals(await kind(new Uint8Array(10)), "raw bytes");
  for (
    const damaged of [
      [0x51, 0x46, 0x49, 0xfb],
      [0xd0, 0x0d, 0xfe, 0xed],
      [0x7f, 0x45, 0x4c, 0x46],
      [0x1f, 0x8b],
    ]
  ) {
    const facts = await describeImage(Uint8Array.from(damaged));
    assert(facts.some(([name]) => name === "damaged"), `${facts}`);
  }
});
