/**
 * The guests' C sources as programs of the host, for the times that the host itself needs.
 */
import { hasPeer } from "../../_support/peers.ts";

/** Where the guests' sources are. */
const GUESTS = new URL("../../../guests/", import.meta.url);
const COMPILERS = ["cc", "gcc"];
/**
 * As the guests are compiled (tools/guests/build.ts): the same loops, not calls of the host's library in
 * their place. Static, so that starting a program costs no dynamic linking, as in the guest.
 */
const FLAGS = [
  "-static",
  "-ffreestanding",
  "-fno-builtin",
  "-fno-stack-protector",
  "-fno-tree-loop-distribute-patterns",
];
/** Flags of build.json that are about the guest's image. */
const IMAGE_FLAG = /^-(Wl,|march|mabi|mcmodel|nostd)/;

/** A program of the host, in a folder that goes with it. */
export interface NativeProgram extends AsyncDisposable {
  readonly path: string;
}

/**
 * Compiles what a guest's build.json names for the host: its sources but `without`, and its native.c in
 * their place, at the same level. Gives nothing, and says why, where that cannot be done.
 */
export async function buildNative(
  guest: string,
  without: readonly string[],
  note: (why: string) => void,
): Promise<NativeProgram | undefined> {
  const compiler = COMPILERS.find((name) => isInstalled(name));
  if (compiler === undefined) {
    note(`no native times: there is no C compiler (${COMPILERS.join(", ")})`);
    return undefined;
  }
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-native-" });
  const remove = () => Deno.remove(folder, { recursive: true });
  const path = `${folder}/${guest}`;
  const failure = await compile(compiler, guest, without, path);
  if (failure === undefined) return { path, [Symbol.asyncDispose]: remove };
  await remove();
  note(`no native times: ${compiler} cannot build guests/${guest}: ${failure}`);
  return undefined;
}

/** The first line of what the compiler says when it fails. */
async function compile(
  compiler: string,
  guest: string,
  without: readonly string[],
  output: string,
): Promise<string | undefined> {
  const folder = decodeURIComponent(new URL(`${guest}/`, GUESTS).pathname);
  const [build] = JSON.parse(await Deno.readTextFile(`${folder}build.json`)) as [GuestBuild];
  const sources = build.sources.filter((source) => !without.includes(source));
  const flags = build.flags.filter((flag) => !IMAGE_FLAG.test(flag));
  const { success, stderr } = await new Deno.Command(compiler, {
    args: [...FLAGS, ...flags, ...sources, "native.c", "-o", output, "-lm"],
    cwd: folder,
    stdin: "null",
  }).output();
  if (success) return undefined;
  const said = new TextDecoder().decode(stderr).split("\n");
  return said.find((line) => /error|cannot/.test(line)) ?? said[0]!;
}

interface GuestBuild {
  readonly sources: readonly string[];
  readonly flags: readonly string[];
}

/** Unlike a peer, a host compiler may be missing even where all peers are required. */
function isInstalled(program: string): boolean {
  try {
    return hasPeer(program);
  } catch {
    return false;
  }
}
