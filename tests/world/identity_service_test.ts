/** Claims about the identities of one kernel's VMs: never two the same, and the same each time by seed. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { ConfigError } from "../../kernel/base/errors.ts";
import { parseIdentity, seededIdentity, type VmIdentity } from "../../kernel/base/identity.ts";
import type { HostEntropy } from "../../kernel/host/entropy.ts";
import { hostEntropy } from "../../kernel/host/entropy.ts";
import { IdentityService } from "../../kernel/world/identity_service.ts";

const PARTS = ["uuid", "generation", "mac", "wwpn"] as const;

/** What may happen to a service. */
type Step =
  | { readonly kind: "new"; readonly seed: number | undefined; readonly parent: number | undefined }
  | { readonly kind: "end" | "restore"; readonly which: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("new" as const),
    seed: fc.option(fc.nat(2), { nil: undefined }),
    parent: fc.option(fc.nat(20), { nil: undefined }),
  }),
  fc.record({ kind: fc.constantFrom("end" as const, "restore" as const), which: fc.nat(20) }),
);

/** Does the steps; gives the identities in the order in which they were given. */
function run(steps: readonly Step[], entropy: HostEntropy): VmIdentity[] {
  const service = new IdentityService(entropy);
  const given: VmIdentity[] = [];
  const live = new Set<VmIdentity>();
  const clashes = (one: VmIdentity) =>
    [...live].some((other) => PARTS.some((part) => other[part] === one[part]));
  for (const each of steps) {
    if (each.kind === "new") {
      const parent = given[each.parent ?? -1];
      const identity = service.newIdentity({ name: "vm", seed: each.seed, parent });
      assertEquals(parseIdentity(identity, "service"), identity);
      assertEquals(clashes(identity), false);
      for (const part of PARTS) assert(identity[part] !== parent?.[part], part);
      given.push(identity);
      live.add(identity);
      continue;
    }
    const identity = given[each.which];
    if (identity === undefined) continue;
    if (each.kind === "end") {
      if (live.delete(identity)) service.release(identity);
    } else if (clashes(identity)) assertThrows(() => service.keep(identity), ConfigError);
    else {
      service.keep(identity);
      live.add(identity);
    }
    assertEquals(service.size, live.size);
  }
  return given;
}

/** Chance that is poor: it gives few bytes, so that without a check equal ones would be met. */
function poor(): HostEntropy {
  let at = 0;
  return { fill: (into) => void into.fill(at++ >> 2 & 63), seed: () => 0 };
}

Deno.test("whatever VMs come, go and are cloned, no two that live have a part in common", () => {
  const steps = fc.array(step, { maxLength: 40 });
  fc.assert(fc.property(steps, (steps) => void run(steps, hostEntropy)));
  fc.assert(fc.property(steps, (steps) => void run(steps, poor())));
});

Deno.test("with seeds, the same comes and goes give the same identities", () => {
  const seeded = fc.array(step, { maxLength: 40 }).map((steps) =>
    steps.map((each) => each.kind === "new" ? { ...each, seed: each.seed ?? 3 } : each)
  );
  fc.assert(fc.property(seeded, (steps) => {
    assertEquals(run(steps, hostEntropy), run(steps, hostEntropy));
  }));
});

Deno.test("a VM alone has the first identity of its seed, each time", () => {
  const service = new IdentityService(hostEntropy);
  const request = { name: "vm", seed: 7 };
  const first = service.newIdentity(request);
  assertEquals(first, seededIdentity(7, "vm"));
  const second = service.newIdentity(request);
  assert(second.mac !== first.mac);
  service.release(first);
  assertEquals(service.newIdentity(request), first);
});

Deno.test("a state that runs already cannot run again but as a clone", () => {
  const service = new IdentityService(hostEntropy);
  const identity = service.newIdentity({ name: "web", seed: 1 });
  const error = assertThrows(() => service.keep(identity), ConfigError);
  assertEquals(
    error.message,
    `Cannot run "web" once more: a running VM has its uuid ${identity.uuid}; ` +
      "expected a clone with an identity of its own",
  );
  const clone = service.newIdentity({ name: "web-2", seed: 1, parent: identity });
  assertEquals(clone.hostname, "web-2");
  service.release(identity);
  service.keep(identity);
});

Deno.test("a draft that no VM was made for is forgotten, and one that was, when the VM ends", async () => {
  const service = new IdentityService(hostEntropy);
  const request = { name: "vm", seed: 1 };
  {
    using draft = service.draft(request);
    assertEquals([draft.identity.hostname, service.size], ["vm", 1]);
  }
  assertEquals(service.size, 0);
  const ended = Promise.withResolvers<void>();
  {
    using draft = service.draft(request);
    draft.keep(ended.promise);
  }
  assertEquals(service.size, 1);
  ended.reject(new Error("it failed"));
  await ended.promise.catch(() => {});
  assertEquals(service.size, 0);
});

Deno.test("a seed's entropy is another one for each identity, and the host's is chance", () => {
  const service = new IdentityService(hostEntropy);
  const [one, other] = [1, 2].map((seed) => seededIdentity(seed, "vm")) as [VmIdentity, VmIdentity];
  const text = (bytes: Uint8Array) => bytes.toHex();
  assertEquals(service.entropyFor(one, 32, 5), service.entropyFor(one, 32, 5));
  assert(text(service.entropyFor(one, 32, 5)) !== text(service.entropyFor(other, 32, 5)));
  assert(text(service.entropyFor(one, 32, 5)) !== text(service.entropyFor(one, 32, 6)));
  assert(text(service.entropyFor(one, 32)) !== text(service.entropyFor(one, 32)));
});
