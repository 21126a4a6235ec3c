/** Entry of the command line over a kernel with fake machines, for cli_test.ts. */
import { main } from "../../tools/cli/main.ts";
import { fakeKernel } from "../world/support.ts";

Deno.exit(await main(Deno.args, { startKernel: () => Promise.resolve(fakeKernel()) }));
