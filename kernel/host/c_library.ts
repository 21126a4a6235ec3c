/**
 * Functions of the C library that nothing in Deno stands for: memory and room in files, taken and given back. On
 * Linux, and where the process may call foreign functions (--allow-ffi, -A).
 *
 * Invariants: no behaviour depends on them but what their callers say; nobody is asked for a permission that was
 * not given.
 */

const FUNCTIONS = {
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
  // It looks through all of the heap, which takes milliseconds: in another thread.
  malloc_trim: { parameters: ["usize"], result: "i32", nonblocking: true },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;

type Library = Deno.DynamicLibrary<typeof FUNCTIONS>;

let library: Library | null | undefined;

/** The functions; undefined where they cannot be had. */
export function cLibrary(): Library["symbols"] | undefined {
  if (library === undefined) library = open();
  return library?.symbols;
}

function open(): Library | null {
  if (Deno.build.os !== "linux") return null;
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return null;
  try {
    return Deno.dlopen("libc.so.6", FUNCTIONS);
  } catch {
    // Another C library.
    return null;
  }
}
