import { Prng } from "../kernel/base/prng.ts";
import { testMachine } from "./_support/machine.ts";
import { runnerImage } from "./isa/runner_image.ts";
import { traceLine } from "../kernel/machine/trace.ts";
const c = {
  privilege: 1 as const,
  paging: "sv39" as const,
  float: false,
  slots: 300,
  iterations: 10,
};
const img = runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng(5), c);
const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
const last: string[] = [];
try {
  for (;;) {
    const l = traceLine(m);
    last.push(l);
    if (last.length > 25) last.shift();
    if (m.run(1).kind !== "budget") break;
  }
} catch (e) {
  console.log(String(e));
}
console.log(last.join("\n"));
for (const n of ["mcause", "mepc", "mtval"] as const) {
  console.log(n, m.core.register(0, n).toString(16));
}
