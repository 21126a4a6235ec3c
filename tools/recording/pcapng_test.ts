/** Claims about packet captures: laid out as the specification says, and read by tshark. */
import { assertEquals } from "@std/assert";
import { concatBytes } from "../../kernel/base/bytes.ts";
import { peerTest, runPeer } from "../../tests/_support/peers.ts";
import {
  type CapturedPacket,
  enhancedPacket,
  interfaceDescription,
  sectionHeader,
} from "./pcapng.ts";

const hex = (bytes: Uint8Array) => bytes.toHex();

Deno.test("a section begins with its magic numbers and says who wrote it", () => {
  const bytes = sectionHeader({ application: "abc" });
  assertEquals(
    hex(bytes),
    "0a0d0d0a" + "28000000" + "4d3c2b1a" + "01000000" + "ffffffffffffffff" +
      "04000300" + "61626300" + "00000000" + "28000000",
  );
});

Deno.test("an interface is Ethernet and counts nanoseconds", () => {
  assertEquals(
    hex(interfaceDescription({ name: "net0" })),
    "01000000" + "28000000" + "01000000" + "00000000" + "02000400" + "6e657430" +
      "09000100" + "09000000" + "00000000" + "28000000",
  );
});

Deno.test("a packet has its time, its direction and its bytes, padded", () => {
  const packet: CapturedPacket = {
    interface: 1,
    nanoseconds: 0x1_0000_0002n,
    direction: "outbound",
    bytes: Uint8Array.of(1, 2, 3, 4, 5),
  };
  assertEquals(
    hex(enhancedPacket(packet)),
    "06000000" + "34000000" + "01000000" + "01000000" + "02000000" + "05000000" + "05000000" +
      "0102030405000000" + "02000400" + "02000000" + "00000000" + "34000000",
  );
});

Deno.test("a comment that is too long for an option is cut between two characters", () => {
  const block = sectionHeader({ application: "", comment: "é".repeat(40_000) });
  const view = new DataView(block.buffer);
  assertEquals([view.getUint16(24, true), view.getUint16(26, true)], [1, 0xfffe]);
  assertEquals(view.getUint32(block.length - 4, true), block.length);
});

peerTest("tshark reads a capture as it was written", ["tshark"], async () => {
  const arp = new Uint8Array(42).fill(0xff, 0, 6);
  arp.set([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1], 6);
  const packet = (number: number, direction: CapturedPacket["direction"]) =>
    enhancedPacket({
      interface: number,
      nanoseconds: 1_767_225_600_123_456_789n + BigInt(number),
      direction,
      bytes: arp.subarray(0, 42 - number),
      comment: `number ${number}`,
    });
  const path = await Deno.makeTempFile({ suffix: ".pcapng" });
  try {
    await Deno.writeFile(
      path,
      concatBytes([
        sectionHeader({ application: "chronovisor", comment: "a test" }),
        interfaceDescription({ name: "net0" }),
        packet(0, "outbound"),
        interfaceDescription({ name: "net1", description: "another" }),
        packet(1, "inbound"),
      ]),
    );
    const fields = "time_epoch interface_name packet_flags_direction len comment".split(" ");
    const { code, stdout } = await runPeer("tshark", [
      ...["-r", path, "-T", "fields", "-E", "separator=,"],
      ...fields.flatMap((field) => ["-e", `frame.${field}`]),
      ...["-e", "eth.type"],
    ]);
    assertEquals(code, 0);
    assertEquals(new TextDecoder().decode(stdout).trim().split("\n"), [
      "1767225600.123456789,net0,0x00000002,42,number 0,0x0806",
      "1767225600.123456790,net1,0x00000001,41,number 1,0x0806",
    ]);
  } finally {
    await Deno.remove(path);
  }
});
