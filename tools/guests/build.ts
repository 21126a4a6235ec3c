/**
 * Builds our own guests with Debian's cross compiler, as guests/**\/build.json says, and the schema of
 * their descriptions; checks that what is committed is exactly what the sources give.
 */
import { HostError } from "../../kernel/base/errors.ts";
import { manifestJsonSchema } from "./manifest.ts";

const GUESTS = decodeURIComponent(new URL("../../guests/", import.meta.url).pathname);
const COMPILER = "riscv64-unknown-elf-gcc";
const OBJCOPY = "riscv64-unknown-elf-objcopy";
const FLAGS = [
  "-nostdlib",
  "-nostartfiles",
  "-static",
  "-ffreestanding",
  "-fno-builtin",
  "-fno-stack-protector",
  "-fno-tree-loop-distribute-patterns",
  "-mcmodel=medany",
  "-march=rv64gc",
  "-mabi=lp64d",
  // Our start code sets no global pointer.
  "-Wl,--no-relax",
  "-Wl,--build-id=none",
  "-Wl,--no-warn-rwx-segments",
];

/** One image to build: build.json holds a list of these. */
interface Build {
  /** File to make, in the folder of build.json. */
  readonly output: string;
  readonly sources: readonly string[];
  readonly flags?: readonly string[];
  /** "binary" turns the ELF file into raw bytes. */
  readonly format?: "elf" | "binary";
  /** Global symbols to keep, such as tohost: all others go, with the names of temporary object files. */
  readonly symbols?: readonly string[];
  /** Keeps debug information, with paths relative to the folder, and all symbols. */
  readonly debug?: boolean;
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  let result: Deno.CommandOutput;
  try {
    result = await new Deno.Command(program, { args: [...args], cwd, stdin: "null" }).output();
  } catch (cause) {
    throw new HostError(
      `${program} is not installed: Debian has it as gcc-riscv64-unknown-elf`,
      { cause },
    );
  }
  if (!result.success) {
    throw new HostError(`${program} failed:\n${new TextDecoder().decode(result.stderr)}`);
  }
}

async function buildFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory, isFile } of Deno.readDir(folder)) {
    if (isDirectory) found.push(...await buildFiles(`${folder}${name}/`));
    else if (isFile && name === "build.json") found.push(`${folder}${name}`);
  }
  return found.sort();
}

/** Neither debug information nor its tables of frames say where the sources lay when they were built. */
function debugFlags(folder: string): string[] {
  return ["-g", "-fno-asynchronous-unwind-tables", `-fdebug-prefix-map=${folder.slice(0, -1)}=.`];
}

async function buildOne(folder: string, build: Build): Promise<Uint8Array> {
  const strip = build.debug ? debugFlags(folder) : build.symbols ? [] : ["-s"];
  const elf = await Deno.makeTempFile();
  const binary = await Deno.makeTempFile();
  try {
    await run(
      COMPILER,
      [...FLAGS, ...strip, ...build.flags ?? [], ...build.sources, "-o", elf],
      folder,
    );
    if (build.symbols !== undefined) {
      const keep = build.symbols.map((symbol) => `--keep-symbol=${symbol}`);
      await run(OBJCOPY, ["--strip-all", ...keep, elf], folder);
    }
    if (build.debug) await run(OBJCOPY, ["-w", "--strip-symbol=cc*.o", elf], folder);
    if (build.format !== "binary") return await Deno.readFile(elf);
    await run(OBJCOPY, ["-O", "binary", elf, binary], folder);
    return await Deno.readFile(binary);
  } finally {
    await Deno.remove(elf);
    await Deno.remove(binary);
  }
}

/** Builds everything; with `check`, compares with what is committed and throws HostError on a change. */
export async function buildGuests(check: boolean, say: (line: string) => void): Promise<void> {
  const changed: string[] = [];
  const put = async (name: string, bytes: Uint8Array) => {
    if (!check) {
      await Deno.writeFile(GUESTS + name, bytes);
      return say(`built    ${name} (${bytes.length} bytes)`);
    }
    const same = await sameFile(GUESTS + name, bytes);
    if (!same) changed.push(name);
    say(`${same ? "same    " : "CHANGED "} ${name}`);
  };
  await put("guest.schema.json", new TextEncoder().encode(manifestJsonSchema()));
  for (const file of await buildFiles(GUESTS)) {
    const folder = file.slice(0, file.lastIndexOf("/") + 1);
    for (const build of JSON.parse(await Deno.readTextFile(file)) as Build[]) {
      await put(folder.slice(GUESTS.length) + build.output, await buildOne(folder, build));
    }
  }
  if (changed.length > 0) {
    throw new HostError(`the sources give other images than the committed: ${changed.join(", ")}`);
  }
}

async function sameFile(path: string, bytes: Uint8Array): Promise<boolean> {
  try {
    const committed = await Deno.readFile(path);
    return committed.length === bytes.length && committed.every((byte, i) => byte === bytes[i]);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
