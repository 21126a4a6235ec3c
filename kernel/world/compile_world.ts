/**
 * The entry of the compile world: one worker that makes the regions of all VMs of a kernel, so that their
 * own threads go on meanwhile (issue 3 section 1). It is started with no permissions at all.
 *
 * Invariant: it holds no state of a VM; if it were gone, VMs would go on in the interpreter.
 */
import { type KernelToCompileWorld, READY, type ToKeep } from "./translation_protocol.ts";
import { SharedTranslations } from "./shared_translations.ts";
import { TranslationServer } from "./translation_server.ts";

const port = globalThis as unknown as Pick<Worker, "postMessage">;
const servers = new Map<number, TranslationServer>();
const shared = new SharedTranslations();

globalThis.addEventListener("message", (event: Event) => {
  const { data } = event as MessageEvent<KernelToCompileWorld>;
  if (data.kind === "introduce") {
    servers.set(data.vm.id, new TranslationServer(data.vm, shared));
    return;
  }
  const { id, last } = data;
  const answer: ToKeep = { id, bytes: servers.get(id)?.keep() };
  if (last) servers.delete(id);
  port.postMessage(answer);
});
port.postMessage(READY);
