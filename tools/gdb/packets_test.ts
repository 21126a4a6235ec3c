/** Claims of the framing: packets arrive as sent however bytes are cut, and nothing hostile gets through. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  type Arrival,
  asciiBytes,
  asciiText,
  framePacket,
  PACKET_BYTES,
  PacketReader,
} from "./packets.ts";

function arrivals(...pieces: (string | Uint8Array)[]): string[] {
  const reader = new PacketReader();
  return pieces.flatMap((piece) =>
    reader.push(typeof piece === "string" ? asciiBytes(piece) : piece).map(shown)
  );
}

function shown(arrival: Arrival): string {
  return arrival.kind === "packet" ? asciiText(arrival.content) : `<${arrival.kind}>`;
}

Deno.test("a packet is given out when its checksum is right, in either case of digits", () => {
  assertEquals(arrivals("$OK#9a"), ["OK"]);
  assertEquals(arrivals("$OK#9A"), ["OK"]);
  assertEquals(arrivals("$#00"), [""]);
  assertEquals(arrivals("$OK#9b"), ["<damaged>"]);
  assertEquals(arrivals("$OK#9", "a+$g#67"), ["OK", "g"]);
});

Deno.test("a checksum that is no number is damage, and what follows is read", () => {
  assertEquals(arrivals("$OK#x$g#67"), ["<damaged>", "g"]);
  assertEquals(arrivals("$OK#9x$g#67"), ["<damaged>", "g"]);
});

Deno.test("between packets a byte 3 interrupts and a minus asks again; others mean nothing", () => {
  assertEquals(arrivals("\x03+x-#}"), ["<interrupt>", "<resend>"]);
  assertEquals(arrivals("$\x03-+#5b"), ["\x03-+"]);
});

Deno.test("an escaped byte is itself, and an escape with nothing behind it is damage", () => {
  assertEquals(arrivals("$}\x03}\x04}]#db"), ["#$}"]);
  assertEquals(arrivals("$}#7d"), ["<damaged>"]);
});

Deno.test("a packet that starts within another takes its place", () => {
  assertEquals(arrivals("$qSuppo$OK#9a"), ["OK"]);
});

Deno.test("the longest packet is read and a longer one is damage", () => {
  const longest = framePacket(new Uint8Array(PACKET_BYTES).fill(0x61));
  const longer = framePacket(new Uint8Array(PACKET_BYTES + 1).fill(0x61));
  assertEquals(arrivals(longest)[0]!.length, PACKET_BYTES);
  assertEquals(arrivals(longer, "$OK#9a"), ["<damaged>", "OK"]);
});

Deno.test("what is framed arrives as it was, however it is cut", () => {
  const content = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(
      fc.array(content, { maxLength: 5 }),
      fc.infiniteStream(fc.nat(20)),
      (sent, cuts) => {
        const reader = new PacketReader();
        const got: Uint8Array[] = [];
        const stream = sent.flatMap((packet) => [...framePacket(packet)]);
        while (stream.length > 0) {
          const piece = Uint8Array.from(stream.splice(0, 1 + cuts.next().value!));
          for (const arrival of reader.push(piece)) {
            assert(arrival.kind === "packet");
            got.push(arrival.content);
          }
        }
        assertEquals(got, sent);
      },
    ),
  );
});

Deno.test("a framed packet holds no byte that has a meaning of its own, but at its ends", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (content) => {
    const inside = asciiText(framePacket(content).subarray(1, -3));
    assert(!/[#$*]/.test(inside));
    assertEquals(
      inside.match(/\}/g)?.length ?? 0,
      content.filter((b) => b === 0x7d || b === 0x23 || b === 0x24 || b === 0x2a).length,
    );
  }));
});

Deno.test("any bytes at all leave a reader that reads the next packet", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
    const got = arrivals(noise, "##00", "$OK#9a");
    assertEquals(got.at(-1), "OK");
  }));
});
