/**
 * Parts of a VM world that most VMs never want, and that together are larger than all the rest: loaded when
 * the first message comes that wants them.
 *
 * Invariant: a message that wants a part is handled when the part is there, and none behind it before.
 */
import { TO_VM } from "./protocol.ts";

/** What a rehearsal loads for the VM that comes: to import it once more takes a turn of the event loop. */
let saving: typeof import("./save_side.ts") | undefined;

/** Loads what is wanted, once. */
export class VmExtras {
  recording: typeof import("./live_recording.ts") | undefined;
  debugging: typeof import("./live_debug.ts") | undefined;

  /** What freezes machines. */
  get saving(): typeof import("./save_side.ts") | undefined {
    return saving;
  }

  /** Whether the parts for a kind of message are here. */
  has(kind: number): boolean {
    if (kind === TO_VM.debug) return this.debugging !== undefined;
    if (kind === TO_VM.recordGo) return this.recording !== undefined;
    if (kind === TO_VM.savePrepare) return this.saving !== undefined;
    return true;
  }

  /** Loads the parts for a kind of message. */
  async load(kind: number): Promise<void> {
    if (kind === TO_VM.debug) this.debugging ??= await import("./live_debug.ts");
    if (kind === TO_VM.recordGo) await this.loadRecording();
    if (kind === TO_VM.savePrepare) await this.loadSaving();
  }

  /** Loads what freezes a machine. */
  async loadSaving(): Promise<typeof import("./save_side.ts")> {
    return saving ??= await import("./save_side.ts");
  }

  /** Loads what records. */
  async loadRecording(): Promise<typeof import("./live_recording.ts")> {
    return this.recording ??= await import("./live_recording.ts");
  }
}
