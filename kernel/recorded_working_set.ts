/**
 * The working set of a checkpoint, learned exactly and without running anything live: from a recording that
 * the checkpoint lies in, or that begins where a VM went on from it (N6; issue 5, "Suspend and resume").
 *
 * Invariant: only the recording decides what is learned; the checkpoint is what it was.
 */
import { ConfigError } from "./base/errors.ts";
import { PAGE_BYTES } from "./base/units.ts";
import type { CheckpointStore } from "./checkpoint/checkpoint_store.ts";
import { replayVm } from "./replayed_vm.ts";
import type { VmMaking } from "./vm_making.ts";
import { LEARN_MILLISECONDS } from "./world/working_set_learner.ts";

/** Learns a working set; told about at `Kernel.learnWorkingSet`. */
export async function workingSetOfRecording(
  making: VmMaking,
  store: CheckpointStore,
  id: string,
  folder: string,
  milliseconds = LEARN_MILLISECONDS,
): Promise<number> {
  if (!(milliseconds > 0 && milliseconds <= 3_600_000)) {
    throw new ConfigError(
      `Cannot learn from ${milliseconds} ms: expected more than 0, up to an hour`,
    );
  }
  const checkpoint = await store.open(id);
  try {
    const { icount, memoryPages } = checkpoint.head;
    let learned: Uint32Array | undefined;
    const vm = await replayVm(making, folder, {
      replayOnly: false,
      learn: { from: icount, milliseconds, onLearned: (pages) => learned = pages },
    });
    if (vm.memoryBytes !== memoryPages * PAGE_BYTES) {
      await vm.powerOff();
      throw new ConfigError(
        `The VM of the recording in "${folder}" has other memory than that of checkpoint ${id}`,
      );
    }
    await vm.waitForExit();
    if (learned === undefined) {
      throw new ConfigError(
        `The recording in "${folder}" ends before instruction ${icount}, where checkpoint ${id} was taken`,
      );
    }
    await store.keepWorkingSet(checkpoint, learned);
    return learned.length;
  } finally {
    checkpoint.close();
  }
}
