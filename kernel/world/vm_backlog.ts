/**
 * Output of a VM that waits for a reader or a disk: while there is too much of it the VM stands still, unseen by
 * its guest ("hold" in README.md).
 *
 * Invariant: a VM that was held goes on when half of it has found its way.
 */
import type { VmLink } from "./vm_link.ts";

/** Bytes at which a VM has to stand still. */
const MOST_BYTES = 8 * 1024 * 1024;

/** Something that output of a VM waits in. */
interface Waiting {
  /** Bytes that wait. */
  readonly backlog: number;
}

/** What waits of one VM's output. */
export class VmBacklog {
  #parts: readonly Waiting[] = [];
  #isHeld = false;

  constructor(private readonly link: VmLink) {}

  /** Names all in which output waits. */
  consistsOf(parts: readonly (Waiting | undefined)[]): void {
    this.#parts = parts.filter((part) => part !== undefined);
  }

  /** Something came or went: holds the VM, or lets it go on. */
  changed(): void {
    let bytes = 0;
    for (const part of this.#parts) bytes += part.backlog;
    const isHeld = bytes > (this.#isHeld ? MOST_BYTES / 2 : MOST_BYTES);
    if (isHeld !== this.#isHeld) this.link.hold(isHeld);
    this.#isHeld = isHeld;
  }
}
