/** Images over garbage, and files that say what is done to them. */
import type { HostFile, HostFiles } from "../../../../kernel/host/files.ts";
import {
  createLazyZero,
  type LazyZeroDisk,
  type LazyZeroOptions,
  openLazyZero,
} from "../../../../kernel/storage/lazy_zero/mod.ts";
import { CrashFiles } from "../../../_support/crash_files.ts";

/** What lies in a file before it becomes an image. */
export const GARBAGE = 0xa5;
/** Name of the image. */
export const PATH = "image";

/** Files with one that is full of garbage, all of it durable. */
export function garbageFiles(bytes: number): CrashFiles {
  const files = new CrashFiles();
  const file = files.create(PATH);
  file.write(0, new Uint8Array(bytes).fill(GARBAGE));
  file.flushNow();
  file.close();
  files.syncFolder(".");
  return files;
}

/** Makes an image over garbage, and opens it. */
export function garbageImage(
  fileBytes: number,
  options: LazyZeroOptions = {},
): { readonly files: CrashFiles; readonly disk: LazyZeroDisk } {
  const files = garbageFiles(fileBytes);
  createLazyZero(files, PATH, { ...options, over: true });
  return { files, disk: openLazyZero(files, PATH, { readOnly: false }) };
}

/** What is done to a file, in order. */
export interface Access {
  readonly kind: "read" | "write" | "flush";
  readonly offset: number;
  readonly bytes: number;
}

/** The same files, whose accesses are put on a list. */
export function watched(files: HostFiles, list: Access[]): HostFiles {
  const watch = (file: HostFile): HostFile =>
    new Proxy(file, {
      get(target, key) {
        if (key === "read" || key === "write") {
          return (offset: number, bytes: Uint8Array) => {
            list.push({ kind: key, offset, bytes: bytes.length });
            return target[key](offset, bytes);
          };
        }
        if (key === "flush" || key === "flushNow") {
          return () => {
            list.push({ kind: "flush", offset: 0, bytes: 0 });
            return target[key]();
          };
        }
        const value = Reflect.get(target, key);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  return new Proxy(files, {
    get(target, key) {
      if (key === "open") {
        return (path: string, options?: { write?: boolean }) => watch(target.open(path, options));
      }
      if (key === "create") return (path: string) => watch(target.create(path));
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
