/**
 * Debian packages by the machine's own apt, without root: own folders for lists, state and archives,
 * the mirror of the machine's own sources, checksums and signatures verified by apt.
 */
import { HostError } from "../../kernel/base/errors.ts";
import { exists } from "./cache.ts";

/** Debian release that guests are made of. */
const SUITE = "trixie";
const ARCHITECTURE = "riscv64";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** Lists older than this are fetched anew. */
const LISTS_MAXIMUM_AGE_MS = 24 * 3600 * 1000;

/** What a user can do where apt cannot help. */
const WITHOUT_APT = "give your own images instead: run --kernel FILE --initrd FILE";

async function output(program: string, args: readonly string[], env = {}): Promise<string> {
  let result: Deno.CommandOutput;
  try {
    result = await new Deno.Command(program, { args: [...args], env, stdin: "null" }).output();
  } catch (cause) {
    throw new HostError(`${program} is not installed; ${WITHOUT_APT}`, { cause });
  }
  if (!result.success) {
    const lines = new TextDecoder().decode(result.stderr).trim().split("\n");
    const told = lines.filter((line) => line.startsWith("E:"));
    throw new HostError(`${program} failed: ${(told.length > 0 ? told : lines).join("; ")}`);
  }
  return new TextDecoder().decode(result.stdout);
}

/** The mirror of the machine's own Debian sources. */
async function mirror(): Promise<string> {
  const listed = await output("apt-get", ["indextargets", "--format", "$(REPO_URI)"]);
  const found = listed.split("\n").map((line) => line.trim()).find((uri) =>
    /\/debian\/?$/.test(uri)
  );
  if (found === undefined) {
    throw new HostError(`apt has no source of Debian packages; ${WITHOUT_APT}`);
  }
  return found.replace(/\/$/, "");
}

/** apt with folders of its own. */
export class Apt {
  readonly #environment: { readonly APT_CONFIG: string };

  private constructor(private readonly folder: string) {
    this.#environment = { APT_CONFIG: `${folder}/apt.conf` };
  }

  /** Folder of downloaded packages. */
  get archives(): string {
    return `${this.folder}/archives`;
  }

  /** Prepares the folders and fetches package lists that are missing or old. */
  static async open(folder: string, progress: (line: string) => void): Promise<Apt> {
    for (
      const name of [
        "lists/partial",
        "archives/partial",
        "none/partial",
        "etc/preferences.d",
        "etc/apt.conf.d",
      ]
    ) {
      await Deno.mkdir(`${folder}/${name}`, { recursive: true });
    }
    const uri = await mirror();
    const signed = await exists(KEYRING) ? `signed-by=${KEYRING} ` : "";
    const source = `deb [${signed}arch=${ARCHITECTURE}] ${uri} ${SUITE} main\n`;
    await Deno.writeTextFile(`${folder}/etc/sources.list`, source);
    await Deno.writeTextFile(`${folder}/status`, "");
    await Deno.writeTextFile(`${folder}/apt.conf`, configuration(folder));
    const apt = new Apt(folder);
    await apt.#update(progress);
    return apt;
  }

  async #update(progress: (line: string) => void): Promise<void> {
    const stamp = `${this.folder}/updated`;
    if (await exists(stamp)) {
      const { mtime } = await Deno.stat(stamp);
      if (mtime && Date.now() - mtime.getTime() < LISTS_MAXIMUM_AGE_MS) return;
    }
    progress("fetching Debian package lists");
    await output("apt-get", ["update", "-q"], this.#environment);
    await Deno.writeTextFile(stamp, "");
  }

