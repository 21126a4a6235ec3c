/**
 * Where the control sockets of running kernels are, and which of them have a VM (docs/control.md). Each
 * kernel has one, PROCESS-RANDOM.sock, in a folder that its user alone can enter.
 *
 * Invariants: a socket has its final name only while its kernel listens (or died), so one that refuses
 * connections is stale and may be removed; no kernel fails because its socket cannot be made.
 */
import { ConfigError, HostError } from "../../../mod.ts";
import { cacheFolder } from "../../guests/cache.ts";
import { ControlClient } from "./client.ts";
import type { ListedVm } from "./protocol.ts";
import { type ControlledKernel, ControlServer } from "./server.ts";

/** Most bytes of a socket's path on every system (sun_path of macOS, without its end). */
const PATH_BYTES_MAXIMUM = 103;
/** Milliseconds that a kernel gets to say which VMs it has. */
const LIST_MILLISECONDS = 2_000;

/** The folder of the sockets. Throws HostError when the user has no folder of that sort. */
export function controlFolder(): string {
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  return runtime ? `${runtime}/chronovisor` : `${cacheFolder()}/run`;
}

/** A kernel's control socket while it is open. */
export interface ControlSocket extends AsyncDisposable {
  readonly path: string;
}

/** Opens the control socket of a kernel in this process. Rejects with HostError. */
export async function openControlSocket(kernel: ControlledKernel): Promise<ControlSocket> {
  const folder = controlFolder();
  const [random] = crypto.getRandomValues(new Uint16Array(1));
  const name = `${Deno.pid}-${random!.toString(16).padStart(4, "0")}`;
  const path = `${folder}/${name}.sock`;
  const early = `${folder}/.${name}.new`;
  let listener: Deno.Listener<Deno.Conn> | undefined;
  try {
    if (new TextEncoder().encode(path).length > PATH_BYTES_MAXIMUM) {
      throw new Error(`its path is longer than ${PATH_BYTES_MAXIMUM} bytes; set XDG_RUNTIME_DIR`);
    }
    await preparePrivateFolder(folder);
    listener = Deno.listen({ transport: "unix", path: early });
    await Deno.chmod(early, 0o600);
    // Between a socket's making and its listening it refuses connections, as a stale one does.
    await Deno.rename(early, path);
  } catch (cause) {
    listener?.close();
    await Deno.remove(early).catch(() => {});
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot open the control socket "${path}": ${reason}`, { cause });
  }
  const server = new ControlServer(kernel, listener);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path).catch(() => {});
      await server.close();
    },
  };
}

/** Makes the folder, or sees to it that one that is there is this user's alone. */
async function preparePrivateFolder(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const { mode } = await ownFolder(folder);
  if (mode !== null && (mode & 0o077) !== 0) await Deno.chmod(folder, 0o700);
}

/** What is known of the folder. Rejects unless it is one, and this user's. */
async function ownFolder(folder: string): Promise<Deno.FileInfo> {
  const info = await Deno.lstat(folder);
  if (!info.isDirectory) throw new Error(`"${folder}" is no folder`);
  if (info.uid !== null && info.uid !== Deno.uid()) {
    throw new Error(`"${folder}" belongs to another user`);
  }
  return info;
}

/** A kernel that runs. */
export interface FoundKernel {
  /** Number of its process. */
  readonly process: number;
  readonly socket: string;
  /** Its VMs; undefined when it did not say. */
  readonly vms: readonly ListedVm[] | undefined;
}

/** Finds all kernels of this user, and removes the sockets of those that died. */
export async function findKernels(): Promise<FoundKernel[]> {
  const folder = controlFolder();
  const names = await socketNames(folder);
  const found = await Promise.all(names.map((name) => findKernel(`${folder}/${name}`)));
  return found.filter((kernel) => kernel !== undefined)
    .sort((a, b) => a.process - b.process);
}

async function socketNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  try {
    await ownFolder(folder);
    for await (const { name } of Deno.readDir(folder)) {
      if (/^\d+-[0-9a-f]{4}\.sock$/.test(name)) names.push(name);
    }
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return [];
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot look for kernels in "${folder}": ${reason}`, { cause });
  }
  return names;
}

async function findKernel(socket: string): Promise<FoundKernel | undefined> {
  const process = parseInt(socket.slice(socket.lastIndexOf("/") + 1));
  let client: ControlClient;
  try {
    client = await ControlClient.connect(socket);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (!(error instanceof Deno.errors.ConnectionRefused)) {
      return { process, socket, vms: undefined };
    }
    await Deno.remove(socket).catch(() => {});
    return undefined;
  }
  try {
    const { vms } = await client.ask<"list">({ command: "list" }, LIST_MILLISECONDS);
    return { process, socket, vms };
  } catch {
    return { process, socket, vms: undefined };
  } finally {
    client.close();
  }
}

/** Connects with the kernel that has the VM with a name. Rejects with ConfigError and HostError. */
export async function connectToVm(name: string): Promise<ControlClient> {
  const kernels = await findKernels();
  const holders = kernels.flatMap((kernel) =>
    (kernel.vms ?? []).filter((vm) => vm.name === name).map(() => kernel)
  );
  const [kernel] = holders;
  if (kernel === undefined) {
    const silent = kernels.filter(({ vms }) => vms === undefined);
    const but = silent.map(({ process }) => `; process ${process} does not answer`).join("");
    throw new ConfigError(`There is no running VM "${name}"${but}`);
  }
  if (holders.length > 1) {
    const processes = holders.map(({ process }) => process).join(", ");
    throw new ConfigError(
      `${holders.length} VMs have the name "${name}" (processes ${processes}): expected one; ` +
        "--name gives a VM another",
    );
  }
  try {
    return await ControlClient.connect(kernel.socket);
  } catch (cause) {
    throw new HostError(`The VM "${name}" has just ended`, { cause });
  }
}
