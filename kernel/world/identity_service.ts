/**
 * Gives VMs their identities (base/identity.ts; issue 5, "Forks and identity"; S17): a new one to a VM that
 * begins and to a clone, and to a VM that is restored or resumed the one that it had.
 *
 * Invariants: no two VMs that the service knows have the same UUID, generation ID, MAC address or WWPN; a VM
 * whose course is a function of its seed gets the first of its seed's identities that no known VM has, so that
 * alone in its kernel it is the same VM each time.
 */
import { unreachable } from "../base/assert.ts";
import { ConfigError } from "../base/errors.ts";
import {
  drawIdentity,
  seededEntropy,
  seededIdentities,
  type VmIdentity,
} from "../base/identity.ts";
import type { HostEntropy } from "../host/entropy.ts";

/** For whom an identity is wanted. */
export interface IdentityRequest {
  /** Name of the VM: what its hostname is made from. */
  readonly name: string;
  /** Seed of a VM that is to be the same each time; without it, chance decides. */
  readonly seed?: number | undefined;
  /** Whose clone it is to be, if it is one. */
  readonly parent?: VmIdentity | undefined;
}

/** The identity of a VM that is being made. */
export interface IdentityDraft extends Disposable {
  /** What the VM may have. */
  readonly identity: VmIdentity;
  /** The VM is made, and has the identity until this promise settles. */
  keep(ended: Promise<unknown>): void;
}

/** TABLE of the parts that tell VMs apart. */
const UNIQUE = ["uuid", "generation", "mac", "wwpn"] as const;

/** The identities of the VMs of one kernel. */
export class IdentityService {
  readonly #entropy: HostEntropy;
  /** UUIDs of the known ones. */
  readonly #known = new Set<string>();
  /** Parts of the known ones, by what they are: "mac 52:…". */
  readonly #taken = new Set<string>();

  /** A service that knows no VM yet; chance comes from `entropy`. */
  constructor(entropy: HostEntropy) {
    this.#entropy = entropy;
  }

  /** Number of identities that VMs have now. */
  get size(): number {
    return this.#known.size;
  }

  /** An identity that no known VM has; it is known from now on. */
  newIdentity({ name, seed, parent }: IdentityRequest): VmIdentity {
    const drawn = seed === undefined ? this.#drawn(name) : seededIdentities(seed, name, parent);
    for (const identity of drawn) {
      const own = parent === undefined || UNIQUE.every((part) => identity[part] !== parent[part]);
      if (own && this.#clash(identity) === undefined) return this.#note(identity);
    }
    return unreachable("chance never ends");
  }

  /** The same for a VM that is still to be made: disposed of before `keep`, it is forgotten. */
  draft(request: IdentityRequest): IdentityDraft {
    const identity = this.newIdentity(request);
    let kept = false;
    return {
      identity,
      keep: (ended) => {
        kept = true;
        this.#releaseAfter(identity, ended);
      },
      [Symbol.dispose]: () => {
        if (!kept) this.release(identity);
      },
    };
  }

  /**
   * A VM that is restored or resumed keeps its identity. Throws ConfigError, naming what they share, when a
   * known VM has it: then it can run as a clone only. `release` ends it.
   */
  keep(identity: VmIdentity): void {
    const clash = this.#clash(identity);
    if (clash !== undefined) {
      throw new ConfigError(
        `Cannot run "${identity.hostname}" once more: a running VM has its ${clash} ` +
          `${identity[clash]}; expected a clone with an identity of its own`,
      );
    }
    this.#note(identity);
  }

  /** The VM with this identity, which `newIdentity` gave or `keep` took, has ended. */
  release(identity: VmIdentity): void {
    if (!this.#known.delete(identity.uuid)) return;
    for (const part of UNIQUE) this.#taken.delete(`${part} ${identity[part]}`);
  }

  /** Entropy for a clone or a resumed VM: of the host, or for one with a seed a function of who it is. */
  entropyFor(identity: VmIdentity, length: number, seed?: number): Uint8Array<ArrayBuffer> {
    if (seed !== undefined) return seededEntropy(seed, identity, length);
    const bytes = new Uint8Array(length);
    this.#entropy.fill(bytes);
    return bytes;
  }

  *#drawn(name: string): Generator<VmIdentity, never> {
    const draw = (length: number) => {
      const bytes = new Uint8Array(length);
      this.#entropy.fill(bytes);
      return bytes;
    };
    for (;;) yield drawIdentity(draw, name);
  }

  #releaseAfter(identity: VmIdentity, ended: Promise<unknown>): void {
    const release = () => this.release(identity);
    ended.then(release, release);
  }

  #clash(identity: VmIdentity): (typeof UNIQUE)[number] | undefined {
    return UNIQUE.find((part) => this.#taken.has(`${part} ${identity[part]}`));
  }

  #note(identity: VmIdentity): VmIdentity {
    this.#known.add(identity.uuid);
    for (const part of UNIQUE) this.#taken.add(`${part} ${identity[part]}`);
    return identity;
  }
}
