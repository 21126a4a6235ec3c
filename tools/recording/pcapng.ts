/**
 * Blocks of a packet capture as Wireshark and others read it (pcapng, draft-ietf-opsawg-pcapng; link
 * type 1, Ethernet). Knows no files: bytes of frames in, bytes of blocks out. A capture is one section
 * header, then interface descriptions and packets, each interface before its first packet.
 *
 * Invariants: blocks are little-endian and multiples of four bytes; timestamps are in nanoseconds.
 */
import { concatBytes } from "../../kernel/base/bytes.ts";

const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const LINKTYPE_ETHERNET = 1;

const OPTION = {
  end: 0,
  comment: 1,
  /** shb_userappl */
  application: 4,
  /** if_name */
  name: 2,
  /** if_description */
  description: 3,
  /** if_tsresol: the negative power of ten of a second */
  resolution: 9,
  /** epb_flags */
  flags: 2,
} as const;

const NANOSECONDS = 9;
/** epb_flags, bits 0 and 1 */
const DIRECTIONS = { inbound: 1, outbound: 2 } as const;

/** An interface that packets were seen at. */
export interface CaptureInterface {
  readonly name: string;
  readonly description?: string;
}

/** A packet that was seen. */
export interface CapturedPacket {
  /** Number of its interface: the first described one is 0. */
  readonly interface: number;
  /** When, in nanoseconds since 1970. */
  readonly nanoseconds: bigint;
  /** Whether it came to the interface's owner or left it. */
  readonly direction: keyof typeof DIRECTIONS;
  readonly bytes: Uint8Array;
  readonly comment?: string;
}

/** The block that a capture begins with. */
export function sectionHeader(
  { application, comment }: { readonly application: string; readonly comment?: string },
): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, 1, true); // version 1.0
  view.setBigInt64(8, -1n, true); // length of the section: not known
  return block(SECTION_HEADER, [
    body,
    ...comment === undefined ? [] : [textOption(OPTION.comment, comment)],
    textOption(OPTION.application, application),
  ]);
}

/** The block that describes the next interface. */
export function interfaceDescription({ name, description }: CaptureInterface): Uint8Array {
  const body = new Uint8Array(8);
  // Behind the link type: two reserved bytes, and 0 for packets that were not cut.
  new DataView(body.buffer).setUint16(0, LINKTYPE_ETHERNET, true);
  return block(INTERFACE_DESCRIPTION, [
    body,
    textOption(OPTION.name, name),
    ...description === undefined ? [] : [textOption(OPTION.description, description)],
    option(OPTION.resolution, Uint8Array.of(NANOSECONDS)),
  ]);
}

/** The block of a packet. */
export function enhancedPacket(packet: CapturedPacket): Uint8Array {
  const { bytes, comment } = packet;
  const body = new Uint8Array(20 + padded(bytes.length));
  const view = new DataView(body.buffer);
  const when = BigInt.asUintN(64, packet.nanoseconds);
  view.setUint32(0, packet.interface, true);
  view.setUint32(4, Number(when >> 32n), true);
  view.setUint32(8, Number(when & 0xffff_ffffn), true);
  view.setUint32(12, bytes.length, true);
  view.setUint32(16, bytes.length, true);
  body.set(bytes, 20);
  const flags = Uint8Array.of(DIRECTIONS[packet.direction], 0, 0, 0);
  return block(ENHANCED_PACKET, [
    body,
    ...comment === undefined ? [] : [textOption(OPTION.comment, comment)],
    option(OPTION.flags, flags),
  ]);
}

/** A block whose last part is options, which this ends. */
function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes([...parts, option(OPTION.end, new Uint8Array(0))]);
  const whole = new Uint8Array(12 + content.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, whole.length, true);
  whole.set(content, 8);
  view.setUint32(whole.length - 4, whole.length, true);
  return whole;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + padded(value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  bytes.set(value, 4);
  return bytes;
}

/** A text as UTF-8, cut to what an option can hold. */
function textOption(code: number, text: string): Uint8Array {
  const bytes = new Uint8Array(0xffff);
  const { written } = new TextEncoder().encodeInto(text, bytes);
  return option(code, bytes.subarray(0, written));
}

const padded = (length: number) => length + 3 & ~3;
