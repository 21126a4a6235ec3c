/**
 * Room in files that is taken before anything is written there (S4: blocks of a file are allocated, and not
 * initialised): fallocate(2), which takes no longer for a large file than for a small one.
 */
import { HostError } from "../base/errors.ts";
import { cLibrary } from "./c_library.ts";

const [READ_WRITE, CLOSE_ON_EXEC] = [2, 0o2000000];
/** What fallocate(2) says where there is not so much room. */
const NO_ROOM: readonly number[] = [27, 28, 122];

/**
 * Takes the room of a file's first bytes; what was never written reads as zeros. False where this host cannot do
 * that: the file is as it was. Throws HostError when there is not so much room.
 */
export function allocateFile(path: string, bytes: number): boolean {
  const symbols = cLibrary();
  if (symbols === undefined) return false;
  const errno = symbols.__errno_location();
  const file = symbols.open(new TextEncoder().encode(`${path}\0`), READ_WRITE | CLOSE_ON_EXEC);
  if (file < 0 || errno === null) return false;
  try {
    if (symbols.fallocate(file, 0, 0n, BigInt(bytes)) === 0) return true;
    const why = new Deno.UnsafePointerView(errno).getInt32();
    if (!NO_ROOM.includes(why)) return false;
  } finally {
    symbols.close(file);
  }
  throw new HostError(`Cannot make "${path}": there is no room for ${bytes} bytes`);
}
