/**
 * Checks another revision of this repository out into a folder of its own, for as long as it is measured.
 * Invariant: the work tree goes again, also after a failure or an interrupt.
 */
import type { Revision } from "./bench_suite.ts";
import { ROOT } from "./sources.ts";

/** There is no such revision, or it cannot be checked out: what the user typed is wrong. */
export class NoRevision extends Error {
  /** The class's name. */
  override readonly name = "NoRevision";
}

/** A revision that is checked out until it is disposed of. */
export interface CheckedOut extends Revision, AsyncDisposable {}

/** Status of a process that a signal ended, less the signal's number. */
const SIGNALLED = 128;
const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;

/** Checks a revision out. Rejects with `NoRevision`, which names it, when that is not possible. */
export async function checkOut(name: string, repository: string = ROOT): Promise<CheckedOut> {
  const commit = git(repository, ["rev-parse", "--verify", `${name}^{commit}`]);
  if (!commit.success) throw new NoRevision(`There is no revision "${name}": ${commit.error}`);
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-revision-" });
  const tree = `${folder}/tree`;
  const release = removeOnSignal(() => remove(repository, folder, tree));
  const added = git(repository, ["worktree", "add", "--quiet", "--detach", tree, commit.output]);
  const revision: CheckedOut = {
    name,
    cli: `${tree}/tools/cli/main.ts`,
    [Symbol.asyncDispose]: () => Promise.resolve(release()),
  };
  if (added.success) return revision;
  release();
  throw new NoRevision(`Cannot check out the revision "${name}": ${added.error}`);
}

/** Calls `remove` on a signal, and ends; the result calls it without one. */
function removeOnSignal(remove: () => void): () => void {
  const handlers = Object.entries(SIGNALS).map(([signal, number]) => {
    const handler = () => {
      remove();
      Deno.exit(SIGNALLED + number);
    };
    return { signal: signal as keyof typeof SIGNALS, handler };
  });
  for (const { signal, handler } of handlers) Deno.addSignalListener(signal, handler);
  return () => {
    for (const { signal, handler } of handlers) Deno.removeSignalListener(signal, handler);
    remove();
  };
}

function remove(repository: string, folder: string, tree: string): void {
  // Fails where nothing was added; the folder goes in any case.
  git(repository, ["worktree", "remove", "--force", tree]);
  Deno.removeSync(folder, { recursive: true });
}

/** Runs git, without giving way to others: a signal finds all of it done or nothing. */
function git(repository: string, args: readonly string[]): GitAnswer {
  const command = new Deno.Command("git", { args: ["-C", repository, ...args], stdin: "null" });
  try {
    const { success, stdout, stderr } = command.outputSync();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    return { success, output: text(stdout), error: text(stderr) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { success: false, output: "", error: "git is not installed" };
  }
}

interface GitAnswer {
  readonly success: boolean;
  readonly output: string;
  readonly error: string;
}