  /** The real package behind a metapackage such as linux-image-riscv64. */
  async dependency(name: string, pattern: RegExp): Promise<string> {
    const text = await output("apt-cache", ["depends", name], this.#environment);
    const found = text.split("\n").map((line) => /Depends: (\S+)/.exec(line)?.[1])
      .find((candidate) => candidate !== undefined && pattern.test(candidate));
    if (found === undefined) throw new HostError(`the package ${name} depends on no ${pattern}`);
    return found;
  }

  /** Packages with all they depend on, downloaded; gives the paths of their files. */
  async download(packages: readonly string[], progress: (line: string) => void): Promise<string[]> {
    // What is in the archives already is not printed, so the plan is made as if nothing were.
    const plan = await output("apt-get", [
      "install",
      "-o",
      `Dir::Cache::archives=${this.folder}/none`,
      "--print-uris",
      "-qq",
      "-y",
      "--no-install-recommends",
      ...packages,
    ], this.#environment);
    return await this.#fetchPlanned(plan, packages, progress);
  }

  /** Single packages without what they depend on. */
  async downloadOnly(
    packages: readonly string[],
    progress: (line: string) => void,
  ): Promise<string[]> {
    const plan = await output("apt-get", [
      "download",
      "--print-uris",
      "-qq",
      ...packages,
    ], this.#environment);
    const files = names(plan);
    const missing = await this.#missing(files);
    if (missing.length > 0) {
      progress(`fetching ${packages.join(", ")}`);
      const command = new Deno.Command("apt-get", {
        args: ["download", "-qq", ...packages],
        cwd: this.archives,
        env: this.#environment,
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      });
      const { success, stderr } = await command.output();
      if (!success) {
        throw new HostError(`apt-get download failed: ${new TextDecoder().decode(stderr).trim()}`);
      }
    }
    return files.map((file) => `${this.archives}/${file}`);
  }

  async #fetchPlanned(
    plan: string,
    packages: readonly string[],
    progress: (line: string) => void,
  ): Promise<string[]> {
    const files = names(plan);
    const missing = await this.#missing(files);
    if (missing.length > 0) {
      progress(`fetching ${missing.length} packages for ${packages.join(", ")}`);
      await output("apt-get", [
        "install",
        "--download-only",
        "-qq",
        "-y",
        "--no-install-recommends",
        ...packages,
      ], this.#environment);
    }
    return files.map((file) => `${this.archives}/${file}`);
  }

  async #missing(files: readonly string[]): Promise<string[]> {
    const missing: string[] = [];
    for (const file of files) if (!await exists(`${this.archives}/${file}`)) missing.push(file);
    return missing;
  }
}

/** File names in the output of --print-uris: 'URI' NAME SIZE HASH. */
function names(plan: string): string[] {
  return plan.split("\n").map((line) => /^'[^']+' (\S+)/.exec(line)?.[1])
    .filter((name): name is string => name !== undefined);
}

function configuration(folder: string): string {
  return [
    `Dir "${folder}";`,
    `Dir::Etc "${folder}/etc";`,
    `Dir::Etc::sourcelist "${folder}/etc/sources.list";`,
    'Dir::Etc::sourceparts "-";',
    `Dir::State "${folder}";`,
    `Dir::State::status "${folder}/status";`,
    `Dir::State::lists "${folder}/lists";`,
    `Dir::Cache "${folder}";`,
    `Dir::Cache::archives "${folder}/archives";`,
    `APT::Architecture "${ARCHITECTURE}";`,
    `APT::Architectures "${ARCHITECTURE}";`,
    'APT::Sandbox::User "";',
    'APT::Install-Recommends "false";',
    'Acquire::Languages "none";',
    "",
  ].join("\n");
}

/** Unpacks packages into a folder, without running anything of theirs. */
export async function unpack(files: readonly string[], folder: string): Promise<void> {
  for (const file of files) await output("dpkg-deb", ["-x", file, folder]);
}

/** Unpacks an xz-compressed file. */
export async function unxz(path: string): Promise<Uint8Array> {
  const command = new Deno.Command("xz", { args: ["-dc", path], stdin: "null" });
  const { success, stdout } = await command.output();
  if (!success) throw new HostError(`xz could not unpack ${path}`);
  return stdout;
}
