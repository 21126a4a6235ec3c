/**
 * Who a VM is, as the kernel world tells it: to its machine by events, and to its guest by the agent in it
 * (issue 5, "Forks and identity"; S17, S19). What the guest sees of its devices does not reach all that it has
 * copied from them: its name, the address that its network card uses, the clock that runs on without the device.
 *
 * Invariants: the machine learns it before the guest executes anything more; a guest without an agent, or with
 * one that does not answer, delays nobody for longer than a bound; what is not given changes nothing, so a VM
 * that merely goes on is what it was.
 */
import { concatBytes } from "../base/bytes.ts";
import { generationBytes, macBytes, type VmIdentity } from "../base/identity.ts";
import type { Host } from "../host/host.ts";
import { message, TO_VM } from "./protocol.ts";
import type { VmExec } from "./vm_exec.ts";
import type { VmLink } from "./vm_link.ts";

/** Bytes of entropy that a clone gets unless it is given some. */
const ENTROPY_BYTES = 64;
/** Milliseconds that the agent gets to answer, unless told otherwise. */
const ANSWER_MILLISECONDS = 2_000;

/** Who a VM is that goes on from a saved state, and what time it is. */
export interface IdentityAnnouncement {
  /** Its own, or that of the clone that it is. */
  readonly identity: VmIdentity;
  /** Whether it is another VM than the one that was saved: only then does the guest get the identity. */
  readonly isClone: boolean;
  /** The host's wall clock in nanoseconds since 1970, when the VM's is to show it: not with a virtual clock. */
  readonly wallNanoseconds?: bigint | undefined;
  /**
   * Entropy of its own; of a VM that is to be the same each time, what `IdentityService.entropyFor` gives.
   * Without it a clone gets some of the host's, and a VM that merely goes on gets none.
   */
  readonly entropy?: Uint8Array | undefined;
  /** Milliseconds that the agent gets to answer; 2000 by default. */
  readonly answerMilliseconds?: number | undefined;
}

/** What became of an announcement. */
export interface AnnouncementOutcome {
  /** "none": there was nobody to tell, or nothing; "silent": it did not answer in time; "told". */
  readonly agent: "none" | "silent" | "told";
  /** What the guest refused of it: "hostname", "mac", "entropy", "clock". */
  readonly refused: readonly string[];
}

/** What telling takes. */
export interface IdentityWays {
  readonly link: VmLink;
  readonly exec: VmExec;
  readonly host: Pick<Host, "entropy" | "timers">;
  /** Resolves when it runs; rejects when it never will. */
  readonly started: () => Promise<void>;
}

/** Who one VM is. */
export class VmWho {
  /** As last announced. */
  identity: VmIdentity | undefined;
  readonly #ways: IdentityWays;

  /** @param identity who it is at first, if that was said */
  constructor(identity: VmIdentity | undefined, ways: IdentityWays) {
    this.identity = identity;
    this.#ways = ways;
  }

  /** Tells machine and guest. */
  async announce(announcement: IdentityAnnouncement): Promise<AnnouncementOutcome> {
    const { identity, isClone, wallNanoseconds, answerMilliseconds } = announcement;
    const { link } = this.#ways;
    this.identity = identity;
    const entropy = announcement.entropy ?? this.#drawn(isClone ? ENTROPY_BYTES : 0);
    // The machine's generator and the guest's get halves that tell nothing of each other.
    const half = entropy.length >> 1;
    if (isClone) {
      const parts = [generationBytes(identity), macBytes(identity), entropy.subarray(0, half)];
      void link.send(TO_VM.identity, message("", [], concatBytes(parts)));
    }
    if (wallNanoseconds !== undefined) {
      const text = new TextEncoder().encode(`${wallNanoseconds}`);
      void link.send(TO_VM.wall, message("", [], text));
    }
    if (!isClone && wallNanoseconds === undefined && entropy.length === 0) return TOLD_NOBODY;
    const payload = agentPayload(announcement, entropy.subarray(half));
    return await this.#tellAgent(payload, answerMilliseconds ?? ANSWER_MILLISECONDS);
  }

  async #tellAgent(payload: Uint8Array, milliseconds: number): Promise<AnnouncementOutcome> {
    const { exec, host: { timers }, started } = this.#ways;
    const [late, answered] = [new AbortController(), new AbortController()];
    const wait = async () => {
      await started();
      if (await timers.delay(milliseconds, answered.signal)) late.abort();
    };
    wait().catch(() => late.abort());
    const refused = await exec.identify(payload, late.signal);
    answered.abort();
    if (refused !== undefined) return { agent: "told", refused };
    return late.signal.aborted ? { agent: "silent", refused: [] } : TOLD_NOBODY;
  }

  #drawn(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#ways.host.entropy.fill(bytes);
    return bytes;
  }
}

const TOLD_NOBODY: AnnouncementOutcome = { agent: "none", refused: [] };

/** What the agent is told (exec_protocol.ts, `identity`). */
function agentPayload(
  { identity, isClone, wallNanoseconds }: IdentityAnnouncement,
  entropy: Uint8Array,
): Uint8Array {
  const lines = [
    isClone ? identity.hostname : "",
    isClone ? identity.mac : "",
    wallNanoseconds ?? "",
  ];
  return concatBytes([
    new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")),
    entropy,
  ]);
}
