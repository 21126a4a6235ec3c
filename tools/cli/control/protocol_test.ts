/** Claims about the lines of the control protocol. */
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ConfigError, FormatError, HostError } from "../../../mod.ts";
import {
  type ControlReply,
  type ControlRequest,
  errorReply,
  formatLine,
  idOf,
  LineReader,
  parseReply,
  parseRequest,
  resultOf,
} from "./protocol.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const line = (content: unknown) => JSON.stringify(content);

Deno.test("a request returns as it was written", () => {
  const requests: ControlRequest[] = [
    { version: 1, id: 1, command: "list" },
    { version: 7, id: "a", command: "version" },
    { version: 1, id: 2, command: "record-start", vm: "web", folder: "/r" },
    {
      ...{ version: 1, id: 2, command: "record-start", vm: "web", folder: "/r" },
      ...{ sync: "every", images: true },
    } as ControlRequest,
    { version: 1, id: 3, command: "record-stop", vm: "web" },
    { version: 1, id: 4, command: "pause", vm: "web" },
    { version: 1, id: 5, command: "resume", vm: "web" },
    { version: 1, id: 6, command: "stats", vm: "web" },
  ];
  for (const request of requests) {
    const bytes = formatLine(request);
    assertEquals(bytes.indexOf(0x0a), bytes.length - 1);
    assertEquals(parseRequest(new TextDecoder().decode(bytes)), request);
  }
});

Deno.test("a wrong request is refused with what is wrong about it", () => {
  const good = { version: 1, id: 1, command: "pause", vm: "web" };
  const record = { version: 1, id: 1, command: "record-start", vm: "web", folder: "/r" };
  const cases: [string, RegExp][] = [
    ["", /is no JSON/],
    ["[".repeat(60_000), /is no JSON/],
    ["null", /is wrong/],
    ["[1]", /is wrong/],
    [line({ ...good, version: 2 }), /of version 2; this kernel speaks version 1/],
    [line({ ...good, version: "1" }), /version/],
    [line({ ...good, id: 1.5 }), /id/],
    [line({ ...good, command: "dance" }), /command/],
    [line({ ...good, vm: "" }), /vm/],
    [line({ ...good, vm: "x".repeat(257) }), /vm/],
    [line({ ...good, force: true }), /force/],
    [line({ ...record, folder: "relative/path" }), /expected an absolute path/],
    [line({ ...record, sync: "never" }), /sync/],
  ];
  for (const [text, message] of cases) {
    const { message: got } = assertThrows(() => parseRequest(text), FormatError);
    assertEquals([text.slice(0, 80), message.test(got), got], [text.slice(0, 80), true, got]);
  }
});

Deno.test("the id of a wrong request is known where it has one", () => {
  assertEquals(idOf(line({ id: 5, command: "dance" })), 5);
  assertEquals(idOf(line({ id: "five" })), "five");
  for (const text of ["", "null", "3", line({}), line({ id: {} }), line({ id: null })]) {
    assertEquals(idOf(text), null);
  }
});

Deno.test("errors keep their kind and text on their way to the client", () => {
  for (const kind of [ConfigError, FormatError, HostError]) {
    const reply = parseReply(new TextDecoder().decode(formatLine(errorReply(3, new kind("why")))));
    const error = assertThrows(() => resultOf("pause", reply));
    assertInstanceOf(error, kind);
    assertEquals([reply.id, error.message], [3, "why"]);
  }
  const ours = assertThrows(() => resultOf("pause", errorReply(3, new TypeError("oops"))));
  assertInstanceOf(ours, HostError);
  assertEquals(ours.message, "The kernel could not do it: oops");
  const strange: ControlReply = { id: 1, error: { kind: "constructor", message: "x" } };
  assertInstanceOf(assertThrows(() => resultOf("pause", strange)), HostError);
});

Deno.test("a reply without the result that was asked for is a FormatError", () => {
  assertThrows(() => resultOf("list", { id: 1, result: { process: 1 } }), FormatError, "vms");
  assertThrows(() => resultOf("pause", { id: 1 }), FormatError, '"pause"');
  assertThrows(() => parseReply("{}"), FormatError, "id");
  const newer = { process: 1, vms: [], more: "fields" };
  assertEquals(resultOf("list", { id: 1, result: newer }), { process: 1, vms: [] });
});

Deno.test("lines arrive whole however their bytes are cut", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 20 }).map((s) => s.replaceAll("\n", ""));
  fc.assert(fc.property(fc.array(text), fc.array(fc.nat(30)), (lines, cuts) => {
    const bytes = utf8(lines.map((each) => `${each}\n`).join(""));
    const reader = new LineReader(1000);
    const got: string[] = [];
    let at = 0;
    for (const cut of [...cuts, bytes.length]) {
      got.push(...reader.push(bytes.subarray(at, at + cut)));
      at = Math.min(bytes.length, at + cut);
    }
    got.push(...reader.push(bytes.subarray(at)));
    assertEquals([got, reader.waiting], [lines, 0]);
  }));
});

Deno.test("a line that is too long is refused before it is kept", () => {
  const reader = new LineReader(8);
  assertEquals([...reader.push(utf8("12345678\n1234"))], ["12345678"]);
  assertThrows(() => [...reader.push(utf8("56789"))], FormatError, "longer than 8 bytes");
  assertEquals(reader.waiting, 4);
  assertThrows(() => [...new LineReader(8).push(utf8("123456789\n"))], FormatError);
  assertThrows(() => [...new LineReader(8).push(Uint8Array.of(0xff, 0x0a))], FormatError, "UTF-8");
});
