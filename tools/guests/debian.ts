/**
 * Assembles the Debian guest: kernel and busybox from Debian's riscv64 packages, an initramfs of ours
 * with the modules it needs, the agent that runs the host's commands, and packages that the user asked
 * for. Everything is cached by content.
 */
import type { ResolvedGuest } from "../../kernel/config.ts";
import { HostError } from "../../kernel/base/errors.ts";
import { type CpioEntry, entriesOf, writeCpio } from "../image/cpio.ts";
import { Apt, unpack, unxz } from "./apt.ts";
import { cacheFolder, contentKey, exists, writeWhole } from "./cache.ts";
import type { GuestManifest } from "./manifest.ts";

const GUEST = new URL("../../guests/debian/", import.meta.url);
/** Modules of the initramfs, in the order in which they are loaded. */
const MODULES = [
  "drivers/virtio/virtio_mmio",
  "drivers/block/virtio_blk",
  "drivers/char/hw_random/virtio-rng",
  "net/core/failover",
  "drivers/net/net_failover",
  "drivers/net/virtio_net",
];

/** What an assembly is asked for. */
export interface DebianRequest {
  readonly packages: readonly string[];
  readonly progress: (line: string) => void;
}

/** Fetches and assembles; quick when everything is cached. */
export async function resolveDebian(
  manifest: GuestManifest,
  request: DebianRequest,
): Promise<ResolvedGuest> {
  const folder = cacheFolder();
  const ready = await knownAssembly(folder, request.packages);
  const { kernel, initrd } = ready ?? await assemble(folder, request);
  return {
    kernel,
    initrd,
    append: manifest.append ?? "",
    ...(manifest.memory ? { memory: manifest.memory } : {}),
  };
}

interface Assembly {
  readonly kernel: string;
  readonly initrd: string;
}

/** What was assembled before for the same request by the same version of this code. */
async function requestFile(folder: string, packages: readonly string[]): Promise<string> {
  const sources = await Promise.all(
    ["init", "agent/agent"].map((name) => Deno.readFile(new URL(name, GUEST))),
  );
  const key = await contentKey([...[...packages].sort(), ...MODULES, ...sources]);
  return `${folder}/debian/request-${key}.json`;
}

async function knownAssembly(
  folder: string,
  packages: readonly string[],
): Promise<Assembly | undefined> {
  const file = await requestFile(folder, packages);
  if (!await exists(file)) return undefined;
  const known = JSON.parse(await Deno.readTextFile(file)) as Assembly;
  return await exists(known.kernel) && await exists(known.initrd) ? known : undefined;
}

async function assemble(folder: string, request: DebianRequest): Promise<Assembly> {
  const { packages, progress } = request;
  await Deno.mkdir(`${folder}/debian`, { recursive: true });
  const apt = await Apt.open(`${folder}/apt`, progress);
  const image = await apt.dependency("linux-image-riscv64", /^linux-image-\d/);
  const base = await apt.downloadOnly([image, "busybox-static"], progress);
  const extra = packages.length > 0 ? await apt.download(packages, progress) : [];
  const stage = await Deno.makeTempDir({ prefix: "chronovisor-" });
  try {
    progress("unpacking packages");
    const kernelStage = `${stage}/kernel`;
    const rootStage = `${stage}/root`;
    await Deno.mkdir(kernelStage);
    await prepareRoot(rootStage);
    const kernelDeb = base.filter((file) => /\/linux-image-/.test(file));
    await unpack(kernelDeb, kernelStage);
    await unpack([...base.filter((file) => !kernelDeb.includes(file)), ...extra], rootStage);
    progress("writing the initramfs");
    const kernel = await keepKernel(folder, kernelStage);
    const archive = writeCpio(await rootEntries(kernelStage, rootStage));
    const initrd = `${folder}/debian/initrd-${await contentKey([archive])}.cpio`;
    if (!await exists(initrd)) await writeWhole(initrd, archive);
    const known = new TextEncoder().encode(JSON.stringify({ kernel, initrd }));
    await writeWhole(await requestFile(folder, packages), known);
    return { kernel, initrd };
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/** Debian's merged /usr: packages ship files under /usr, old paths are links. */
async function prepareRoot(root: string): Promise<void> {
  for (const name of ["bin", "sbin", "lib"]) {
    await Deno.mkdir(`${root}/usr/${name}`, { recursive: true });
    await Deno.symlink(`usr/${name}`, `${root}/${name}`);
  }
  for (const name of ["dev", "proc", "sys", "run", "tmp", "root", "etc", "usr/local/bin"]) {
    await Deno.mkdir(`${root}/${name}`, { recursive: true });
  }
}

async function keepKernel(folder: string, stage: string): Promise<string> {
  const boot = [...Deno.readDirSync(`${stage}/boot`)].find(({ name }) => /^vmlinu/.test(name));
  if (boot === undefined) throw new HostError("Debian's kernel package holds no kernel");
  const kernel = `${folder}/debian/${boot.name}`;
  if (!await exists(kernel)) {
    await writeWhole(kernel, await Deno.readFile(`${stage}/boot/${boot.name}`));
  }
  return kernel;
}

async function rootEntries(kernelStage: string, root: string): Promise<CpioEntry[]> {
  const read = (name: string) => Deno.readFile(new URL(name, GUEST));
  const entries = await entriesOf(root);
  const add = (path: string, bytes: Uint8Array, mode: number) =>
    entries.push({ kind: "file", path, bytes, mode });
  add("init", await read("init"), 0o755);
  if (!entries.some(({ path }) => path === "usr/libexec")) {
    entries.push({ kind: "directory", path: "usr/libexec" });
  }
  add("usr/libexec/chronovisor-agent", await read("agent/agent"), 0o755);
  entries.push({ kind: "directory", path: "usr/lib/modules" });
  const modules = `${kernelStage}/usr/lib/modules`;
  const version = [...Deno.readDirSync(modules)][0]!.name;
  const order: string[] = [];
  for (const module of MODULES) {
    const bytes = await unxz(`${modules}/${version}/kernel/${module}.ko.xz`);
    const name = `${module.slice(module.lastIndexOf("/") + 1)}.ko`;
    add(`usr/lib/modules/${name}`, bytes, 0o644);
    order.push(name);
  }
  add("usr/lib/modules/order", new TextEncoder().encode(`${order.join("\n")}\n`), 0o644);
  entries.push({ kind: "character", path: "dev/console", major: 5, minor: 1 });
  return entries;
}
