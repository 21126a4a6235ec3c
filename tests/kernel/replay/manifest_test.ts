/** Claims about manifests of recordings: what is written is read, all else is refused by name. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../../../kernel/base/errors.ts";
import { seededIdentity } from "../../../kernel/base/identity.ts";
import { MACHINE_VERSION, MACHINE_VERSION_OLDEST } from "../../../kernel/machine/version.ts";
import {
  formatRecordingManifest,
  parseRecordingManifest,
  RECORDING_VERSION,
  type RecordingManifest,
} from "../../../kernel/replay/manifest.ts";
import { makeManifest } from "../../_support/logs.ts";

const FULL = makeManifest({
  images: [
    { role: "kernel", path: "/boot/Image", bytes: 9, sha256: "0".repeat(64) },
    { role: "disk0", path: "", bytes: 512, sha256: null, kept: "images/0a" },
  ],
  machine: { ...makeManifest().machine, bios: "image", disks: [{ sectors: 1, readOnly: false }] },
});

const IDENTITY = seededIdentity(3, "vm");

function refusal(manifest: unknown): string {
  const text = typeof manifest === "string" ? manifest : JSON.stringify(manifest);
  return assertThrows(() => parseRecordingManifest(text, "M"), FormatError).message;
}

Deno.test("a manifest returns as it was written", () => {
  assertEquals(parseRecordingManifest(formatRecordingManifest(FULL), "M"), FULL);
});

Deno.test("who the VM was is kept; a manifest that does not say it is read too", () => {
  const { machine } = FULL;
  const named = { ...FULL, machine: { ...machine, identity: IDENTITY } };
  assertEquals(parseRecordingManifest(formatRecordingManifest(named), "M"), named);
  const old = { ...FULL, machine: { ...machine, version: MACHINE_VERSION_OLDEST } };
  assertEquals(parseRecordingManifest(formatRecordingManifest(old), "M").machine.version, 2);
});

Deno.test("versions that are not known are refused first, whatever else has changed", () => {
  const version = RECORDING_VERSION + 1;
  assertEquals(
    refusal({ format: FULL.format, version, shape: "another" }),
    `M has format version ${version}; this program reads version ${RECORDING_VERSION}`,
  );
  for (const machine of [{ version: MACHINE_VERSION + 1 }, { version: "1" }, {}, undefined, null]) {
    const message = refusal({ ...FULL, machine });
    assert(message.startsWith("M is of machine version "), message);
    assert(
      message.endsWith(`replays versions ${MACHINE_VERSION_OLDEST} to ${MACHINE_VERSION}`),
      message,
    );
  }
});

Deno.test("what is no manifest is refused with the part that is wrong", () => {
  const { machine } = FULL;
  const image = FULL.images[0]!;
  const other = (changes: Record<string, unknown>) => ({ ...FULL, ...changes });
  const cases: [unknown, string][] = [
    ["", "M is no JSON"],
    ["{", "M is no JSON"],
    ["null", "M is no recording's manifest"],
    ["[]", "M is no recording's manifest"],
    ['"chronovisor recording"', "M is no recording's manifest"],
    [other({ name: 5 }), "name"],
    [other({ extra: 1 }), "extra"],
    [other({ start: "middle" }), "start"],
    [other({ machine: { ...machine, harts: 9 } }), "machine.harts"],
    [other({ machine: { ...machine, memoryBytes: 1e300 } }), "machine.memoryBytes"],
    [other({ machine: { ...machine, wallStart: "-5" } }), "machine.wallStart"],
    [other({ machine: { ...machine, disks: [{ sectors: 0, readOnly: true }] } }), "sectors"],
    [other({ machine: { ...machine, disks: Array(9).fill(machine.disks[0]) } }), "machine.disks"],
    [other({ machine: { ...machine, identity: null } }), "machine.identity"],
    [other({ machine: { ...machine, identity: { ...IDENTITY, mac: "" } } }), "mac of the VM's"],
    [other({ images: [{ ...image, role: "disk8" }] }), "images[0].role"],
    [other({ images: [{ ...image, sha256: "0" }] }), "images[0].sha256"],
    [other({ images: [{ ...image, kept: "images/../../etc" }] }), "images[0].kept"],
    [other({ images: Array(17).fill(image) }), "images"],
  ];
  for (const [manifest, part] of cases) {
    const message = refusal(manifest);
    assert(message.includes(part), `${part} is not in: ${message}`);
  }
});

Deno.test("each part of a manifest is needed", () => {
  for (const name of Object.keys(FULL) as (keyof RecordingManifest)[]) {
    const { [name]: _, ...rest } = FULL;
    refusal(rest);
  }
});
