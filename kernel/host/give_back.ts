/**
 * Gives memory back to the host that this process has and does not need (issue 5: an idle fork is small), by two
 * functions of the C library that nothing in Deno stands for. On Linux, and where the process may call foreign
 * functions (--allow-ffi, -A); elsewhere nothing is given back.
 *
 * Invariants: no behaviour depends on it, but that bytes that were given back are zero; nobody is asked for a
 * permission that was not given.
 */

/** madvise(2): the range is zero from now on, and takes no memory. */
const MADV_DONTNEED = 4;
/** Bytes of a page of the host: of x86-64, and a multiple or a part of which others have. */
const HOST_PAGE_BYTES = 4096;

const FUNCTIONS = {
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
  // It looks through all of the heap, which takes milliseconds: in another thread.
  malloc_trim: { parameters: ["usize"], result: "i32", nonblocking: true },
} as const;

let library: Deno.DynamicLibrary<typeof FUNCTIONS> | null | undefined;

function functions(): Deno.DynamicLibrary<typeof FUNCTIONS>["symbols"] | undefined {
  if (library === undefined) library = open();
  return library?.symbols;
}

function open(): Deno.DynamicLibrary<typeof FUNCTIONS> | null {
  if (Deno.build.os !== "linux") return null;
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return null;
  try {
    return Deno.dlopen("libc.so.6", FUNCTIONS);
  } catch {
    // Another C library.
    return null;
  }
}

/**
 * Gives a range of shared memory back, which is zero then; gives whether it is: nothing has changed otherwise.
 * Nobody may use the range meanwhile. What does not fill pages of the host stays as it is, and is made zero.
 */
export function giveBack(buffer: SharedArrayBuffer, from: number, bytes: number): boolean {
  const symbols = functions();
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
  trimming ??= functions()?.malloc_trim(0n).then(() => trimming = undefined);
}

/** Resolves when that is not under way any more. */
export async function heapTrimmed(): Promise<void> {
  await trimming;
}
