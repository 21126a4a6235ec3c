/** Benchmark suite `cpu`: integer kernels on the translator tier against QEMU's TCG. */
import { contestSuite } from "./support/kernel_contest.ts";
import { CHASE, INTEGER_KERNELS } from "./support/kernels.ts";

export default contestSuite({
  description: "integer kernels against QEMU; the pointer chase apart",
  kernels: INTEGER_KERNELS,
  apart: [CHASE],
  leastEach: 0.9,
  leastMean: 1.4,
});
