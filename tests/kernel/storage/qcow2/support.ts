/** What tests of qcow2 images share: qemu-img, images in memory, and headers changed by hand. */
import { assert, assertEquals } from "@std/assert";
import type { HostFiles } from "../../../../kernel/host/files.ts";
import { checkQcow2 } from "../../../../kernel/storage/qcow2/check.ts";
import { readHeader } from "../../../../kernel/storage/qcow2/header.ts";
import { runPeer } from "../../../_support/peers.ts";

/** Runs qemu-img; gives what it prints. Fails unless it exits with 0. */
export async function qemuImg(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runPeer("qemu-img", args);
  const text = new TextDecoder().decode(stdout);
  assert(code === 0, `qemu-img ${args.join(" ")}: ${code}\n${text}${stderr}`);
  return text;
}

/** What `qemu-img check` counts. */
export async function qemuCheck(
  path: string,
): Promise<{ readonly corruptions: number; readonly leaks: number }> {
  const { code, stdout, stderr } = await runPeer("qemu-img", [
    "check",
    "-f",
    "qcow2",
    "--output=json",
    path,
  ]);
  assert([0, 2, 3].includes(code), `qemu-img check ${path}: ${code} ${stderr}`);
  const counted = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(counted["check-errors"], 0);
  return { corruptions: counted.corruptions ?? 0, leaks: counted.leaks ?? 0 };
}

/** Fails unless our check finds nothing. */
export async function assertClean(files: HostFiles, path: string, label = path): Promise<void> {
  const { corruptions, leaks, stale, problems } = await checkQcow2(files, path);
  assertEquals([corruptions, leaks, stale], [0, 0, 0], `${label}: ${problems.join("; ")}`);
}

export { withFolder } from "../../../_support/folder.ts";

/** Makes an image that was just made one of version 2; it has no backing file. */
export function makeVersion2(files: HostFiles, path: string): void {
  const file = files.open(path, { write: true });
  file.write(4, new Uint8Array([0, 0, 0, 2]));
  // Version 2 has its extensions where version 3 has further fields.
  file.write(72, new Uint8Array(40));
  file.flushNow();
  file.close();
}

/** Whether an image says that it was not closed. */
export function isDirty(files: HostFiles, path: string): boolean {
  const file = files.open(path);
  try {
    return readHeader(file).isDirty;
  } finally {
    file.close();
  }
}
