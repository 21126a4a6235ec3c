/**
 * The entry of a worker that makes the code of one core and is ended then: what generates code is loaded
 * nowhere else, and what a VM world says, which runs a guest, never becomes another VM's code. It is started
 * with no permissions at all.
 */
import { generateCore } from "../cpu/core_code.ts";
import { planMemory } from "../memory/memory_plan.ts";
import type { CoreRecipe } from "./core_modules.ts";

globalThis.addEventListener("message", (event: Event) => {
  const { options, make } = (event as MessageEvent<CoreRecipe>).data;
  const bytes = generateCore(planMemory(options), make.heat, make.checks);
  (globalThis as unknown as Pick<Worker, "postMessage">).postMessage(bytes, [bytes.buffer]);
});
