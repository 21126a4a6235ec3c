/**
 * Who a VM is to others: what must not be the same in two VMs that live at one time (S17; issue 5,
 * "Forks and identity"). A resume and a restore keep it, a clone gets another one.
 *
 * Plain data, so that manifests carry it as it is; `parseIdentity` reads what came from outside. Addresses are
 * of the spaces that nobody administers for all: the MAC address is an administratively assigned one of IEEE
 * 802c (local, unicast, "x2" in its first byte), the WWPN an IEEE Extended one (FC-FS, NAA 2) that holds it.
 *
 * Invariant: an identity is well-formed text in every part, in one way of writing it, so that equal parts
 * are equal strings.
 */
import { FormatError } from "./errors.ts";
import { Prng } from "./prng.ts";

/** Version of the shape below. */
export const IDENTITY_VERSION = 1;

/** The identity of a VM. */
export interface VmIdentity {
  /** IDENTITY_VERSION. */
  readonly version: 1;
  /** RFC 9562, version 4, in lower case. */
  readonly uuid: string;
  /** Generation ID: 128 bits as 32 hexadecimal digits in lower case, in the order of the bytes. */
  readonly generation: string;
  /** Address of its first network card: six bytes as "x2:00:00:00:00:00" in lower case. */
  readonly mac: string;
  /** Port name of its first host bus adapter: eight bytes as "2x:…" in lower case. */
  readonly wwpn: string;
  /** Name that the guest may give itself: a label of RFC 1123 in lower case. */
  readonly hostname: string;
}

/** Bytes of a generation ID. */
export const GENERATION_BYTES = 16;
/** Bytes of a MAC address. */
export const MAC_BYTES = 6;
/** Most characters of a label of RFC 1123. */
const LABEL_CHARACTERS = 63;

/** Gives so many bytes of chance. */
export type DrawBytes = (length: number) => Uint8Array;

const hex = (bytes: Uint8Array) =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const colons = (digits: string) => digits.replace(/..(?=.)/g, "$&:");

/** Draws an identity, for a VM with a name. */
export function drawIdentity(draw: DrawBytes, name: string): VmIdentity {
  const id = draw(16);
  id[6] = id[6]! & 0x0f | 0x40;
  id[8] = id[8]! & 0x3f | 0x80;
  const mac = draw(MAC_BYTES);
  mac[0] = mac[0]! & 0xf0 | 0x02;
  const vendor = draw(2);
  vendor[0] = vendor[0]! & 0x0f | 0x20;
  return {
    version: IDENTITY_VERSION,
    uuid: hex(id).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"),
    generation: hex(draw(GENERATION_BYTES)),
    mac: colons(hex(mac)),
    wwpn: colons(hex(vendor) + hex(mac)),
    hostname: hostnameOf(name),
  };
}

/**
 * The identities that a seed gives, one after the other: for VMs whose course is a function of their seed.
 *
 * @param parent whose clones they are for; those have other ones than the seed's own VMs
 */
export function* seededIdentities(
  seed: number | bigint,
  name: string,
  parent?: VmIdentity,
): Generator<VmIdentity, never> {
  const random = sequence(seed, "identity", parent);
  for (;;) yield drawIdentity((length) => random.bytes(length), name);
}

/** Entropy that a seed gives to a VM: another one for each identity that it can have. */
export function seededEntropy(
  seed: number | bigint,
  identity: VmIdentity,
  length: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  sequence(seed, "entropy", identity).fill(bytes);
  return bytes;
}

/** A sequence for one purpose: none of them is the one that the guest's own entropy comes from. */
function sequence(seed: number | bigint, purpose: string, identity?: VmIdentity): Prng {
  const random = new Prng(seed);
  random.mix(new TextEncoder().encode(purpose));
  if (identity !== undefined) random.mix(generationBytes(identity));
  return random;
}

/** The first identity that a seed gives. */
export function seededIdentity(seed: number | bigint, name: string): VmIdentity {
  return seededIdentities(seed, name).next().value;
}

/** A label for a guest that is made from any name; "guest" where nothing of it is left. */
export function hostnameOf(name: string): string {
  const label = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/^-/, "").slice(0, LABEL_CHARACTERS).replace(/-$/, "");
  return label === "" ? "guest" : label;
}

/** TABLE of how each part is written. */
const FORMS: Readonly<Record<Exclude<keyof VmIdentity, "version">, readonly [RegExp, string]>> = {
  uuid: [
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    "a UUID of version 4 in lower case",
  ],
  generation: [/^[0-9a-f]{32}$/, "32 hexadecimal digits in lower case"],
  mac: [
    /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/,
    "a locally administered unicast address such as 52:01:02:03:04:05",
  ],
  wwpn: [/^[25][0-9a-f](:[0-9a-f]{2}){7}$/, "a world wide port name of NAA 2 or 5"],
  hostname: [
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    "a label of at most 63 letters, digits and hyphens",
  ],
};

/** Reads an identity from parsed JSON or msgpack. Throws FormatError that names the part that is wrong. */
export function parseIdentity(value: unknown, where: string): VmIdentity {
  const refuse = (what: string, has: unknown, expected: string) => {
    const shown = typeof has === "string" ? `"${has.slice(0, 80)}"` : typeof has;
    return new FormatError(
      `${where}: ${what} of the VM's identity is ${shown}, expected ${expected}`,
    );
  };
  if (typeof value !== "object" || value === null) {
    throw new FormatError(`${where}: the VM's identity is ${typeof value}, expected an object`);
  }
  const given = value as Readonly<Record<string, unknown>>;
  if (given.version !== IDENTITY_VERSION) {
    throw new FormatError(
      `${where}: the VM's identity has version ${given.version}; this program reads version ` +
        `${IDENTITY_VERSION}`,
    );
  }
  const known = ["version", ...Object.keys(FORMS)];
  const other = Object.keys(given).find((key) => !known.includes(key));
  if (other !== undefined) throw refuse(other, given[other], "nothing of this name");
  for (const [part, [form, expected]] of Object.entries(FORMS)) {
    const text = given[part];
    if (typeof text !== "string" || !form.test(text)) throw refuse(part, text, expected);
  }
  return { ...given } as unknown as VmIdentity;
}

/** The bytes that hexadecimal digits, with or without colons, are. */
function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/g)!, (pair) => parseInt(pair, 16));
}

/** The generation ID's 16 bytes. */
export function generationBytes({ generation }: VmIdentity): Uint8Array {
  return bytesOf(generation);
}

/** The MAC address's six bytes. */
export function macBytes({ mac }: VmIdentity): Uint8Array {
  return bytesOf(mac);
}
