/** Claims about identities: their form, where they come from, and what is none. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../../kernel/base/errors.ts";
import {
  drawIdentity,
  generationBytes,
  hostnameOf,
  macBytes,
  parseIdentity,
  seededIdentities,
  seededIdentity,
} from "../../../kernel/base/identity.ts";

const seeds = fc.maxSafeNat();
const SOME = seededIdentity(1, "web");

Deno.test("whatever chance gives is an identity that is read as it was written", () => {
  fc.assert(fc.property(fc.infiniteStream(fc.nat(255)), fc.string(), (stream, name) => {
    const draw = (length: number) => Uint8Array.from({ length }, () => stream.next().value!);
    const identity = drawIdentity(draw, name);
    assertEquals(parseIdentity(JSON.parse(JSON.stringify(identity)), "here"), identity);
    const mac = macBytes(identity);
    // IEEE 802: not a group, administered locally; 802c: assigned by an administrator (SLAP "x2").
    assertEquals([mac.length, mac[0]! & 0x0f], [6, 2]);
    assertEquals(generationBytes(identity).length, 16);
    // FC-FS: NAA 2, twelve bits of the vendor's, and an IEEE address.
    assertEquals([identity.wwpn[0], identity.wwpn.slice(6)], ["2", identity.mac]);
  }));
});

Deno.test("a seed gives the same identities again, each another; no other seed gives them", () => {
  fc.assert(fc.property(seeds, seeds, (seed, other) => {
    const first = (of: number, count = 5) => [...seededIdentities(of, "vm").take(count)];
    const drawn = first(seed);
    assertEquals(first(seed), drawn);
    assertEquals(seededIdentity(seed, "vm"), drawn[0]);
    const all = seed === other ? drawn : [...drawn, ...first(other)];
    for (const part of ["uuid", "generation", "mac", "wwpn"] as const) {
      assertEquals(new Set(all.map((identity) => identity[part])).size, all.length, part);
    }
  }));
});

Deno.test("a clone's identities depend on whose clone it is", () => {
  const clones = (parent: typeof SOME) => seededIdentities(1, "web", parent).next().value;
  const other = seededIdentity(2, "web");
  assert(clones(SOME).uuid !== SOME.uuid && clones(SOME).uuid !== clones(other).uuid);
  assertEquals(clones(SOME), clones(SOME));
});

Deno.test("any name gives a label of RFC 1123", () => {
  const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 100 }), (name) => {
    assert(label.test(hostnameOf(name)), hostnameOf(name));
  }));
  assertEquals(hostnameOf("Web Server_7"), "web-server-7");
  assertEquals(hostnameOf("--"), "guest");
  assertEquals(hostnameOf("a".repeat(62) + "-b"), "a".repeat(62));
});

Deno.test("what is no identity is refused with the part that is wrong", () => {
  const wrong: [unknown, string][] = [
    [null, "identity is object, expected an object"],
    ["text", "identity is string"],
    [{ ...SOME, version: 2 }, "has version 2; this program reads version 1"],
    [{ ...SOME, uuid: SOME.uuid.toUpperCase() + "A" }, "uuid of the VM's identity"],
    [{ ...SOME, generation: "12" }, 'generation of the VM\'s identity is "12"'],
    [{ ...SOME, mac: "01:00:00:00:00:00" }, "expected a locally administered unicast address"],
    [{ ...SOME, mac: "00:16:3e:00:00:00" }, "expected a locally administered unicast address"],
    [{ ...SOME, wwpn: "10:00:00:00:00:00:00:00" }, "expected a world wide port name of NAA 2 or 5"],
    [{ ...SOME, hostname: "-a" }, "expected a label"],
    [{ ...SOME, hostname: "a".repeat(64) }, "expected a label"],
    [{ ...SOME, hostname: 5 }, "hostname of the VM's identity is number"],
    [{ ...SOME, serial: 5 }, "serial of the VM's identity is number, expected nothing"],
  ];
  for (const [value, why] of wrong) {
    assertThrows(() => parseIdentity(value, "here"), FormatError, why);
  }
  assertEquals(parseIdentity({ ...SOME, wwpn: "50:01:02:03:04:05:06:07" }, "here").wwpn[0], "5");
});
