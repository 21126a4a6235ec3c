import { Prng } from "../kernel/base/prng.ts";
import { runToEnd, testMachine } from "./_support/machine.ts";
import { runnerImage } from "./isa/runner_image.ts";
for (
  const [p, g] of [[3, "bare"], [1, "bare"], [0, "bare"], [1, "sv39"], [0, "sv39"], [
    1,
    "sv57",
  ]] as const
) {
  const c = { privilege: p, paging: g, float: false, slots: 300, iterations: 10 };
  const img = runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng(5), c);
  const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
  const r = runToEnd(m, { most: 20000000 });
  console.log(p, g, r.stop.kind, m.icount, r.console.split("\n").length, r.console.slice(0, 40));
  for (const n of ["mcause", "mepc", "mtval"] as const) {
    console.log(n, m.core.register(0, n).toString(16));
  }
}
