/** Claims about the lines of the control protocol. */
import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ConfigError, FormatError, HostError } from "../../../mod.ts";
import {
  base64Data,
  base64Pieces,
  bytesOf,
  DATA_BYTES_MAXIMUM,
  errorOf,
  errorReply,
  formatLine,
  idOf,
  LINE_BYTES_MAXIMUM,
  parseClientLine,
  parsed,
  parseKernelLine,
} from "./protocol.ts";
import { VERBS } from "./verbs.ts";

const line = (content: unknown) => JSON.stringify(content);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

Deno.test("a request is told from a message, with its own fields apart", () => {
  const bytes = formatLine({ version: 2, id: 1, command: "pause", vm: "web" });
  assertEquals(bytes.indexOf(0x0a), bytes.length - 1);
  assertEquals(parseClientLine(text(bytes)), { id: 1, command: "pause", fields: { vm: "web" } });
  assertEquals(parseClientLine(line({ id: "a", message: { kind: "end" } })), {
    id: "a",
    message: { kind: "end" },
  });
});

Deno.test("a wrong line is refused with what is wrong about it", () => {
  const good = { version: 2, id: 1, command: "pause", vm: "web" };
  const cases: [string, RegExp][] = [
    ["", /is no JSON/],
    ["[".repeat(60_000), /is no JSON/],
    ["null", /is wrong/],
    ["[1]", /is wrong/],
    ['"message"', /is wrong/],
    [line({ ...good, version: 1 }), /of version 1; this kernel speaks version 2/],
    [line({ ...good, version: "2" }), /version/],
    [line({ ...good, id: 1.5 }), /id/],
    [line({ ...good, id: "x".repeat(257) }), /id/],
    [line({ ...good, command: 7 }), /command/],
    [line({ message: 1 }), /message is wrong.*id/s],
    [line({ id: 1, message: 1, extra: 2 }), /message is wrong.*extra/s],
  ];
  for (const [wrong, message] of cases) {
    const { message: got } = assertThrows(() => parseClientLine(wrong), FormatError);
    assertEquals([wrong.slice(0, 80), message.test(got), got], [wrong.slice(0, 80), true, got]);
  }
});

Deno.test("a verb's fields are checked to the last", () => {
  const cases: [keyof typeof VERBS, unknown, RegExp][] = [
    ["list", { vm: "web" }, /vm/],
    ["pause", {}, /vm/],
    ["pause", { vm: "" }, /vm/],
    ["pause", { vm: "x".repeat(257) }, /vm/],
    ["pause", { vm: "web", force: true }, /force/],
    ["record-start", { vm: "web", folder: "relative/path" }, /expected an absolute path/],
    ["record-start", { vm: "web", folder: "/r", sync: "never" }, /sync/],
    ["stop", { vm: "web", seconds: -1 }, /seconds/],
    ["exec", { vm: "web", words: [] }, /words/],
    ["exec", { vm: "web", words: "true" }, /words/],
    ["monitor", { vm: "web", line: "x".repeat(1025) }, /line/],
  ];
  for (const [verb, fields, message] of cases) {
    const check = () => parsed(VERBS[verb].fields as never, fields, "wrong");
    const { message: got } = assertThrows(check, FormatError);
    assertEquals([verb, message.test(got), got], [verb, true, got]);
  }
});

Deno.test("the id of a wrong request is known where it has one", () => {
  assertEquals(idOf(line({ id: 5, command: "dance" })), 5);
  assertEquals(idOf(line({ id: "five" })), "five");
  for (const wrong of ["", "null", "3", line({}), line({ id: {} }), line({ id: null })]) {
    assertEquals(idOf(wrong), null);
  }
});

Deno.test("errors keep their name and text on their way to the client", () => {
  const arrived = (error: unknown) => {
    const reply = parseKernelLine(text(formatLine(errorReply(3, error))));
    assert("error" in reply && reply.error !== undefined);
    assertEquals(reply.id, 3);
    return errorOf(reply.error);
  };
  for (const kind of [ConfigError, FormatError, HostError]) {
    const error = arrived(new kind("why"));
    assertInstanceOf(error, kind);
    assertEquals(error.message, "why");
  }
  const ours = arrived(new TypeError("oops"));
  assertInstanceOf(ours, HostError);
  assertEquals(ours.message, "The kernel could not do it: oops");
  assertInstanceOf(errorOf({ name: "constructor", message: "x" }), HostError);
});

Deno.test("a kernel's lines are told apart, and what a newer one adds is ignored", () => {
  const hello = { version: 2, program: "1.0.0", process: 7 };
  assertEquals(parseKernelLine(line({ hello: { ...hello, more: 1 }, and: 2 })), { hello });
  assertEquals(parseKernelLine(line({ id: 1, event: { a: 1 } })), { id: 1, event: { a: 1 } });
  assertEquals(parseKernelLine(line({ id: 1, result: {} })), { id: 1, result: {} });
  for (const wrong of ["{}", "null", "7", line({ hello: {} }), line({ event: 1 })]) {
    assertThrows(() => parseKernelLine(wrong), FormatError, "reply is wrong");
  }
});

Deno.test("bytes pass lines unchanged, in pieces that fit into one", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(3), (some, times) => {
      const bytes = new Uint8Array(times * DATA_BYTES_MAXIMUM + some.length);
      bytes.set(some);
      bytes.set(some.toReversed(), bytes.length - some.length);
      const pieces = [...base64Pieces(bytes)];
      for (const data of pieces) {
        parsed(base64Data, data, "wrong");
        const whole = formatLine({ id: 1e15, message: { kind: "input", data } });
        assert(whole.length < LINE_BYTES_MAXIMUM);
      }
      const got = pieces.flatMap((piece) => [...bytesOf(piece)]);
      assertEquals([got.length, got.every((byte, i) => byte === bytes[i])], [bytes.length, true]);
    }),
    { numRuns: 20 },
  );
});

Deno.test("data that is no base64, or too much, is refused", () => {
  for (const wrong of ["a", "a===", "????", "AA=A", "QQ", "A".repeat(44_000), " QUJD"]) {
    assertThrows(() => bytesOf(parsed(base64Data, wrong, "Data is wrong")), FormatError);
  }
});
