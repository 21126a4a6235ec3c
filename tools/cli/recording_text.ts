/** A recording's facts as lines for people (`replay info`). */
import { formatSize, type RecordingFacts } from "../../mod.ts";

/** Ticks of guest time in a second. */
const TICKS = 10_000_000;

/** Lines with what is in a recording. */
export function formatFacts(facts: RecordingFacts): string {
  const { manifest, records, logBytes, torn } = facts;
  const { machine } = manifest;
  const end = facts.end === undefined
    ? `cut (${torn.events?.reason ?? "it was never ended"})`
    : `${facts.end.why}${facts.end.why === "power-off" ? `, code ${facts.end.code}` : ""}`;
  const rows: [string, string][] = [
    ["name", manifest.name],
    ["made", manifest.created],
    [
      "machine",
      `version ${machine.version}, ${formatSize(machine.memoryBytes)}, ${machine.harts} ` +
      `${machine.harts === 1 ? "hart" : "harts"}, clock ${machine.clock}`,
    ],
    ["starts from", manifest.start],
    ["instructions", `${facts.icount}`],
    ["guest time", `${(facts.ticks / TICKS).toFixed(3)} s`],
    ["ends with", end],
    ["logs", `${logBytes.events} bytes of events, ${logBytes.outputs} bytes of outputs`],
    ["records", Object.entries(records).map(([kind, count]) => `${count} ${kind}`).join(", ")],
    ...manifest.images.map(({ role, path, bytes, sha256, kept }): [string, string] => [
      role,
      `${kept ?? path}, ${bytes} bytes, SHA-256 ${sha256 ?? "not known"}`,
    ]),
  ];
  return rows.map(([name, text]) => `${name.padEnd(13)} ${text}\n`).join("");
}
