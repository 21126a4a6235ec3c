/** Claims about revisions that are checked out: what is there, that it goes, and unknown names. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { peerTest } from "../../tests/_support/peers.ts";
import { checkOut, NoRevision } from "./revision.ts";

async function git(folder: string, ...args: string[]): Promise<string> {
  const identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"];
  const command = new Deno.Command("git", { args: ["-C", folder, ...identity, ...args] });
  return new TextDecoder().decode((await command.output()).stdout);
}

/** A repository of two commits, whose file says which it is. */
async function withRepository(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await git(folder, "init", "--quiet");
    await Deno.mkdir(`${folder}/tools/cli`, { recursive: true });
    for (const text of ["old", "new"]) {
      await Deno.writeTextFile(`${folder}/tools/cli/main.ts`, text);
      await git(folder, "add", "-A");
      await git(folder, "commit", "--quiet", "-m", text);
    }
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const worktrees = async (folder: string) =>
  (await git(folder, "worktree", "list")).trim().split("\n").length;

peerTest("checkOut(): a revision's files are there until it is disposed of", ["git"], async () => {
  await withRepository(async (folder) => {
    let path: string;
    {
      await using revision = await checkOut("HEAD~1", folder);
      path = revision.cli;
      assertEquals([revision.name, await Deno.readTextFile(path)], ["HEAD~1", "old"]);
      assertEquals(await worktrees(folder), 2);
    }
    await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
    assertEquals(await worktrees(folder), 1);
  });
});

peerTest("checkOut(): an unknown revision is refused by its name", ["git"], async () => {
  await withRepository(async (folder) => {
    const error = await assertRejects(() => checkOut("nowhere", folder), NoRevision);
    assertStringIncludes(error.message, '"nowhere"');
    assertEquals(await worktrees(folder), 1);
  });
});

const INTERRUPTED = `
import { checkOut } from ${JSON.stringify(new URL("revision.ts", import.meta.url).href)};
const revision = await checkOut("HEAD", Deno.args[0]);
console.log(revision.cli);
await new Promise((resolve) => setTimeout(resolve, 60_000));
`;

peerTest("checkOut(): an interrupted process leaves no work tree behind", ["git"], async () => {
  await withRepository(async (folder) => {
    await Deno.writeTextFile(`${folder}/program.ts`, INTERRUPTED);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", `${folder}/program.ts`, folder],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const path = (await reader.read()).value!.trim();
    await Deno.stat(path);
    child.kill("SIGTERM");
    await reader.cancel();
    assertEquals((await child.status).code, 143);
    await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
    assertEquals(await worktrees(folder), 1);
  });
});
