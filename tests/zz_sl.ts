import { runToEnd, testMachine } from "./_support/machine.ts";
const img = Deno.readFileSync("/tmp/t/img.bin");
for (const [slice, tlb] of [[1000000, 1024], [1000, 1024], [37, 1024], [1000000, 16], [1, 1024]]) {
  const m = testMachine({
    bios: { kind: "raw", bytes: img },
    memoryBytes: 16 << 20,
    tlbEntries: tlb!,
  });
  const r = runToEnd(m, { slice: slice! });
  console.log(slice, tlb, m.icount, r.console.slice(0, 33).replace(/\s+/g, " "), m.digest());
}
