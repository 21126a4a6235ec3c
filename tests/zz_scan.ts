import { Prng } from "../kernel/base/prng.ts";
import { runToEnd, testMachine } from "./_support/machine.ts";
import { runnerImage } from "./isa/runner_image.ts";
const runner = Deno.readFileSync("guests/isa/runner/runner.bin");
async function qemu(img: Uint8Array) {
  Deno.writeFileSync("/tmp/t/q.bin", img);
  const o = await new Deno.Command("timeout", {
    args: [
      "20",
      "qemu-system-riscv64",
      "-M",
      "virt",
      "-cpu",
      "rv64,h=false,zbc=false,svinval=true",
      "-smp",
      "2",
      "-m",
      "16M",
      "-bios",
      "/tmp/t/q.bin",
      "-display",
      "none",
      "-monitor",
      "none",
      "-serial",
      "stdio",
    ],
    stdin: "null",
    stderr: "null",
  }).output();
  return new TextDecoder().decode(o.stdout).trim().split(/\r?\n/);
}
const N = [
  "hash",
  "count",
  ...Array.from({ length: 31 }, (_, i) => "x" + (i + 1)),
  "fcsr",
  ...Array.from({ length: 32 }, (_, i) => "f" + i),
  "data",
  "tables",
];
const [p, g, iters, s0, n, slots, fl] = [
  Number(Deno.args[0]),
  Deno.args[1],
  Number(Deno.args[2]),
  Number(Deno.args[3]),
  Number(Deno.args[4]),
  Number(Deno.args[5] ?? 300),
  Deno.args[6] === "f",
];
for (let s = s0; s < s0 + n; s++) {
  const c = { privilege: p as 3, paging: g as "bare", float: fl, slots, iterations: iters };
  const img = runnerImage(runner, new Prng(s), c);
  const m = testMachine({ bios: { kind: "raw", bytes: img }, memoryBytes: 16 << 20 });
  let a: string[];
  try {
    a = runToEnd(m, { most: 100000000 }).console.trim().split("\n");
  } catch (e) {
    a = [String(e)];
  }
  const b = await qemu(img);
  const d = N.map((x, i) => a[i] !== b[i] ? `${x}:${a[i]}/${b[i]}` : "").filter((x) => x);
  console.log(s, m.icount, d.length === 0 ? "ok" : d.slice(0, 6).join(" "));
}
