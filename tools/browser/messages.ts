/**
 * What the page and the worker that replays say to each other.
 *
 * Invariant: after "start" the worker says "began" at most once, then any number of "printed" and
 * "progress", then exactly one "ended" or "failed".
 */
import type { ReplayEnding, ReplayProgress } from "./replay.ts";

/** A file as the worker can read it: over the network, or chosen by the user. */
export interface FileSource {
  /** Its path; a recording's own files begin with the recording's folder. */
  readonly path: string;
  readonly bytes: number;
  /** Where its bytes are. */
  readonly from: string | Blob;
  /** Whether it stands for any path that ends in its name: an image that was chosen by itself. */
  readonly anywhere: boolean;
}

/** A recording and what it needs: the answer to "recording.json", and what the worker is told. */
export interface FileList {
  /** Folder of the recording. */
  readonly folder: string;
  readonly files: readonly FileSource[];
}

/** Page to worker: replay this. */
export interface StartMessage extends FileList {
  readonly kind: "start";
}

/** Worker to page. */
export type WorkerMessage =
  /** A line for people about what is replayed. */
  | { readonly kind: "began"; readonly what: string }
  | { readonly kind: "printed"; readonly bytes: Uint8Array }
  | { readonly kind: "progress"; readonly progress: ReplayProgress }
  | { readonly kind: "ended"; readonly ending: ReplayEnding }
  /** The recording cannot be replayed; or, with a stack, an error of ours. */
  | { readonly kind: "failed"; readonly text: string };
