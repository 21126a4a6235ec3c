/**
 * Which files of this computer a browser gets to replay a recording: those of its folder that a recording
 * has, and the images that its manifest names.
 *
 * Invariant: a file is served because it is in this list, never because of what a request's path says;
 * symbolic links in the folder are none of its files.
 */
import { FormatError } from "../../kernel/base/errors.ts";
import { parseRecordingManifest, type RecordedImage } from "../../kernel/replay/manifest.ts";
import type { FileList } from "./messages.ts";

/** Files that a recording's folder has. */
const OWN = /^(manifest\.json|(events|outputs|state)-\d{6}\.log|disk[0-7]\.before)$/;
/** Copies of images, in their folder. */
const KEPT = /^[0-9a-z]+$/;

/** A file that is served. */
export interface ServedFile {
  /** Its path on this computer, which is also how the recording names it. */
  readonly path: string;
  /** Where it is served. */
  readonly url: string;
  readonly bytes: number;
}

/** The files of a recording. */
export async function recordingFiles(folder: string): Promise<ServedFile[]> {
  const names = await filesIn(folder, OWN);
  const folders = await Array.fromAsync(Deno.readDir(folder));
  if (folders.some(({ name, isDirectory }) => isDirectory && name === "images")) {
    const kept = await filesIn(`${folder}/images`, KEPT);
    names.push(...kept.map((name) => `images/${name}`));
  }
  const wanted = names.map((name) => ({ path: `${folder}/${name}`, url: `recording/${name}` }));
  for (const { role, path, kept } of await imagesOf(folder)) {
    if (kept === undefined) wanted.push({ path, url: `image/${role}` });
  }
  const served: ServedFile[] = [];
  for (const { path, url } of wanted) {
    const bytes = await sizeOf(path);
    // The replay says what is missing, with the role that it has.
    if (bytes !== undefined) served.push({ path, url, bytes });
  }
  return served;
}

/** The list that the page asks for. */
export function fileList(folder: string, files: readonly ServedFile[]): FileList {
  return {
    folder,
    files: files.map(({ path, url, bytes }) => ({ path, from: url, bytes, anywhere: false })),
  };
}

async function filesIn(folder: string, pattern: RegExp): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(folder));
  return entries.filter(({ name, isFile }) => isFile && pattern.test(name))
    .map(({ name }) => name).sort();
}

async function imagesOf(folder: string): Promise<readonly RecordedImage[]> {
  try {
    const path = `${folder}/manifest.json`;
    return parseRecordingManifest(await Deno.readTextFile(path), `"${path}"`).images;
  } catch (error) {
    // The page says what is wrong with it.
    if (error instanceof FormatError || error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const info = await Deno.stat(path);
    return info.isFile ? info.size : undefined;
  } catch {
    return undefined;
  }
}
