/**
 * Writes cpio archives in the "newc" format (Linux Documentation/driver-api/early-userspace/
 * buffer-format): what the kernel takes as an initramfs.
 * Invariant: the same entries give the same bytes; times and owners are zero.
 */
import { concatBytes } from "../../kernel/base/bytes.ts";

/** File types of the mode field. */
const TYPE = { directory: 0o040000, file: 0o100000, link: 0o120000, character: 0o020000 } as const;

/** One entry. */
export type CpioEntry =
  | { readonly kind: "directory"; readonly path: string; readonly mode?: number }
  | {
    readonly kind: "file";
    readonly path: string;
    readonly bytes: Uint8Array;
    readonly mode?: number;
  }
  | { readonly kind: "link"; readonly path: string; readonly target: string }
  | {
    readonly kind: "character";
    readonly path: string;
    readonly major: number;
    readonly minor: number;
  };

const encoder = new TextEncoder();

function pad(length: number): Uint8Array {
  return new Uint8Array((4 - length % 4) % 4);
}

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly size: number;
  readonly major: number;
  readonly minor: number;
}

function record(path: string, content: Uint8Array, header: Header): Uint8Array[] {
  const name = encoder.encode(`${path}\0`);
  const { inode, mode, size, major, minor } = header;
  const fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name.length, 0];
  const text = "070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  const head = encoder.encode(text);
  return [head, name, pad(head.length + name.length), content, pad(content.length)];
}

/** The archive of entries; folders must come before what is in them. */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const none = new Uint8Array(0);
  const parts = entries.flatMap((entry, i) => {
    const inode = i + 1;
    const path = entry.path.replace(/^\/+/, "");
    const plain = { inode, size: 0, major: 0, minor: 0 };
    switch (entry.kind) {
      case "directory":
        return record(path, none, { ...plain, mode: TYPE.directory | (entry.mode ?? 0o755) });
      case "file": {
        const mode = TYPE.file | (entry.mode ?? 0o644);
        return record(path, entry.bytes, { ...plain, mode, size: entry.bytes.length });
      }
      case "link": {
        const target = encoder.encode(entry.target);
        return record(path, target, { ...plain, mode: TYPE.link | 0o777, size: target.length });
      }
      case "character": {
        const { major, minor } = entry;
        return record(path, none, { ...plain, mode: TYPE.character | 0o600, major, minor });
      }
    }
  });
  const end = record("TRAILER!!!", none, { inode: 0, mode: 0, size: 0, major: 0, minor: 0 });
  return concatBytes([...parts, ...end]);
}

/** Entries for everything under a folder of the host, in a stable order. */
export async function entriesOf(folder: string, prefix = ""): Promise<CpioEntry[]> {
  const names: Deno.DirEntry[] = [];
  for await (const entry of Deno.readDir(folder)) names.push(entry);
  names.sort((a, b) => a.name < b.name ? -1 : 1);
  const entries: CpioEntry[] = [];
  for (const { name, isDirectory, isSymlink, isFile } of names) {
    const path = prefix + name;
    const source = `${folder}/${name}`;
    if (isSymlink) {
      entries.push({ kind: "link", path, target: await Deno.readLink(source) });
    } else if (isDirectory) {
      entries.push({ kind: "directory", path }, ...await entriesOf(source, `${path}/`));
    } else if (isFile) {
      const mode = ((await Deno.lstat(source)).mode ?? 0o644) & 0o7777;
      entries.push({ kind: "file", path, bytes: await Deno.readFile(source), mode });
    }
  }
  return entries;
}
