/**
 * `deno task where [boot|userland]`: where the time of a Linux guest goes, by a sampling profile of a run
 * in one thread: interpreter, regions, fills, traced stores, compilation and the rest. For
 * docs/performance.md.
 */
import { SCRIPT as USERLAND, USERLAND_PACKAGES } from "../../tests/bench/userland.ts";
import { PROMPT } from "../../tests/_support/debian.ts";
import { resolveGuest } from "../guests/mod.ts";
import { writeCpio } from "../image/cpio.ts";

const GUEST = new URL("../../tests/bench/support/profiled_guest.ts", import.meta.url).pathname;

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** What a function of the profile belongs to. */
function shareOf(name: string, url: string): string {
  if (name === "run") return "interpreter";
  if (/^region\d|^wasm-function/.test(name)) return "regions";
  if (/^(translate|loadSlow|storeSlow|readAddress|writeAddress|fetchSlow|pmpCheck)$/.test(name)) {
    return "walks and fills";
  }
  if (/^(writeTraced|dropEntry|dropWrites|flushAll|dropCode|markTable)$/.test(name)) {
    return "traced stores and drops";
  }
  if (/^(trap|takeInterrupt|csrRead|csrWrite|selectElement|.*Return)$/.test(name)) {
    return "traps, CSRs, switches";
  }
  if (/\(garbage|\(program|\(idle/.test(name)) return "host";
  if (/kernel\/(wasm|translator)\/|^Module$|^Instance$/.test(url) || name === "Module") {
    return /translator\.ts|placements|catalogue/.test(url)
      ? "placing regions"
      : "compiling regions";
  }
  if (/records|decode/.test(url)) return "decoding";
  if (url.startsWith("wasm:")) return "exact floats and others";
  return "devices, loading, others";
}

async function profile(guest: readonly string[]): Promise<{ told: string; shares: string[] }> {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-where-" });
  try {
    const { stdout, success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--cpu-prof", `--cpu-prof-dir=${folder}`, GUEST, ...guest],
      stderr: "inherit",
    }).output();
    if (!success) throw new Error("the profiled run failed");
    const [file] = [...Deno.readDirSync(folder)];
    const read = JSON.parse(await Deno.readTextFile(`${folder}/${file!.name}`)) as Profile;
    return { told: new TextDecoder().decode(stdout).trim(), shares: sharesOf(read) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function sharesOf({ nodes, samples, timeDeltas }: Profile): string[] {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const shares = new Map<string, number>();
  samples.forEach((id, i) => {
    const { functionName, url } = frames.get(id)!;
    const share = shareOf(functionName, url);
    shares.set(share, (shares.get(share) ?? 0) + timeDeltas[i]!);
  });
  const all = [...shares.values()].reduce((sum, time) => sum + time, 0);
  return [...shares].sort((a, b) => b[1] - a[1]).map(([share, time]) =>
    `${share.padEnd(28)} ${(time / 1e6).toFixed(2).padStart(6)} s ${
      (100 * time / all).toFixed(1).padStart(5)
    } %`
  );
}

async function userlandDisk(initrd: string): Promise<string> {
  const first = await Deno.readFile(initrd);
  const bytes = new TextEncoder().encode(USERLAND);
  const second = writeCpio([{ kind: "file", path: "userland", mode: 0o755, bytes }]);
  const start = Math.ceil(first.length / 512) * 512;
  const whole = new Uint8Array(start + second.length);
  whole.set(first);
  whole.set(second, start);
  const file = await Deno.makeTempFile({ prefix: "chronovisor-where-" });
  await Deno.writeFile(file, whole);
  return file;
}

if (import.meta.main) {
  const what = Deno.args[0] ?? "boot";
  const userland = what === "userland";
  const packages = userland ? USERLAND_PACKAGES : [];
  const { kernel, initrd, append } = await resolveGuest("debian", { packages });
  const guest = userland
    ? [
      `${kernel}`,
      await userlandDisk(`${initrd}`),
      "console=ttyS0 panic=-1 quiet rdinit=/userland",
      "@end",
    ]
    : [`${kernel}`, `${initrd}`, append ?? "", PROMPT];
  const { told, shares } = await profile(guest);
  console.log([told, ...shares].join("\n"));
}
