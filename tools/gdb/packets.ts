/**
 * Packets of gdb's remote serial protocol (GDB manual, "Overview" of the remote protocol; S13): from the
 * bytes of a connection to packets, and from replies to bytes.
 *
 * Invariant: no bytes from the other end make this throw, and it holds at most one packet of
 * PACKET_BYTES. A packet is given out only when its checksum is right.
 */

/** Longest content of a packet that is read or announced ("PacketSize"). */
export const PACKET_BYTES = 0x4000;

/** What arrives on a connection, besides packets. */
export type Arrival =
  | { readonly kind: "packet"; readonly content: Uint8Array }
  /** A packet whose checksum is wrong or which is too long. */
  | { readonly kind: "damaged" }
  /** The user wants the machine to stop (a byte 3 between packets). */
  | { readonly kind: "interrupt" }
  /** The other end did not get the last reply whole. */
  | { readonly kind: "resend" };

const START = 0x24;
const END = 0x23;
const ESCAPE = 0x7d;
const REPEAT = 0x2a;
const NAK = 0x2d;
const INTERRUPT = 3;
const ESCAPE_FLIP = 0x20;

/** Value of a hexadecimal digit, or -1. */
export function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** Finds packets in the bytes of a connection, however they are cut. */
export class PacketReader {
  #at: "between" | "content" | "checksum" = "between";
  readonly #content = new Uint8Array(PACKET_BYTES);
  #length = 0;
  #tooLong = false;
  #escaped = false;
  #sum = 0;
  #claimed = 0;
  #digits = 0;

  /** What the next bytes bring. */
  push(bytes: Uint8Array): Arrival[] {
    const found: Arrival[] = [];
    for (const byte of bytes) {
      const arrival = this.#byte(byte);
      if (arrival !== undefined) found.push(arrival);
    }
    return found;
  }

  #byte(byte: number): Arrival | undefined {
    switch (this.#at) {
      case "between":
        return this.#between(byte);
      case "content":
        this.#contentByte(byte);
        return undefined;
      case "checksum":
        return this.#checksum(byte);
    }
  }

  #between(byte: number): Arrival | undefined {
    if (byte === INTERRUPT) return { kind: "interrupt" };
    if (byte === NAK) return { kind: "resend" };
    if (byte === START) this.#start();
    return undefined;
  }

  #start(): void {
    this.#at = "content";
    this.#length = 0;
    this.#tooLong = false;
    this.#escaped = false;
    this.#sum = 0;
  }

  #contentByte(byte: number): void {
    // A start inside a packet begins another: the end of the one before was lost.
    if (byte === START) return this.#start();
    if (byte === END) {
      this.#at = "checksum";
      this.#digits = 0;
      this.#claimed = 0;
      return;
    }
    this.#sum = this.#sum + byte & 0xff;
    if (byte === ESCAPE && !this.#escaped) {
      this.#escaped = true;
      return;
    }
    if (this.#length === PACKET_BYTES) this.#tooLong = true;
    else this.#content[this.#length++] = this.#escaped ? byte ^ ESCAPE_FLIP : byte;
    this.#escaped = false;
  }

  #checksum(byte: number): Arrival | undefined {
    const digit = hexDigit(byte);
    this.#claimed = digit < 0 ? -1 : this.#claimed << 4 | digit;
    if (digit >= 0 && ++this.#digits < 2) return undefined;
    this.#at = "between";
    const good = this.#claimed === this.#sum && !this.#tooLong && !this.#escaped;
    return good
      ? { kind: "packet", content: this.#content.slice(0, this.#length) }
      : { kind: "damaged" };
  }
}

const needsEscape = (byte: number) =>
  byte === START || byte === END || byte === ESCAPE || byte === REPEAT;

/** A packet with this content, ready to send: bytes that mean something to the framing are escaped. */
export function framePacket(content: Uint8Array | string): Uint8Array<ArrayBuffer> {
  const plain = typeof content === "string" ? asciiBytes(content) : content;
  let escapes = 0;
  for (const byte of plain) if (needsEscape(byte)) escapes++;
  const framed = new Uint8Array(plain.length + escapes + 4);
  framed[0] = START;
  let at = 1;
  for (const byte of plain) {
    if (!needsEscape(byte)) framed[at++] = byte;
    else {
      framed[at++] = ESCAPE;
      framed[at++] = byte ^ ESCAPE_FLIP;
    }
  }
  let sum = 0;
  for (let i = 1; i < at; i++) sum = sum + framed[i]! & 0xff;
  framed.set(asciiBytes(`#${sum.toString(16).padStart(2, "0")}`), at);
  return framed;
}

/** Bytes of a text in which each character is one byte. */
export function asciiBytes(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Text in which each byte is one character, so that content can be taken apart as text. */
export function asciiText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
