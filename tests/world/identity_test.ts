/**
 * Claims about telling a VM who it is (kernel/world/vm_identity.ts): what its machine learns and when, and what
 * agents old and new, deaf and refusing, make of it.
 */
import { assert, assertEquals } from "@std/assert";
import { seededIdentity } from "../../kernel/base/identity.ts";
import { TO_VM } from "../../kernel/world/protocol.ts";
import { encodeExecFrame, ExecFrameReader } from "../../kernel/world/exec_protocol.ts";
import { type AgentPlace, VmExec } from "../../kernel/world/vm_exec.ts";
import type { VmLink } from "../../kernel/world/vm_link.ts";
import type { IdentityAnnouncement, VM } from "../../mod.ts";
import { behave, fakeKernel } from "./support.ts";

const CLONE = seededIdentity(5, "web-2");
const WALL = 1_800_000_000_000_000_000n;

/** Tells a fake guest with an agent; gives the outcome and the lines that it printed. */
async function told(agent: string, announcement: IdentityAnnouncement) {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave(`who ${agent}`, { clock: "virtual" }));
  const output = vm.console.readable.pipeThrough(new TextDecoderStream() as never);
  await until(vm, () => vm.hasAgent);
  const outcome = await vm.announceIdentity({ answerMilliseconds: 60_000, ...announcement });
  const identity = vm.identity;
  // What is typed reaches the guest behind all that was told.
  await vm.console.write("x");
  let text = "";
  for await (const part of output) if ((text += part).includes("typed\n")) break;
  await vm.powerOff();
  return { outcome, identity, lines: text.trim().split("\n").filter((line) => line !== "typed") };
}

async function until(vm: VM, condition: () => boolean): Promise<void> {
  while (!condition()) await vm.digest();
}

Deno.test("a clone's machine gets another identity and its wall clock, and its guest both", async () => {
  const { outcome, identity, lines } = await told("2", {
    identity: CLONE,
    isClone: true,
    wallNanoseconds: WALL,
    entropy: new Uint8Array(48),
  });
  assertEquals(outcome, { agent: "told", refused: [] });
  assertEquals(identity, CLONE);
  const { generation, mac } = CLONE;
  assertEquals(lines, [
    "begun",
    `event ${generation} ${mac.replaceAll(":", "")} 24`,
    `wall ${WALL}`,
    `told N web-2|${mac}|${WALL}|24`,
  ]);
});

Deno.test("a VM that merely goes on is told the time and keeps who it is", async () => {
  const { outcome, lines } = await told("2", {
    identity: CLONE,
    isClone: false,
    wallNanoseconds: WALL,
  });
  assertEquals(outcome.agent, "told");
  assertEquals(lines, ["begun", `wall ${WALL}`, `told N ||${WALL}|0`]);
});

Deno.test("where there is nothing to tell, nothing comes in", async () => {
  const { outcome, lines } = await told("2", { identity: CLONE, isClone: false });
  assertEquals(outcome, { agent: "none", refused: [] });
  assertEquals(lines, ["begun"]);
});

Deno.test("an agent of the first version is told nothing, its machine all the same", async () => {
  const { outcome, lines } = await told("1", { identity: CLONE, isClone: true });
  assertEquals(outcome, { agent: "none", refused: [] });
  assertEquals(lines.length, 2);
  assert(lines[1]!.startsWith("event ") && lines[1]!.endsWith(" 32"), "half of the host's entropy");
});

Deno.test("what the guest refuses is named", async () => {
  const proud = seededIdentity(5, "proud");
  const { outcome } = await told("2", { identity: proud, isClone: true });
  assertEquals(outcome, { agent: "told", refused: ["hostname", "mac"] });
});

Deno.test("an agent that does not answer delays nobody for ever", async () => {
  const { outcome } = await told("2 mute", {
    identity: CLONE,
    isClone: true,
    answerMilliseconds: 20,
  });
  assertEquals(outcome, { agent: "silent", refused: [] });
});

Deno.test("a VM that ends meanwhile, or has none to tell, answers too", async () => {
  await using kernel = fakeKernel();
  const vm = await kernel.powerOn(behave("who 2 mute"));
  await until(vm, () => vm.hasAgent);
  const waiting = vm.announceIdentity({ identity: CLONE, isClone: true, answerMilliseconds: 1e6 });
  await vm.powerOff();
  assertEquals((await waiting).agent, "none");
  const after = await vm.announceIdentity({ identity: CLONE, isClone: true });
  assertEquals(after.agent, "none");
});

Deno.test("VMs of one kernel are different ones, and a name stands in for a hostname", async () => {
  await using kernel = fakeKernel();
  const vms = [];
  for (const clock of ["host", "virtual", "virtual"] as const) {
    vms.push(await kernel.powerOn(behave("who 2", { clock, name: "My VM" })));
  }
  const identities = vms.map((vm) => vm.identity!);
  assertEquals(new Set(identities.map(({ mac }) => mac)).size, 3);
  assertEquals(identities[1], seededIdentity(0, "my-vm"));
  assertEquals(kernel.identities.size, 3);
  await Promise.all(vms.map((vm) => vm.powerOff()));
  assertEquals(kernel.identities.size, 0);
  const again = await kernel.powerOn(behave("who 2", { clock: "virtual", name: "My VM" }));
  assertEquals(again.identity, identities[1]);
});

/** The commands of a VM whose guest goes on, and the frames that they send. */
function resumed(place: AgentPlace) {
  const frames: string[] = [];
  const reader = new ExecFrameReader();
  const link = {
    send(kind: number, { bytes }: { readonly bytes: Uint8Array }) {
      assertEquals(kind, TO_VM.console);
      for (const frame of reader.push(bytes)) frames.push(`${frame.kind} ${frame.id}`);
      return Promise.resolve();
    },
  };
  return { exec: new VmExec(link as unknown as VmLink, () => {}, place), frames };
}

const NOTHING = new Uint8Array(0);

Deno.test("the agent of a guest that goes on is there at once, and commands get new numbers", async () => {
  const { exec, frames } = resumed({ version: 2, nextCommand: 7, rest: NOTHING, untaken: NOTHING });
  const identified = exec.identify(new Uint8Array(3), new AbortController().signal);
  await exec.spawn(["true"], {});
  assertEquals(frames, ["N 0", "X 7"]);
  exec.arrived(encodeExecFrame({ kind: "A", id: 0, payload: new TextEncoder().encode("clock ") }));
  assertEquals(await identified, ["clock"]);
  const { version, nextCommand } = exec.agent;
  assertEquals({ version, nextCommand }, { version: 2, nextCommand: 8 });
  exec.end();
});
