/** Claims about who a machine is to its guest, and about its wall clock: both are state, and move by events. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { generationBytes, macBytes, seededIdentity } from "../../../kernel/base/identity.ts";
import type { Machine, MachineConfig } from "../../../kernel/machine/machine.ts";
import { guestIdentity, identityEvent, wallEvent } from "../../../kernel/machine/identity.ts";
import { restoreImage, saveImage } from "../../../kernel/machine/machine_image.ts";
import { testMachine } from "../../_support/machine.ts";

const LOOP = { kind: "raw", bytes: Uint8Array.of(0x6f, 0, 0, 0) } as const;

const machineOf = (config: Partial<MachineConfig> = {}) =>
  testMachine({ kernel: LOOP, memoryBytes: 4 << 20, ...config });

/** What a device's registers hold, as its guest reads them. */
function read(machine: Machine, name: string, offset: number, length: number): Uint8Array {
  const { behaviour } = machine.device(name);
  return Uint8Array.from({ length }, (_, i) => behaviour.read(offset + i, 1));
}

const CONFIG = 0x100;
const macOf = (machine: Machine) => read(machine, "net0", CONFIG, 6);
const generationOf = (machine: Machine) => read(machine, "vmgenid", 0, 16);

Deno.test("a machine shows the identity that it is given, and else what its seed gives", () => {
  const identity = seededIdentity(77, "vm");
  const given = machineOf({ identity: guestIdentity(identity) });
  assertEquals(macOf(given), macBytes(identity));
  assertEquals(generationOf(given), generationBytes(identity));
  const drawn = seededIdentity(1n, "");
  assertEquals(macOf(machineOf()), macBytes(drawn));
  assertNotEquals(macOf(machineOf({ seed: 2n })), macBytes(drawn));
});

Deno.test("a machine of version 2 shows the address that all had", () => {
  const identity = guestIdentity(seededIdentity(77, "vm"));
  const machine = machineOf({ machineVersion: 2, identity });
  assertEquals(macOf(machine), Uint8Array.of(0x52, 0x54, 0x00, 0x43, 0x56, 0xba));
});

Deno.test("machines that differ in nothing but who they are differ in their digests", () => {
  const digests = [1, 2, 2].map((seed) =>
    machineOf({ identity: guestIdentity(seededIdentity(seed, "vm")) }).digest()
  );
  assertEquals(digests[1], digests[2]);
  assertNotEquals(digests[0], digests[1]);
});

Deno.test("an identity that comes later is seen, drawn from, and part of an image", () => {
  const [first, second] = [machineOf(), machineOf()];
  generationOf(first);
  const image = saveImage(first);
  restoreImage(second, image);
  const clone = seededIdentity(5, "clone");
  const entropy = Uint8Array.of(1, 2, 3);
  assertEquals(second.gate.deliver(identityEvent(clone, entropy)), 1);
  assertEquals(macOf(second), macBytes(clone));
  assertNotEquals(second.random.bytes(16), first.random.bytes(16));
  const third = machineOf();
  restoreImage(third, saveImage(second));
  assertEquals([macOf(third), generationOf(third)], [macOf(second), generationOf(second)]);
  const other = machineOf();
  restoreImage(other, image);
  other.gate.deliver(identityEvent(clone, entropy));
  other.random.bytes(16);
  generationOf(second);
  assertEquals(generationOf(other), generationBytes(clone));
  assertEquals(other.digest(), second.digest(), "an event is all that a clone depends on");
});

Deno.test("a wall clock that is moved shows the moment, and goes on from there", () => {
  const machine = machineOf();
  machine.run(5000);
  const moment = 1_800_000_000_000_000_000n;
  assertEquals(machine.gate.deliver(wallEvent(moment, machine.ticks())), 1);
  const now = () => {
    const rtc = machine.device("rtc").behaviour;
    return BigInt(rtc.read(0, 4)) | BigInt(rtc.read(4, 4)) << 32n;
  };
  assertEquals(now(), moment);
  const before = machine.ticks();
  machine.run(100_000);
  assertEquals(now(), moment + BigInt(machine.ticks() - before) * 100n);
  assertEquals(wallEvent(5n, 1000), { kind: "wall", wallStart: 0n });
});
