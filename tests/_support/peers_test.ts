/** Claims about peers: found where they are, ignored with a reason where not, required in CI. */
import { assertEquals, assertThrows } from "@std/assert";
import { hasPeer, peerReason, runPeer } from "./peers.ts";

function withPeers<T>(value: string | undefined, body: () => T): T {
  const before = Deno.env.get("CHRONOVISOR_PEERS");
  const set = (text: string | undefined) =>
    text === undefined
      ? Deno.env.delete("CHRONOVISOR_PEERS")
      : Deno.env.set("CHRONOVISOR_PEERS", text);
  set(value);
  try {
    return body();
  } finally {
    set(before);
  }
}

Deno.test("hasPeer() finds programs by name and files by path", () => {
  withPeers(undefined, () => {
    assertEquals(hasPeer("sh"), true);
    assertEquals(hasPeer(Deno.execPath()), true);
    assertEquals([peerReason("sh"), hasPeer("no-such-program")], [undefined, false]);
    assertEquals(peerReason("/no/such/firmware.bin"), "/no/such/firmware.bin is not installed");
  });
});

Deno.test("where peers are required, a missing one is a failure", () => {
  withPeers("required", () => {
    assertEquals(hasPeer("sh"), true);
    assertThrows(() => hasPeer("another-missing-program"), Error, "CHRONOVISOR_PEERS=required");
  });
});

Deno.test("runPeer() gives a program's status and output", async () => {
  const { code, stdout, stderr } = await runPeer("sh", ["-c", "echo out; echo err >&2; exit 3"]);
  assertEquals([code, new TextDecoder().decode(stdout), stderr], [3, "out\n", "err\n"]);
});
