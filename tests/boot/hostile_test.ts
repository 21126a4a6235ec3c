/**
 * Hostile guests: random programs whose pointers lie in the devices' windows and whose ecalls carry random
 * arguments. Nothing may throw, hang or leave its bounds; the guest gets traps and error values.
 */
import { assert } from "@std/assert";
import { Prng } from "../../kernel/base/prng.ts";
import { hostileProgram, startleHart } from "../_support/hostile.ts";
import { testMachine } from "../_support/machine.ts";

Deno.test("random accesses to devices and random firmware calls do no harm", () => {
  let instructions = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const rng = new Prng(seed);
    const kernel = { kind: "raw", bytes: hostileProgram(rng) } as const;
    const machine = testMachine({
      kernel,
      bios: "builtin",
      harts: 2,
      disks: [{ sectors: 64, readOnly: false }],
    });
    for (let step = 0; step < 60; step++) {
      startleHart(machine, rng);
      machine.run(2000);
      for (const output of machine.takeOutputs()) {
        if (output.kind !== "disk") continue;
        machine.gate.deliver({
          kind: "disk",
          device: `disk${output.disk}`,
          tag: output.request.tag,
          status: 1,
        });
      }
    }
    instructions += machine.icount;
  }
  assert(instructions > 500_000, `only ${instructions} instructions ran`);
});
