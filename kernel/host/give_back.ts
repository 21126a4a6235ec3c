/**
 * Gives memory back to the host that this process has and does not need (issue 5: an idle fork is small). Where
 * c_library.ts has not what that takes, nothing is given back.
 *
 * Invariant: no behaviour depends on it, but that bytes that were given back are zero.
 */
import { cLibrary } from "./c_library.ts";

/** madvise(2): the range is zero from now on, and takes no memory. */
const MADV_DONTNEED = 4;
/** Bytes of a page of the host: of x86-64, and a multiple or a part of which others have. */
const HOST_PAGE_BYTES = 4096;

/**
 * Gives a range of shared memory back, which is zero then; gives whether it is: nothing has changed otherwise.
 * Nobody may use the range meanwhile. What does not fill pages of the host stays as it is, and is made zero.
 */
export function giveBack(buffer: SharedArrayBuffer, from: number, bytes: number): boolean {
  const symbols = cLibrary();
  if (symbols === undefined) return false;
  const view = new Uint8Array(buffer, from, bytes);
  const address = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(view)));
  const first = Math.ceil(address / HOST_PAGE_BYTES) * HOST_PAGE_BYTES;
  const end = Math.floor((address + bytes) / HOST_PAGE_BYTES) * HOST_PAGE_BYTES;
  if (end <= first) return false;
  if (symbols.madvise(BigInt(first), BigInt(end - first), MADV_DONTNEED) !== 0) return false;
  view.fill(0, 0, first - address);
  view.fill(0, end - address);
  return true;
}

let trimming: Promise<void> | undefined;

/** Gives back what the heap of the C library, which V8's compilers use, has and does not need. */
export function trimHeap(): void {
  trimming ??= cLibrary()?.malloc_trim(0n).then(() => trimming = undefined);
}

/** Resolves when that is not under way any more. */
export async function heapTrimmed(): Promise<void> {
  await trimming;
}
