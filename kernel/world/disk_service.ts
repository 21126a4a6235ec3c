/**
 * Serves one disk of a VM in the kernel world: the VM world asks through the mailbox, because it has
 * no permission to open a file, and moves the data into guest memory itself.
 *
 * Invariants: what a request does and sees is as if requests ran in the order they came, though they may
 * end in another (disk_turns.ts); a request that lies outside the disk, writes to a read-only one or is
 * longer than MOST_BYTES ends with an error before the disk is touched; a failing host file is an I/O error
 * of the guest's, never the end of the VM.
 * A read holds one message's data at a time.
 */
import { concatBytes } from "../base/bytes.ts";
import { HostError } from "../base/errors.ts";
import { MESSAGE_DATA_MAXIMUM, SECTOR_BYTES } from "../limits.ts";
import type { BlockDevice } from "../storage/block_device.ts";
import { DiskTurns } from "./disk_turns.ts";
import { DISK_KINDS, type Message, message, TO_VM } from "./protocol.ts";
import type { VmLink } from "./vm_link.ts";

/** Longest read or write (discard and zero may be longer: they carry no data). */
const MOST_BYTES = 16 * 1024 * 1024;

/** Status of a request that succeeded. */
export const DISK_OK = 0;
/** Status of a request that failed. */
export const DISK_ERROR = 1;
/** Status of a request of a kind that the disk does not offer. */
export const DISK_UNSUPPORTED = 2;

interface Request {
  readonly tag: number;
  readonly kind: (typeof DISK_KINDS)[number] | undefined;
  readonly sector: number;
  readonly length: number;
  readonly data: readonly Uint8Array[];
}

/** One disk of one VM. */
export class DiskService {
  readonly #device: string;
  /** What it serves; set only while no request is under way. */
  disk: BlockDevice;
  readonly #link: Pick<VmLink, "send">;
  readonly #onProgress: () => void;
  readonly #data = new Map<number, Uint8Array[]>();
  readonly #turns = new DiskTurns();
  #backlog = 0;

  /** `onProgress` is called when `backlog` went down. */
  constructor(
    device: string,
    disk: BlockDevice,
    link: Pick<VmLink, "send">,
    onProgress: () => void,
  ) {
    this.#device = device;
    this.disk = disk;
    this.#link = link;
    this.#onProgress = onProgress;
  }

  /** Bytes of data that wait to be written. */
  get backlog(): number {
    return this.#backlog;
  }

  /** A part of a request's data arrived. */
  addData({ numbers: [tag = 0], bytes }: Message): void {
    const parts = this.#data.get(tag);
    if (parts === undefined) this.#data.set(tag, [bytes]);
    else parts.push(bytes);
    this.#backlog += bytes.length;
  }

  /** A request arrived. */
  addRequest({ numbers: [tag = 0, kind = -1, sector = 0, length = 0] }: Message): void {
    const data = this.#data.get(tag) ?? [];
    this.#data.delete(tag);
    const { disk } = this;
    const request = { tag, kind: DISK_KINDS[kind], sector, length, data };
    const refusal = this.#refusal(request);
    // One that is refused touches no sectors.
    const [first, count] = refusal === undefined ? [sector, length / SECTOR_BYTES] : [0, 0];
    this.#turns.add({
      disk,
      access: request.kind === "read" ? "reads" : request.kind === "flush" ? "flushes" : "changes",
      first,
      end: first + count,
      run: () => this.#serve(request, refusal),
    });
  }

  /** Resolves when all requests that came so far have ended. */
  idle(): Promise<void> {
    return this.#turns.ended();
  }

  /** Resolves when all requests have ended and the disk is closed. */
  async close(): Promise<void> {
    await this.#turns.ended();
    try {
      await this.disk.close();
    } catch (error) {
      // What could not be written was never flushed by the guest: it was promised nothing.
      if (!(error instanceof HostError)) throw error;
    }
  }

  async #serve(request: Request, refusal: number | undefined): Promise<void> {
    let status: number;
    try {
      status = refusal ?? await this.#execute(request);
    } catch {
      // The host's failure is the guest's I/O error, as on a real machine with a bad disk.
      status = DISK_ERROR;
    }
    this.#backlog -= request.data.reduce((sum, part) => sum + part.length, 0);
    this.#onProgress();
    await this.#link.send(TO_VM.diskDone, message(this.#device, [request.tag, status]));
  }

  #refusal({ kind, sector, length, data }: Request): number | undefined {
    const { disk } = this;
    if (kind === undefined) return DISK_UNSUPPORTED;
    if (kind === "flush") return undefined;
    const whole = [sector, length].every((n) => Number.isSafeInteger(n) && n >= 0) &&
      length % SECTOR_BYTES === 0;
    if (!whole || sector + length / SECTOR_BYTES > disk.sectors) return DISK_ERROR;
    if (kind !== "read" && disk.readOnly) return DISK_ERROR;
    if (kind === "read" || kind === "write") {
      if (length > MOST_BYTES) return DISK_ERROR;
    }
    const carried = data.reduce((sum, part) => sum + part.length, 0);
    return kind === "write" && carried !== length ? DISK_ERROR : undefined;
  }

  async #execute(request: Request): Promise<number> {
    const { disk } = this;
    const { kind, sector, length, data } = request;
    const count = length / SECTOR_BYTES;
    switch (kind) {
      case "read":
        await this.#read(request);
        break;
      case "write":
        await disk.write(sector, concatBytes(data));
        break;
      case "zero":
      case "zeroUnmap":
        await disk.zero(sector, count, kind === "zeroUnmap");
        break;
      case "flush":
        await disk.flush();
        break;
      default:
        await disk.discard(sector, count);
        break;
    }
    return DISK_OK;
  }

  async #read({ tag, sector, length }: Request): Promise<void> {
    const { disk } = this;
    for (let at = 0; at < length; at += MESSAGE_DATA_MAXIMUM) {
      const part = new Uint8Array(Math.min(MESSAGE_DATA_MAXIMUM, length - at));
      await disk.read(sector + at / SECTOR_BYTES, part);
      await this.#link.send(TO_VM.diskData, message(this.#device, [tag], part));
    }
  }
}
