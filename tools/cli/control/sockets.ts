/**
 * Where the control sockets of running kernels are, and which of them have a VM (docs/control.md). Each
 * kernel has one, PROCESS-RANDOM.sock, in a folder that its user alone can enter.
 *
 * Invariants: a socket has its final name only while its kernel listens (or died), so one that refuses
 * connections is stale and may be removed; no kernel fails because its socket cannot be made; of all who
 * claim a name at once, one gets it.
 */
import { ConfigError, HostError } from "../../../mod.ts";
import { ControlClient, HungUp } from "./client.ts";
import type { Consoles } from "./consoles.ts";
import { controlFolder, SOCKET_NAME } from "./folder.ts";
import { PARKED } from "./limits.ts";
import { ControlServer } from "./server.ts";
import type { ClaimedName, ClaimedNames, ControlledKernel } from "./verb.ts";
import type { ListedVm } from "./verbs.ts";

/** Most bytes of a socket's path on every system (sun_path of macOS, without its end). */
const PATH_BYTES_MAXIMUM = 103;
/** Milliseconds that a kernel gets to say which VMs it has. */
const LIST_MILLISECONDS = 10_000;
/** Milliseconds that a kernel which hangs up gets to end: its process closes one file after another. */
const END_MILLISECONDS = 2_000;
/** Milliseconds that others get to release the names: to ask all kernels, more than once. */
const LOCK_MILLISECONDS = 30_000;
const LOCK_POLL_MILLISECONDS = 20;

/** What tells that a kernel has ended since it was found. */
const GONE = [Deno.errors.NotFound, Deno.errors.ConnectionRefused, HungUp];

/** A kernel's control socket while it is open. */
export interface ControlSocket extends AsyncDisposable {
  readonly path: string;
  /**
   * Takes a name for a VM of this kernel: one for which `names` gives it first, if no VM of this user has
   * it. Rejects with ConfigError when `names` gives no more, and with HostError.
   */
  claimName(names: Iterable<string>): Promise<ClaimedName>;
  /** Takes so many. Rejects as `claimName`, and has none then. */
  claimNames(names: Iterable<string>, count: number): Promise<ClaimedNames>;
}

/** Opens the control socket of a kernel in this process. Rejects with HostError. */
export async function openControlSocket(
  kernel: ControlledKernel,
  options: {
    /** Consoles of the kernel's VMs. */
    readonly consoles: Consoles;
    /** File that this process' messages go to, if it has no terminal. */
    readonly log?: string;
  },
): Promise<ControlSocket> {
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
  const server = new ControlServer(kernel, listener, { ...options, claimNames });
  return {
    path,
    claimName: async (names) => {
      const claimed = await claimNames(server.claims, names, 1);
      return { name: claimed.names[0]!, [Symbol.dispose]: () => claimed[Symbol.dispose]() };
    },
    claimNames: (names, count) => claimNames(server.claims, names, count),
    async [Symbol.asyncDispose]() {
      await Deno.remove(path).catch(() => {});
      await server.close();
    },
  };
}

async function claimNames(
  claims: Set<string>,
  names: Iterable<string>,
  count: number,
): Promise<ClaimedNames> {
  using _lock = await lockNames();
  const owners = new Map<string, number>();
  for (const { process, vms, claims, problem } of await findKernels()) {
    if (vms === undefined) {
      throw new HostError(
        `Cannot tell which names of VMs are free: process ${process} does not answer: ${problem}`,
      );
    }
    for (const name of [...claims, ...vms.map(({ name }) => name)]) owners.set(name, process);
  }
  const free: string[] = [];
  let refused = "";
  for (const name of names) {
    const owner = owners.get(name);
    if (owner === undefined) free.push(name);
    else refused = `There is a VM "${name}" already, in process ${owner}: expected another name`;
    if (free.length < count) continue;
    for (const taken of free) claims.add(taken);
    return {
      names: [...free],
      // Once: somebody else may have taken one since.
      [Symbol.dispose]: () => free.splice(0).forEach((taken) => claims.delete(taken)),
    };
  }
  throw new ConfigError(refused);
}

