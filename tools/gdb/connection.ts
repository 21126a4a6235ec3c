/**
 * What the commands of one connection share: what the client announced and chose, and where the machine
 * stopped last.
 */
import { ConfigError, FormatError, HostError } from "../../kernel/base/errors.ts";
import type { DebugResume, DebugStop, DebugTarget } from "../../kernel/debug/target.ts";
import { hexBytes } from "./numbers.ts";
import { framePacket, PACKET_BYTES } from "./packets.ts";
import { PlantedPoints } from "./points.ts";

/** What answers a packet: content, or undefined for no answer at all. */
export type Reply = string | Uint8Array | undefined;

/** The answer to a packet that this server does not know. */
export const UNKNOWN = "";

/** The answer to a packet that makes no sense. */
export const MALFORMED = "E01";

/** Bytes of text in one "O" packet. */
const CONSOLE_BYTES = PACKET_BYTES / 4;

/** State of a connection. Threads of the protocol are harts plus one. */
export class Connection {
  /** Names of the features that the client supports. */
  announced: ReadonlySet<string> = new Set();
  /** Hart that registers and memory are asked of: the last one chosen ("Hg") or told of in a stop. */
  hart = 0;
  /** Hart that "s" and "bs" step ("Hc"), when one was chosen. */
  stepHart: number | undefined;
  /** Why the machine stands still, once it ran. */
  stop: DebugStop | undefined;
  /** Whether the machine runs at the client's request. */
  running = false;
  /** Whether the client said that it leaves. */
  left = false;
  /** Called when the machine was set going. */
  begun: () => void = () => {};
  readonly points: PlantedPoints;
  /** A document that the client is reading in pieces, by its name. */
  readonly documents: Map<string, Uint8Array> = new Map();
  /** Why the last write was refused: gdb before 16 does not show the reason that its reply carries. */
  refusal: string | undefined;
  readonly #send: (packet: Uint8Array<ArrayBuffer>) => Promise<void>;

  constructor(
    readonly target: DebugTarget,
    send: (packet: Uint8Array<ArrayBuffer>) => Promise<void>,
  ) {
    this.#send = send;
    this.points = new PlantedPoints(target);
  }

  /** Prints text on the client's console. Only while the machine runs or `monitor` does. */
  async print(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length; at += CONSOLE_BYTES) {
      await this.#send(framePacket(`O${hexBytes(bytes.subarray(at, at + CONSOLE_BYTES))}`));
    }
  }

  /** Lets the machine go on until it stops. */
  async resume(how: DebugResume): Promise<void> {
    await this.printRefusal();
    this.running = true;
    try {
      const stopped = this.target.resume(how);
      this.begun();
      this.stop = await stopped;
    } finally {
      this.running = false;
    }
  }

  /** Prints why a write was refused, if that was not said yet. */
  async printRefusal(): Promise<void> {
    const { refusal } = this;
    this.refusal = undefined;
    if (refusal !== undefined) await this.print(`${refusal}\n`);
  }
}

/** What an error tells the user; errors that are ours are thrown on. */
export function reasonOf(error: unknown): string {
  const known = error instanceof HostError || error instanceof ConfigError ||
    error instanceof FormatError;
  if (!known) throw error;
  return error.message;
}

/** An error reply with a text; characters that the framing would need to escape are left out. */
export function errorReply(reason: string): string {
  return `E.${reason.slice(0, 1000).replace(/[^ -~]|[#$*}]/g, "?")}`;
}
