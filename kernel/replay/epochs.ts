/**
 * Epochs of a recording: digests of the state at moments that the recorder chooses, which a replay that
 * verifies computes again and compares (design.md, "Records"; issue 4, "--verify").
 *
 * Invariant: both sides look at the machine after all that was due by its own clock has happened, so the
 * moment is told by the record's stamp alone.
 */
import { FormatError } from "../base/errors.ts";
import { HART } from "../memory/hart_layout.ts";
import { DirtyPages } from "../memory/dirty_pages.ts";
import { diffEpochs, type EpochDigest, formatDifference, takeEpoch } from "../machine/epoch.ts";
import type { Machine } from "../machine/machine.ts";

/** Takes the epochs of one machine, from where it is now. */
export class Epochs {
  readonly dirty: DirtyPages;

  /** Begins the first epoch. */
  constructor(private readonly machine: Machine) {
    this.dirty = new DirtyPages(machine.core.flags);
    this.dirty.start();
  }

  /** Ends an epoch. The machine is settled. */
  take(): EpochDigest {
    return takeEpoch(this.machine, this.dirty);
  }

  /** Ends an epoch and compares it with the recorded one; gives what differs, in lines for people. */
  compare(recorded: EpochDigest): string | undefined {
    const difference = diffEpochs(recorded, this.take());
    return difference && formatDifference(difference);
  }

  /** Takes no more. */
  end(): void {
    this.dirty.stop();
  }
}

/** An epoch as the fields of a record. */
export function epochFields(epoch: EpochDigest): unknown[] {
  const { harts, devices, machine, pages, pageHashes } = epoch;
  const steps = pages.map((page, i) => page - (pages[i - 1] ?? 0));
  return [harts, devices, machine, bytesOf(steps), bytesOf(pageHashes)];
}

/** An epoch from the fields of a record. Throws FormatError. */
export function readEpoch(icount: number, fields: readonly unknown[]): EpochDigest {
  const [harts, devices, machine, steps, hashes, ...rest] = fields;
  if (!(harts instanceof Uint8Array) || harts.length % HART.byteLength !== 0) {
    throw new FormatError("an epoch's harts make no sense");
  }
  if (!isDevices(devices) || typeof machine !== "number" || rest.length > 0) {
    throw new FormatError("an epoch's devices make no sense");
  }
  const pages = wordsOf(steps);
  for (let i = 1; i < pages.length; i++) pages[i]! += pages[i - 1]!;
  const pageHashes = wordsOf(hashes);
  if (pages.length !== pageHashes.length) {
    throw new FormatError("an epoch has other numbers of pages and of hashes");
  }
  return { icount, harts, devices, machine, pages, pageHashes };
}

function isDevices(value: unknown): value is Readonly<Record<string, number>> {
  return typeof value === "object" && value !== null &&
    !Array.isArray(value) && !ArrayBuffer.isView(value) &&
    Object.values(value).every((hash) => typeof hash === "number");
}

/** Little-endian bytes of words. */
function bytesOf(words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => view.setUint32(4 * i, word, true));
  return bytes;
}

function wordsOf(bytes: unknown): Uint32Array {
  if (!(bytes instanceof Uint8Array) || bytes.length % 4 !== 0) {
    throw new FormatError("an epoch's pages make no sense");
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}
