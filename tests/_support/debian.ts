/**
 * The Debian guest for tests: assembled when all peers are required (continuous integration fetches it),
 * otherwise only used when it is in the cache already, so that the suite needs no network.
 */
import { readImage } from "../../kernel/machine/image.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { Apt, unpack } from "../../tools/guests/apt.ts";
import { cacheFolder } from "../../tools/guests/cache.ts";
import { resolveGuest } from "../../tools/guests/mod.ts";
import { testMachine } from "./machine.ts";

/** What the shell's prompt starts with. */
export const PROMPT = "chronovisor-debian:";

/** Whether tests on Debian can run here. */
export function hasDebian(): boolean {
  if (Deno.env.get("CHRONOVISOR_PEERS") === "required") return true;
  try {
    return [...Deno.readDirSync(`${cacheFolder()}/debian`)].some(({ name }) =>
      name.startsWith("request-")
    );
  } catch {
    return false;
  }
}

/** Defines a test that is ignored, and says why, where Debian is not at hand. */
export function debianTest(name: string, body: () => Promise<void>): void {
  const here = hasDebian();
  const suffix = here ? "" : " (ignored: run `deno task guests fetch debian` first)";
  Deno.test({ name: name + suffix, ignore: !here, fn: body });
}

/** A machine in this process that boots Debian. */
export async function debianMachine(config: Partial<MachineConfig> = {}): Promise<Machine> {
  const { kernel, initrd, append } = await resolveGuest("debian", { packages: [] });
  const image = await readImage(await Deno.readFile(kernel as string));
  return testMachine({
    kernel: image,
    initrd: await Deno.readFile(initrd as string),
    append: append ?? "",
    bios: "builtin",
    memoryBytes: 512 << 20,
    ...config,
  });
}

/** Debian's OpenSBI for the generic platform, with dynamic information. */
export async function openSbi(): Promise<Uint8Array> {
  const folder = `${cacheFolder()}/opensbi`;
  const file = `${folder}/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin`;
  try {
    return await Deno.readFile(file);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const apt = await Apt.open(`${cacheFolder()}/apt`, () => {});
    await Deno.mkdir(folder, { recursive: true });
    await unpack(await apt.downloadOnly(["opensbi"], () => {}), folder);
    return await Deno.readFile(file);
  }
}
