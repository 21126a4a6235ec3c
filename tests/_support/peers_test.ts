/** Claims about peers: found where they are, ignored with a reason where not, required in CI. */
import { assertEquals, assertThrows } from "@std/assert";
import { hasPeer, peerReason, runPeer } from "./peers.ts";

Deno.test("hasPeer() finds programs by name and files by path", () => {
  assertEquals(hasPeer("sh", false), true);
  assertEquals(hasPeer(Deno.execPath(), false), true);
  assertEquals([peerReason("sh", false), hasPeer("no-such-program", false)], [undefined, false]);
  const missing = "/no/such/firmware.bin";
  assertEquals(peerReason(missing, false), `${missing} is not installed`);
});

Deno.test("where peers are required, a missing one is a failure", () => {
  assertEquals(hasPeer("sh", true), true);
  const missing = () => hasPeer("another-missing-program", true);
  assertThrows(missing, Error, "CHRONOVISOR_PEERS=required");
});

Deno.test("runPeer() gives a program's status and output", async () => {
  const { code, stdout, stderr } = await runPeer("sh", ["-c", "echo out; echo err >&2; exit 3"]);
  assertEquals([code, new TextDecoder().decode(stdout), stderr], [3, "out\n", "err\n"]);
});
