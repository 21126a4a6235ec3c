import { Prng } from "../kernel/base/prng.ts";
import { testMachine } from "./_support/machine.ts";
import { runnerImage } from "./isa/runner_image.ts";
import { traceLine } from "../kernel/machine/trace.ts";
const img = runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng(105), {
  privilege: 0,
  paging: "bare",
  float: false,
  slots: 1500,
  iterations: 1,
});
const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
const hist: string[] = [];
for (;;) {
  const l = traceLine(m);
  const before = m.core.register(0, "x", 7);
  if (m.run(1).kind !== "budget") break;
  const a = m.core.register(0, "x", 7);
  const pc = BigInt("0x" + l.split(" ")[3]);
  if (pc >= 0x800115a0n && pc <= 0x800115d8n) {
    console.log(
      l,
      "x7",
      m.core.register(0, "x", 7).toString(16),
      "x6",
      m.core.register(0, "x", 6).toString(16),
    );
  }
  if (pc >= 0x80010000n) {
    hist.push(l);
    if (a !== before) {
      console.log("x16", before.toString(16), "->", a.toString(16));
      console.log(hist.slice(-6).join("\n"));
    }
  }
}
