import { Prng } from "../kernel/base/prng.ts";
import { testMachine } from "./_support/machine.ts";
import { runnerImage } from "./isa/runner_image.ts";
import { traceLine } from "../kernel/machine/trace.ts";
const [p, g, iters, s, slots] = [
  Number(Deno.args[0]),
  Deno.args[1],
  Number(Deno.args[2]),
  Number(Deno.args[3]),
  Number(Deno.args[4] ?? 300),
];
const img = runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng(s), {
  privilege: p as 3,
  paging: g as "bare",
  float: false,
  slots,
  iterations: iters,
});
const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
const seen = new Set<string>();
for (;;) {
  const l = traceLine(m);
  const before = m.core.register(0, "mcause"), mp = m.core.register(0, "mepc");
  if (m.run(1).kind !== "budget") break;
  const pc = m.core.register(0, "pc");
  if (pc === m.core.register(0, "mtvec")) {
    const k = l.split(" ").slice(2).join(" ") + " cause " + m.core.register(0, "mcause") +
      " tval " + m.core.register(0, "mtval").toString(16);
    console.log(k);
  }
}
