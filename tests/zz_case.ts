import { Prng } from "../kernel/base/prng.ts";
import { testMachine } from "./_support/machine.ts";
import { type Paging, runnerImage } from "./isa/runner_image.ts";
const seed = Number(Deno.args[0]), iters = Number(Deno.args[1]);
const rng = new Prng(seed);
const FS = Number(Deno.args[2] ?? 1);
const privilege = rng.pick([0, 1, 1, 3] as const);
const c = {
  privilege,
  paging: privilege === 3
    ? "bare" as const
    : rng.pick<Paging>(["bare", "sv39", "sv39", "sv48", "sv57"]),
  float: rng.below(FS) > 0,
  slots: 200 + rng.below(1800),
  iterations: 1 + rng.below(4000),
};
console.error(c);
const img = runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), rng, {
  ...c,
  iterations: iters,
});
Deno.writeFileSync("/tmp/t/img.bin", img);
const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
let out = "";
for (;;) {
  const before = m.core.register(0, "notRetired");
  const st = m.run(1);
  if (m.core.register(0, "notRetired") !== before) {
    out += `${m.core.register(0, "mcause")} ${
      m.core.register(0, "mepc").toString(16).padStart(16, "0")
    } ${m.core.register(0, "mtval").toString(16)}\n`;
  }
  if (st.kind !== "budget") break;
}
Deno.writeTextFileSync("/tmp/t/ours.txt", out);
