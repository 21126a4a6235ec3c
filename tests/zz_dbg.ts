import { Prng } from "/work/main/kernel/base/prng.ts";
import { testMachine } from "/work/main/tests/_support/machine.ts";
import { runnerImage } from "/work/main/tests/isa/runner_image.ts";
import { traceLine } from "/work/main/kernel/machine/trace.ts";
const c = {
  privilege: Number(Deno.args[0]) as 3,
  paging: (Deno.args[1] ?? "bare") as "bare",
  float: false,
  slots: 100,
  iterations: 2,
};
const img = runnerImage(
  Deno.readFileSync("/work/main/guests/isa/runner/runner.bin"),
  new Prng(5),
  c,
);
const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
for (let i = 0; i < Number(Deno.args[2] ?? 400); i++) {
  console.log(traceLine(m));
  m.run(1);
}
for (const n of ["mcause", "mepc", "mtval", "mtvec"] as const) {
  console.log(n, m.core.register(0, n).toString(16));
}
