/**
 * What a recorded guest printed on its terminal or, of a recording of `exec`, what the command printed,
 * byte for byte. Standard output and standard error of a command come in the order in which they came
 * out of the guest.
 */
import { EXEC_FRAME, ExecFrameReader } from "../../kernel/world/exec_protocol.ts";
import { DEVICE_NAMES } from "../../kernel/world/machine_port.ts";
import { EXEC_PORT } from "../../kernel/world/vm_exec.ts";
import type { ExportSource } from "./export.ts";

/** Writes the bytes. */
export function exportConsole(
  { history }: ExportSource,
  write: (bytes: Uint8Array) => void,
): void {
  const { manifest } = history;
  const command = manifest.shows === "command" ? new ExecFrameReader() : undefined;
  const device = command === undefined ? manifest.console : DEVICE_NAMES.console;
  const port = command === undefined ? 0 : EXEC_PORT;
  for (const { log, record } of history.items()) {
    if (log !== "outputs" || record.type !== "console") continue;
    if (record.device !== device || record.port !== port) continue;
    if (command === undefined) {
      write(record.bytes);
      continue;
    }
    for (const { kind, payload } of command.push(record.bytes)) {
      if (kind === EXEC_FRAME.stdout || kind === EXEC_FRAME.stderr) write(payload);
    }
  }
}
