/**
 * A generation ID as an unmodified Debian takes it: its driver binds the device, and a guest that becomes a
 * copy of itself draws other random numbers than its parent from then on.
 */
import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { seededIdentity } from "../../kernel/base/identity.ts";
import { identityEvent } from "../../kernel/machine/identity.ts";
import { encodeExecFrame } from "../../kernel/world/exec_protocol.ts";
import { EXEC_PORT } from "../../kernel/world/vm_exec.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import { Snapshots } from "../../kernel/machine/snapshot.ts";
import { debianMachine, debianTest, PROMPT } from "../_support/debian.ts";
import { offerBytes, runToEnd } from "../_support/machine.ts";

const BOOT = { until: PROMPT, most: 20_000_000_000 };

/** Types a line into the guest's shell; gives what is printed until its prompt comes again. */
function type(machine: Machine, line: string): string {
  let rest = new TextEncoder().encode(`${line}; echo 'E''ND'\n`);
  let text = "";
  while (rest.length > 0) {
    rest = rest.subarray(offerBytes(machine, rest));
    text += runToEnd(machine, { most: machine.icount + 100_000, until: "END\r\n" }).console;
  }
  if (!text.includes("END\r\n")) {
    text += runToEnd(machine, { most: machine.icount + 5_000_000_000, until: "END\r\n" }).console;
  }
  assertStringIncludes(text, "END\r\n");
  return text.slice(0, text.indexOf("END\r\n"));
}

debianTest(
  "Debian's driver binds the generation ID, and reseeds when another one comes",
  async () => {
    const machine = await debianMachine();
    runToEnd(machine, BOOT);
    const bound = type(
      machine,
      "ls /sys/bus/platform/drivers/vmgenid; grep vmgenid /proc/interrupts",
    );
    assertStringIncludes(bound, "102000.rng");
    assert(/ 0 +SiFive PLIC +12 /.test(bound), bound);
    const compatible = type(machine, "cat /proc/device-tree/soc/rng@102000/compatible");
    assertStringIncludes(compatible, "microsoft,vmgenid");
    const snapshots = new Snapshots(machine, { limitBytes: 1 << 30 });
    const moment = snapshots.take();
    /** What a copy that becomes somebody else, or stays who it is, draws. */
    const drawn = (seed?: number) => {
      snapshots.restore(moment);
      if (seed !== undefined) {
        machine.gate.deliver(identityEvent(seededIdentity(seed, "copy"), new Uint8Array(0)));
      }
      return type(machine, "head -c 16 /dev/urandom | hexdump -C | head -n 1");
    };
    const parent = drawn();
    assertEquals(drawn(), parent);
    const copy = drawn(2);
    assertNotEquals(copy, parent);
    assertEquals(drawn(2), copy);
    assertNotEquals(drawn(3), copy);
    /** What a guest draws whose agent was given entropy, and nothing else. */
    const given = (first: number) => {
      snapshots.restore(moment);
      const payload = new TextEncoder().encode(`\n\n\n${"e".repeat(31)}${first}`);
      const bytes = encodeExecFrame({ kind: "N", id: 0, payload });
      const event = { kind: "console", device: "console0", port: EXEC_PORT, bytes } as const;
      assertEquals(machine.gate.deliver(event), bytes.length);
      return type(machine, "sleep 0.2; head -c 16 /dev/urandom | hexdump -C | head -n 1");
    };
    assertEquals(given(1), given(1));
    assertNotEquals(given(1), given(2));
    drawn(2);
    const log = type(machine, "dmesg | tail -n 1; grep vmgenid /proc/interrupts");
    assertStringIncludes(log, "random: crng reseeded due to virtual machine fork");
    assert(/ 1 +SiFive PLIC +12 /.test(log), log);
  },
);
