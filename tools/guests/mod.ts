/**
 * The guests of this repository: lists them, and finds or assembles what starts them.
 */
import type { GuestRequest, ResolvedGuest } from "../../kernel/config.ts";
import { ConfigError } from "../../kernel/base/errors.ts";
import { resolveDebian } from "./debian.ts";
import { type GuestManifest, parseManifest } from "./manifest.ts";

const GUESTS = new URL("../../guests/", import.meta.url);

/** All guests, sorted by name. Rejects with ConfigError when a description is wrong. */
export async function listGuests(): Promise<GuestManifest[]> {
  const found: GuestManifest[] = [];
  for await (const { name, isDirectory } of Deno.readDir(GUESTS)) {
    if (!isDirectory) continue;
    const manifest = await readManifest(name);
    if (manifest !== undefined) found.push(manifest);
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

async function readManifest(name: string): Promise<GuestManifest | undefined> {
  try {
    const text = await Deno.readTextFile(new URL(`${name}/guest.json`, GUESTS));
    return parseManifest(text, `guests/${name}/guest.json`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** What starts a guest. Rejects with ConfigError that names the known guests when there is none. */
export async function resolveGuest(name: string, request: GuestRequest): Promise<ResolvedGuest> {
  const manifest = /^[a-z0-9-]+$/.test(name) ? await readManifest(name) : undefined;
  if (manifest === undefined) {
    const known = (await listGuests()).map((guest) => guest.name).join(", ");
    throw new ConfigError(`there is no guest "${name}"; there are: ${known}`);
  }
  const progress = request.progress ?? (() => {});
  if (manifest.provider === "debian") {
    return await resolveDebian(manifest, { packages: request.packages, progress });
  }
  if (request.packages.length > 0) {
    throw new ConfigError(`the guest ${name} takes no packages; debian does`);
  }
  return committed(manifest);
}

/** A guest whose images are in its folder. */
function committed(manifest: GuestManifest): ResolvedGuest {
  const file = (path: string) =>
    decodeURIComponent(new URL(`${manifest.name}/${path}`, GUESTS).pathname);
  const { kernel, initrd, bios, append, memory, harts, drives } = manifest;
  return {
    ...(kernel ? { kernel: file(kernel) } : {}),
    ...(initrd ? { initrd: file(initrd) } : {}),
    ...(bios ? { bios } : {}),
    ...(append ? { append } : {}),
    ...(memory ? { memory } : {}),
    ...(harts ? { harts } : {}),
    ...(drives
      ? {
        drives: drives.map((drive) => ({
          path: file(drive.path),
          readOnly: drive.readOnly ?? false,
        })),
      }
      : {}),
  };
}
