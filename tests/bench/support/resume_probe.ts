/**
 * A process that lets a suspended VM go on, as often as wanted, and prints when its first instruction was about
 * to be executed, in milliseconds since 1970: a part of the suite `checkpoint`.
 */
import { VMKernel } from "../../../mod.ts";

if (import.meta.main) {
  const [checkpoints, translations, id] = Deno.args;
  await using kernel = await VMKernel.start({
    checkpoints: checkpoints!,
    translations: translations!,
    worlds: `${translations}/../worlds`,
  });
  const vm = await kernel.restore(id!);
  console.log(vm.startedAt);
  await vm.powerOff();
}
