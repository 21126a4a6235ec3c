/** `--trace FILE`: the instruction trace of a VM as a text file. */
import { HostError, type VM } from "../../mod.ts";

/** Opens the file; fails before the VM starts if it cannot be written. */
export async function openTrace(path: string | undefined): Promise<Deno.FsFile | undefined> {
  if (path === undefined) return undefined;
  try {
    return await Deno.create(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot write the trace to "${path}": ${reason}`, { cause });
  }
}

/** Copies the trace to the file until the VM ends, and closes it. */
export async function copyTrace(vm: VM, file: Deno.FsFile | undefined): Promise<void> {
  if (file !== undefined) await vm.trace.pipeTo(file.writable);
}
