/**
 * The working set of a checkpoint, learned exactly and without running anything live: from a recording that
 * the checkpoint lies in, or that begins where a VM went on from it (N6; issue 5, "Suspend and resume").
 *
 * Invariants: only the recording decides what is learned; the checkpoint is what it was, and so is its working
 * set where the recording is of another machine.
 */
import { ConfigError } from "./base/errors.ts";
import { PAGE_BYTES } from "./base/units.ts";
import { hartsOf } from "./checkpoint/checkpoint_diff.ts";
import type { CheckpointStore } from "./checkpoint/checkpoint_store.ts";
import { replayVm } from "./replayed_vm.ts";
import type { VmMaking } from "./vm_making.ts";
import type { ReplayReport } from "./world/reports.ts";
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
    // A copy, because sending a part of a buffer sends all of it.
    const harts = hartsOf(checkpoint).slice();
    let learned: Uint32Array | undefined;
    const vm = await replayVm(making, folder, {
      replayOnly: false,
      learn: { from: icount, harts, milliseconds, onLearned: (pages) => learned = pages },
    });
    if (vm.memoryBytes !== memoryPages * PAGE_BYTES) {
      await vm.powerOff();
      throw new ConfigError(
        `The VM of the recording in "${folder}" has other memory than that of checkpoint ${id}`,
      );
    }
    const { replay } = await vm.waitForExit();
    if (learned === undefined) {
      throw new ConfigError(`The recording in "${folder}" ${misfit(replay, icount, id)}`);
    }
    await store.keepWorkingSet(checkpoint, learned);
    return learned.length;
  } finally {
    checkpoint.close();
  }
}

/** Why nothing was learned from a recording for a checkpoint that was taken at an instruction. */
function misfit(replay: ReplayReport | undefined, icount: number, id: string): string {
  const expected =
    "expected one in which the checkpoint was taken, or one that begins exactly where a VM " +
    "went on from it";
  // Who learns looks at once, so that a replay goes on behind that instruction only where something is learned.
  if (replay !== undefined && replay.icount > icount) {
    return `begins at instruction ${replay.icount}, behind instruction ${icount}, where checkpoint ${id} was ` +
      `taken: ${expected}`;
  }
  // Nobody else ends a replay early.
  if (replay?.kind === "reached") {
    return `is of another machine: at instruction ${icount} its registers are not those of checkpoint ${id}: ` +
      expected;
  }
  return `ends before instruction ${icount}, where checkpoint ${id} was taken: ${expected}`;
}
