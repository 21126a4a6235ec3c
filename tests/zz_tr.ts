import { testMachine } from "./_support/machine.ts";
import { traceLine } from "../kernel/machine/trace.ts";
const m = testMachine({
  bios: { kind: "raw", bytes: Deno.readFileSync("/tmp/t/img.bin") },
  memoryBytes: 16 << 20,
});
const want = Deno.args[0];
let n = 0;
const h: string[] = [];
for (;;) {
  const l = traceLine(m);
  h.push(l);
  if (h.length > 6) h.shift();
  if (l.includes(want)) {
    console.log(h.slice(-5).join("\n"), "x10", m.core.register(0, "x", 10).toString(16));
    if (++n > 1) break;
  }
  if (m.run(1).kind !== "budget") break;
}
