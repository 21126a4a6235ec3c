/**
 * What the kernel world and the saver's worker say to each other (S17.6). The saver reads the frozen pages of
 * a VM from its memory and makes clusters of them; the kernel world writes the clusters.
 *
 * A save has one pass, or several when its VM runs on between them (S19.5): pages of a later pass count.
 */
import type { ClusterBatch } from "../datastore/cluster_batch.ts";
import type { DedupState } from "../datastore/dedup_index.ts";
import type { EncodedPages } from "../datastore/page_encoder.ts";

/** Batches of clusters that may be under way. */
export const BATCHES_UNDER_WAY = 4;

/** Pages to read. */
export interface SavePass {
  readonly id: number;
  /** What memory/frozen_pages.ts needs: area, the VM's memory, and where RAM lies in it. */
  readonly area: SharedArrayBuffer;
  readonly memory: SharedArrayBuffer;
  readonly ram: number;
  /** Of the last pass, whose VM stands still: pages in the order of their first use, to be laid together. */
  readonly active: Uint32Array<ArrayBuffer> | undefined;
  readonly isLast: boolean;
  /** Most pages that are read in a second; Infinity: as fast as can be. */
  readonly rate: number;
}

/** To the saver. */
export type ToSaver =
  | {
    readonly kind: "begin";
    readonly id: number;
    readonly pack: string;
    readonly dedup: DedupState;
  }
  | { readonly kind: "pass"; readonly pass: SavePass }
  /** A batch of clusters was written: its buffer comes back. */
  | { readonly kind: "written"; readonly id: number; readonly buffer: ArrayBuffer }
  /** The rate counts no more. */
  | { readonly kind: "hurry"; readonly id: number }
  | { readonly kind: "abort"; readonly id: number };

/** What was read so far. */
export interface SaveProgress {
  /** Share of the pass, 0 to 1. */
  readonly share: number;
  /** Pages read in all passes. */
  readonly pages: number;
}

/** From the saver. */
export type FromSaver =
  | {
    readonly kind: "clusters";
    readonly id: number;
    readonly batch: ClusterBatch;
    readonly progress: SaveProgress;
  }
  /** All pages of a pass were read. */
  | { readonly kind: "passed"; readonly id: number; readonly progress: SaveProgress }
  /** All pages of the last pass were read, and all clusters sent. */
  | {
    readonly kind: "saved";
    readonly id: number;
    readonly pages: EncodedPages;
    readonly dedup: DedupState;
  }
  /** The save was given up, by its VM or because it was asked to. */
  | { readonly kind: "aborted"; readonly id: number };
