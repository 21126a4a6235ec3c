/**
 * Serves one disk of a VM in the kernel world: the VM world asks through the mailbox, because it has
 * no permission to open a file, and moves the data into guest memory itself.
 *
 * Invariants: requests end in the order they came; a request that lies outside the disk, writes to a
 * read-only one or is longer than MOST_BYTES ends with an error before the disk is touched; a failing
 * host file is an I/O error of the guest's, never the end of the VM.
 */
import { concatBytes } from "../base/bytes.ts";
import { MESSAGE_DATA_MAXIMUM, SECTOR_BYTES } from "../limits.ts";
import type { BlockDevice } from "../storage/block_device.ts";
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
  /** What it serves; replaced only while no request is under way. */
  disk: BlockDevice;
  readonly #link: VmLink;
  readonly #onProgress: () => void;
  readonly #data = new Map<number, Uint8Array[]>();
  #turn: Promise<void> = Promise.resolve();
  #backlog = 0;

  /** `onProgress` is called when `backlog` went down. */
  constructor(device: string, disk: BlockDevice, link: VmLink, onProgress: () => void) {
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
    const request: Request = { tag, kind: DISK_KINDS[kind], sector, length, data };
    this.#turn = this.#turn.then(() => this.#serve(request));
  }

  /** Resolves when all requests have ended and the disk is closed. */
  async close(): Promise<void> {
    await this.#turn;
    await this.disk.close();
  }

  async #serve(request: Request): Promise<void> {
    let status: number;
    try {
      status = this.#refusal(request) ?? await this.#execute(request);
    } catch {
      // The host's failure is the guest's I/O error, as on a real machine with a bad disk.
      status = DISK_ERROR;
    }
    this.#backlog -= request.data.reduce((sum, part) => sum + part.length, 0);
    this.#onProgress();
    await this.#link.send(TO_VM.diskDone, message(this.#device, [request.tag, status]));
  }

  #refusal({ kind, sector, length, data }: Request): number | undefined {
    if (kind === undefined) return DISK_UNSUPPORTED;
    if (kind === "flush") return undefined;
    const whole = [sector, length].every((n) => Number.isSafeInteger(n) && n >= 0) &&
      length % SECTOR_BYTES === 0;
    if (!whole || sector + length / SECTOR_BYTES > this.disk.sectors) return DISK_ERROR;
    if (kind !== "read" && this.disk.readOnly) return DISK_ERROR;
    if (kind === "read" || kind === "write") {
      if (length > MOST_BYTES) return DISK_ERROR;
    }
    const carried = data.reduce((sum, part) => sum + part.length, 0);
    return kind === "write" && carried !== length ? DISK_ERROR : undefined;
  }

  async #execute(request: Request): Promise<number> {
    const { kind, sector, length, data } = request;
    switch (kind) {
      case "read":
        await this.#read(request);
        break;
      case "write":
        await this.disk.write(sector, concatBytes(data));
        break;
      case "zero":
        await this.disk.zero(sector, length / SECTOR_BYTES, false);
        break;
      case "flush":
        await this.disk.flush();
        break;
      default:
        await this.disk.discard(sector, length / SECTOR_BYTES);
        break;
    }
    return DISK_OK;
  }

  async #read({ tag, sector, length }: Request): Promise<void> {
    for (let at = 0; at < length; at += MESSAGE_DATA_MAXIMUM) {
      const part = new Uint8Array(Math.min(MESSAGE_DATA_MAXIMUM, length - at));
      await this.disk.read(sector + at / SECTOR_BYTES, part);
      await this.#link.send(TO_VM.diskData, message(this.#device, [tag], part));
    }
  }
}
