import { Prng } from "../kernel/base/prng.ts";
import { testMachine } from "./_support/machine.ts";
import { runnerImage } from "./isa/runner_image.ts";
const [p, g, it, s, sl] = Deno.args;
const img = runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng(Number(s)), {
  privilege: Number(p) as 3,
  paging: g as "bare",
  float: true,
  slots: Number(sl),
  iterations: Number(it),
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
