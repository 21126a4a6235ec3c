/** Network frames of a recording as pcapng: one interface for each network card, at the guest's time. */
import { enhancedPacket, interfaceDescription, sectionHeader } from "./pcapng.ts";
import type { ExportSource } from "./export.ts";

/** Writes all frames that came in and left. */
export function exportPcap(
  { history }: ExportSource,
  write: (bytes: Uint8Array) => void,
): void {
  const { name, created } = history.manifest;
  write(sectionHeader({
    application: "chronovisor",
    comment: `recording of the VM "${name}", begun ${created}`,
  }));
  const interfaces = new Map<string, number>();
  for (const item of history.items()) {
    const frame = item.log === "outputs"
      ? item.record.type === "frame" ? item.record : undefined
      : item.record.type === "event" && item.record.event.kind === "frame"
      ? item.record.event
      : undefined;
    if (frame === undefined) continue;
    let number = interfaces.get(frame.device);
    if (number === undefined) {
      number = interfaces.size;
      interfaces.set(frame.device, number);
      write(
        interfaceDescription({ name: frame.device, description: `${frame.device} of ${name}` }),
      );
    }
    write(enhancedPacket({
      interface: number,
      nanoseconds: item.wallNanoseconds,
      direction: item.log === "outputs" ? "outbound" : "inbound",
      bytes: frame.bytes,
      comment: `icount ${item.stamp.icount}`,
    }));
  }
}
