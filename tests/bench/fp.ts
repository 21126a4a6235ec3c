/** Benchmark suite `fp`: float kernels on the translator tier against QEMU's TCG. */
import { contestSuite } from "./support/kernel_contest.ts";
import { FLOAT_KERNELS } from "./support/kernels.ts";

export default contestSuite({
  description: "float kernels against QEMU, one of them in other rounding modes",
  kernels: FLOAT_KERNELS,
  leastMean: 1,
});
