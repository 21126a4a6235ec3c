import { Prng } from "../kernel/base/prng.ts";
import { testMachine } from "./_support/machine.ts";
import { runnerImage } from "./isa/runner_image.ts";
import { traceLine } from "../kernel/machine/trace.ts";
const img = runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng(101), {
  privilege: 0,
  paging: "bare",
  float: false,
  slots: 1000,
  iterations: 20,
});
const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
m.run(1000000);
for (let i = 0; i < 150; i++) {
  const l = traceLine(m);
  m.run(1);
  if (i > 30) console.log(l);
}
for (const n of ["mcause", "mepc", "mtval"] as const) {
  console.log(n, m.core.register(0, n).toString(16));
}
