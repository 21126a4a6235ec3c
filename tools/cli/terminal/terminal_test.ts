/** Claims about the escape key and the monitor's line. */
import { assert, assertEquals } from "@std/assert";
import type { VM } from "../../../mod.ts";
import { EscapeParser } from "./escape.ts";
import { Monitor, runMonitorCommand } from "./monitor.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** What typed text means, as short words. */
function meanings(...chunks: string[]): string[] {
  const parser = new EscapeParser();
  return chunks.flatMap((chunk) => parser.push(bytes(chunk))).map((typed) =>
    typed.kind === "data" ? new TextDecoder().decode(typed.bytes) : `<${typed.kind}>`
  );
}

Deno.test("Ctrl-A commands are told from data, wherever chunks are cut", () => {
  assertEquals(meanings("ab\x01xcd"), ["ab", "<quit>", "cd"]);
  assertEquals(meanings("ab\x01", "cd"), ["ab", "<monitor>", "d"]);
  assertEquals(meanings("\x01\x01", "\x01a"), ["\x01", "\x01"]);
  assertEquals(meanings("\x01z\x01h"), ["\x01z", "<help>"]);
});

/** A VM as the monitor sees it. */
const vm = {
  name: "test",
  state: "running",
  icount: 12,
  harts: 1,
  memoryTree: () => Promise.resolve("0x0 ram"),
} as unknown as VM;

Deno.test("the monitor's line can be edited and its commands answer on the raw terminal", async () => {
  let shown = "";
  const monitor = new Monitor(
    (line) => runMonitorCommand({ vm, quit: () => {} }, line),
    (text) => shown += text,
  );
  monitor.toggle();
  monitor.type(bytes("nonsense\x15info statux\x7fs\r"));
  await monitor.settled();
  assert(shown.includes("test: running, 12 instructions retired\r\n(monitor) "), shown);
  monitor.toggle();
  assertEquals(monitor.open, false);
});

Deno.test("the monitor helps, suggests and quits", async () => {
  let quit = false;
  const target = { vm, quit: () => void (quit = true) };
  assert((await runMonitorCommand(target, "help")).includes("info mtree"));
  assertEquals(await runMonitorCommand(target, "info  mtree"), "0x0 ram");
  assert((await runMonitorCommand(target, "info mtre")).includes('Did you mean "info mtree"?'));
  assert((await runMonitorCommand(target, "info registers 9")).includes("Expected a hart"));
  assertEquals(await runMonitorCommand(target, ""), "");
  await runMonitorCommand(target, "quit");
  assert(quit);
});
