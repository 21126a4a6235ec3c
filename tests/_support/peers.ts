/**
 * Real programs that tests run against. A test that needs one is ignored where it is missing, and fails
 * where CHRONOVISOR_PEERS=required says that nothing may be missing (continuous integration).
 */

const found = new Map<string, boolean>();

const allRequired = () => Deno.env.get("CHRONOVISOR_PEERS") === "required";

/**
 * Whether a program is installed, or a file there when an absolute path is given (firmware is a peer
 * too). Throws when it is missing although all peers are required.
 */
export function hasPeer(program: string, required: boolean = allRequired()): boolean {
  let known = found.get(program);
  if (known === undefined && program.startsWith("/")) {
    known = isFile(program);
    found.set(program, known);
  } else if (known === undefined) {
    const folders = (Deno.env.get("PATH") ?? "").split(":");
    known = folders.some((folder) => isFile(`${folder}/${program}`));
    found.set(program, known);
  }
  if (!known && required) {
    throw new Error(`the peer ${program} is not installed, and CHRONOVISOR_PEERS=required`);
  }
  return known;
}

/** Why tests that need a program do not run, or undefined when it is installed. */
export function peerReason(
  program: string,
  required: boolean = allRequired(),
): string | undefined {
  return hasPeer(program, required) ? undefined : `${program} is not installed`;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Defines a test that runs when every named program is installed; its name says why it is ignored. */
export function peerTest(
  name: string,
  programs: readonly string[],
  body: (context: Deno.TestContext) => Promise<void> | void,
): void {
  const missing = programs.filter((program) => !hasPeer(program));
  const suffix = missing.length > 0 ? ` (ignored: ${missing.join(", ")} not installed)` : "";
  Deno.test({ name: name + suffix, ignore: missing.length > 0, fn: body });
}

/** Runs a program to its end and gives its output; throws when it takes longer than `seconds`. */
export async function runPeer(
  program: string,
  args: readonly string[],
  seconds = 240,
): Promise<{ readonly code: number; readonly stdout: Uint8Array; readonly stderr: string }> {
  const signal = AbortSignal.timeout(seconds * 1000);
  const command = new Deno.Command(program, { args: [...args], stdin: "null", signal });
  const { code, stdout, stderr } = await command.output();
  if (signal.aborted) throw new Error(`${program} did not end within ${seconds} s`);
  return { code, stdout, stderr: new TextDecoder().decode(stderr) };
}
