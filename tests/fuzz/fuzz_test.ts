/** Every fuzz target for a moment, the canary, and what the engine promises of seeds. */
import { assert, assertEquals } from "@std/assert";
import { fuzz, type FuzzTarget } from "./engine.ts";
import { CANARY, FUZZ_TARGETS } from "./mod.ts";

const STEPS = 300;
const SECONDS = 2;
/** Parsers of what comes from strangers' recordings and debuggers get a minute together (issue 4). */
const LONGER = ["log-segment", "log-frame", "log-cluster", "log-record", "manifest", "rsp"];
const LONGER_SECONDS = 10;

Deno.test("the canary fails, and the seed it fails with fails alone", async () => {
  const { failure } = await fuzz(CANARY, { seed: 1, steps: 2000 });
  assert(failure !== undefined);
  const again = await fuzz(CANARY, { seed: failure.seed, steps: 1 });
  assertEquals(again.failure?.seed, failure.seed);
});

Deno.test("a step that fails ends the run and names its seed and cause", async () => {
  const cause = new Error("found");
  let calls = 0;
  const target: FuzzTarget = {
    name: "third",
    step() {
      if (++calls === 3) throw cause;
    },
  };
  const result = await fuzz(target, { seed: 40, steps: 10 });
  assertEquals(result, { name: "third", steps: 3, failure: { seed: 42, cause } });
});

Deno.test("names of fuzz targets are unique and fit on a command line", () => {
  const names = FUZZ_TARGETS.map(({ name }) => name);
  assertEquals(new Set(names).size, names.length);
  for (const name of names) assertEquals([name, /^[a-z0-9-]+$/.test(name)], [name, true]);
});

for (const target of FUZZ_TARGETS) {
  Deno.test(`fuzzing ${target.name} finds nothing`, async () => {
    const budget = LONGER.includes(target.name)
      ? { seconds: LONGER_SECONDS }
      : { steps: STEPS, seconds: SECONDS };
    const { failure, steps } = await fuzz(target, { seed: 1, ...budget });
    if (failure) {
      const message = `deno task fuzz ${target.name} --seed ${failure.seed}`;
      throw new Error(message, { cause: failure.cause });
    }
    assert(steps > 0);
  });
}
