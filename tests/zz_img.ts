import { Prng } from "../kernel/base/prng.ts";
import { runnerImage } from "./isa/runner_image.ts";
Deno.writeFileSync(
  "/tmp/t/img.bin",
  runnerImage(Deno.readFileSync("guests/isa/runner/runner.bin"), new Prng(7), {
    privilege: 3 as 3,
    paging: "bare" as "bare",
    float: false,
    slots: 300,
    iterations: 1,
  }),
);
