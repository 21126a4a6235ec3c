/**
 * In which order the requests to one disk of a VM take their turns: those that do not touch each other run
 * beside each other where the device gains from it, and all others in the order in which they came.
 *
 * Invariants: of two requests with common sectors, one of which changes them, the later one starts when the
 * earlier one has ended; a flush starts when all changes that came before it have ended. At most AT_ONCE requests
 * run at once, which bounds what they hold in memory.
 */
import type { BlockDevice } from "../storage/block_device.ts";

/** Most requests that run at once. */
const AT_ONCE = 16;

/** A request, as far as its turn is concerned. */
export interface Turn {
  readonly disk: BlockDevice;
  readonly access: "reads" | "changes" | "flushes";
  /** Its sectors: from the first up to the end. */
  readonly first: number;
  readonly end: number;
  /** Does it; never rejects. */
  run(): Promise<void>;
}

interface Place {
  readonly turn: Turn;
  readonly ended: PromiseWithResolvers<void>;
  isRunning: boolean;
}

/** Whether a request has to wait for one that came earlier. */
function mustWait(later: Turn, earlier: Turn): boolean {
  if (later.disk.concurrent !== true) return true;
  if (later.access === "flushes") return earlier.access === "changes";
  if (earlier.access === "flushes") return false;
  if (earlier.access === "reads" && later.access === "reads") return false;
  return later.first < earlier.end && earlier.first < later.end;
}

/** The requests to one disk that have not ended. */
export class DiskTurns {
  /** In the order in which they came. */
  readonly #places: Place[] = [];
  #running = 0;

  /** A request came. */
  add(turn: Turn): void {
    this.#places.push({ turn, ended: Promise.withResolvers(), isRunning: false });
    this.#startAll();
  }

  /** Resolves when all requests that came so far have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#places.map(({ ended }) => ended.promise));
  }

  #startAll(): void {
    for (let i = 0; i < this.#places.length && this.#running < AT_ONCE; i++) {
      const place = this.#places[i]!;
      if (!place.isRunning && !this.#waits(i)) void this.#run(place);
    }
  }

  /** Whether the request at a place has to wait. */
  #waits(place: number): boolean {
    const { turn } = this.#places[place]!;
    for (let i = 0; i < place; i++) if (mustWait(turn, this.#places[i]!.turn)) return true;
    return false;
  }

  async #run(place: Place): Promise<void> {
    place.isRunning = true;
    this.#running++;
    // Whoever adds a request goes on first, as those who wait for another do.
    await Promise.resolve();
    await place.turn.run();
    this.#running--;
    this.#places.splice(this.#places.indexOf(place), 1);
    place.ended.resolve();
    this.#startAll();
  }
}
