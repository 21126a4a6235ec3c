/**
 * A process that boots Debian, begins to keep it, and is killed just then: what a crash leaves behind is looked
 * at by tests/world/warm_exec_test.ts.
 */
import { VMKernel } from "../../mod.ts";

const [checkpoints = ""] = Deno.args;
const kernel = await VMKernel.start({ checkpoints });
await kernel.ready({ guest: "debian", memory: "128M" });
Deno.kill(Deno.pid, "SIGKILL");
