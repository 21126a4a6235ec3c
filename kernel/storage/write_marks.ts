/**
 * Which parts of a disk were written to: a mark for each grain of it, so that what it takes is bounded,
 * whatever the size of the disk.
 *
 * Invariant: a grain without a mark was not written to since its mark was taken off.
 */

/** Fewest sectors that share a mark: a cluster of the images that are made here. */
const GRAIN_SECTORS = 128;
/** Most marks: the grain of a larger disk is larger. */
const MARKS_MAXIMUM = 1024 * 1024;

/** Marks of one disk. */
export class WriteMarks {
  /** Sectors of a grain. */
  readonly grain: number;
  /** Grains of the disk. */
  readonly grains: number;
  readonly #marks: Uint8Array;
  #count = 0;

  /** @param sectors of the disk */
  constructor(readonly sectors: number) {
    let grain = GRAIN_SECTORS;
    while (Math.ceil(sectors / grain) > MARKS_MAXIMUM) grain *= 2;
    this.grain = grain;
    this.grains = Math.ceil(sectors / grain);
    this.#marks = new Uint8Array(this.grains);
  }

  /** Sectors that have marks. */
  get markedSectors(): number {
    return this.#count * this.grain;
  }

  /** Marks sectors, from the first up to the end. */
  mark(first: number, end: number): void {
    for (let grain = Math.floor(first / this.grain); grain * this.grain < end; grain++) {
      if (this.#marks[grain] === 0) this.#count++;
      this.#marks[grain] = 1;
    }
  }

  /** Takes the mark of a grain off; gives its sectors, or undefined when it has none. */
  take(grain: number): { readonly first: number; readonly end: number } | undefined {
    if (this.#marks[grain] === 0) return undefined;
    this.#marks[grain] = 0;
    this.#count--;
    const first = grain * this.grain;
    return { first, end: Math.min(this.sectors, first + this.grain) };
  }
}
