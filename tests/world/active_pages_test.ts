/**
 * Claims about the pages that a suspended VM used last: a suspend notes them, so that they are there first when
 * the VM goes on (S17.6, N6).
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CheckpointStore } from "../../kernel/checkpoint/checkpoint_store.ts";
import { hostEntropy } from "../../kernel/host/entropy.ts";
import { hostFiles } from "../../kernel/host/files.ts";
import { hostPageCodec } from "../../kernel/host/page_codec.ts";
import { FormatError, type VM, VMKernel } from "../../mod.ts";
import { countingGuest } from "../_support/counting_guest.ts";
import { withFolder } from "../_support/folder.ts";

/** A small guest that has come to where it waits. */
async function ready(kernel: VMKernel): Promise<VM> {
  const vm = await kernel.powerOn({
    kernel: countingGuest(),
    bios: "none",
    memory: "16M",
    clock: "virtual",
  });
  const reader = vm.console.readable.pipeThrough(new TextDecoderStream()).getReader();
  for (let shown = ""; shown !== "ready\n";) shown += (await reader.read()).value ?? "";
  return vm;
}

Deno.test("a suspended VM's active pages are what it used while it was saved, and are there first", () =>
  withFolder(async (folder) => {
    await using kernel = await VMKernel.start({ checkpoints: folder });
    const vm = await ready(kernel);
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
  }));

Deno.test("a state whose first pages are damaged is not run from, and stays there to be mended", () =>
  withFolder(async (folder) => {
    await using kernel = await VMKernel.start({ checkpoints: folder });
    const vm = await ready(kernel);
    const { id } = await kernel.suspend(vm);
    // Who suspended it has read these pages already.
    await using other = await VMKernel.start({ checkpoints: folder });
    const [pack] = [...Deno.readDirSync(`${folder}/packs`)].map(({ name }) => name);
    const path = `${folder}/packs/${pack}`;
    const bytes = await Deno.readFile(path);
    // All pages, but not the tables behind them, which are some hundred bytes.
    const damaged = bytes.slice();
    for (let at = 64; at < bytes.length - 1024; at += 256) damaged[at]! ^= 1;
    await Deno.writeFile(path, damaged);
    await assertRejects(() => other.resume(id), FormatError, "checksum");
    assertEquals(await (await other.checkpoints()).claimState(id), "available");
    assertEquals(other.vms.length, 0);
    await Deno.writeFile(path, bytes);
    const resumed = await other.resume(id);
    assertEquals(resumed.identity, vm.identity);
    await resumed.powerOff();
  }));