/** Keeps other processes from taking names; ends with the process at the latest. */
async function lockNames(): Promise<Disposable> {
  const path = `${controlFolder()}/.names`;
  let file: Deno.FsFile | undefined;
  try {
    file = await Deno.open(path, { create: true, write: true, mode: 0o600 });
    for (let waited = 0; !await file.tryLock(true); waited += LOCK_POLL_MILLISECONDS) {
      if (waited >= LOCK_MILLISECONDS) throw new Error("another process does not release it");
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MILLISECONDS));
    }
    return file;
  } catch (cause) {
    file?.close();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot lock the names of VMs, "${path}": ${reason}`, { cause });
  }
}

/** Makes the folder, or sees to it that one that is there is this user's alone. */
export async function preparePrivateFolder(folder: string): Promise<void> {
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
  /** Names that VMs about to be made will have. */
  readonly claims: readonly string[];
  /** File with its messages, if it has one. */
  readonly log: string | null;
  /** Why it did not say. */
  readonly problem?: string;
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
      if (SOCKET_NAME.test(name)) names.push(name);
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
  for (let waited = 0;; waited += LOCK_POLL_MILLISECONDS) {
    try {
      using client = await ControlClient.connect(socket, LIST_MILLISECONDS);
      const list = await client.ask("list", {}, { milliseconds: LIST_MILLISECONDS });
      return { process, socket, vms: list.vms, claims: list.claims, log: list.log };
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      if (error instanceof Deno.errors.ConnectionRefused) {
        await Deno.remove(socket).catch(() => {});
        return undefined;
      }
      // One that ends may hang up before its socket is gone, at any moment of this.
      if (!(error instanceof HungUp) || waited >= END_MILLISECONDS) {
        const problem = error instanceof Error ? error.message : String(error);
        return { process, socket, vms: undefined, claims: [], log: null, problem };
      }
    }
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MILLISECONDS));
  }
}

/** How a VM is connected with. */
export interface ConnectOptions {
  /** Whether a fork that is parked is let run first. */
  readonly starts?: boolean;
}

/** Connects with the kernel that has the VM with a name. Rejects with ConfigError and HostError. */
export async function connectToVm(
  name: string,
  options: ConnectOptions = {},
): Promise<ControlClient> {
  const kernels = await findKernels();
  const client = await connectToHolder(kernels, name, options);
  if (client !== undefined) return client;
  const silent = kernels.filter(({ vms }) => vms === undefined);
  const but = silent.map(({ process }) => `; process ${process} does not answer`).join("");
  throw new ConfigError(`There is no running VM "${name}"${but}`);
}

/** As `connectToVm`; undefined when there is no such VM. */
export async function connectIfRunning(
  name: string,
  options: ConnectOptions = {},
): Promise<ControlClient | undefined> {
  return await connectToHolder(await findKernels(), name, options);
}

async function connectToHolder(
  kernels: readonly FoundKernel[],
  name: string,
  { starts = false }: ConnectOptions,
): Promise<ControlClient | undefined> {
  const holders = kernels.flatMap((kernel) =>
    (kernel.vms ?? []).filter((vm) => vm.name === name).map((vm) => ({ ...kernel, vm }))
  );
  const [kernel] = holders;
  if (kernel === undefined) return undefined;
  if (holders.length > 1) {
    const processes = holders.map(({ process }) => process).join(", ");
    throw new ConfigError(
      `${holders.length} VMs have the name "${name}" (processes ${processes}): expected one; ` +
        "--name gives a VM another",
    );
  }
  let client: ControlClient | undefined;
  try {
    client = await ControlClient.connect(kernel.socket);
    const waits = kernel.vm.state === PARKED || kernel.vm.state === "starting";
    if (starts && waits) await client.ask("start", { vm: name });
    return client;
  } catch (cause) {
    client?.close();
    if (GONE.some((kind) => cause instanceof kind)) {
      throw new HostError(`The VM "${name}" has just ended`, { cause });
    }
    if (cause instanceof HostError || cause instanceof ConfigError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot reach the VM "${name}": ${reason}`, { cause });
  }
}
