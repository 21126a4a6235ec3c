/**
 * Claims about the pages that a suspended VM used last: a suspend notes them, so that they are there first when
 * the VM goes on (S17.6, N6).
 */
import { assert, assertEquals } from "@std/assert";
import { CheckpointStore } from "../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../kernel/host/entropy.ts";
import { hostFiles } from "../../kernel/host/files.ts";
import { hostPageCodec } from "../../kernel/host/page_codec.ts";
import { VMKernel } from "../../mod.ts";
import { countingGuest } from "../_support/counting_guest.ts";

Deno.test("a suspended VM's active pages are what it used while it was saved, and are there first", async () => {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-test-" });
  try {
    await using kernel = await VMKernel.start({ checkpoints: folder });
    const vm = await kernel.powerOn({
      kernel: countingGuest(),
      bios: "none",
      memory: "16M",
      clock: "virtual",
    });
    const reader = vm.console.readable.pipeThrough(new TextDecoderStream()).getReader();
    for (let shown = ""; shown !== "ready\n";) shown += (await reader.read()).value ?? "";
    const { id } = await kernel.suspend(vm);
    const saved = new CheckpointStore({
      files: hostFiles,
      entropy: hostEntropy,
      codec: hostPageCodec,
    }, folder).open(id);
    const { activePages } = await saved;
    (await saved).close();
    assert(activePages > 0 && activePages < 64, `${activePages} active pages`);
    const resumed = await kernel.resume(id);
    const writer = resumed.console.writable.getWriter();
    await writer.write(new TextEncoder().encode("abq"));
    const text = await new Response(resumed.console.readable as BodyInit).text();
    assertEquals(text, "1\n2\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
