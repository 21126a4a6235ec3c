/**
 * Worker entry that tries what a VM world must not be able to do, and prints how each attempt ended.
 * It is started as every VM world is.
 */
import { serveVmWorld } from "../../kernel/world/vm_world.ts";
import { FakeMachine } from "./fake_machine.ts";

const attempts: Record<string, () => unknown> = {
  "read a file": () => Deno.readTextFileSync(new URL(import.meta.url)),
  "list a folder": () => [...Deno.readDirSync(".")],
  "write a file": () => Deno.writeTextFileSync("written-by-a-vm-world", ""),
  "open a socket": () => Deno.connect({ hostname: "127.0.0.1", port: 9 }),
  "listen on a socket": () => Deno.listen({ hostname: "127.0.0.1", port: 0 }).close(),
  "fetch": () => fetch("http://127.0.0.1:8081/"),
  "read the environment": () => Deno.env.toObject(),
  "run a program": () => new Deno.Command("true").outputSync(),
  "load a native library": () => Deno.dlopen("libc.so.6", {}),
  "ask for a permission": async () => {
    const { state } = await Deno.permissions.request({ name: "read" });
    if (state !== "granted") throw new Deno.errors.NotCapable("not granted");
  },
  "import a file by a name made at run time": () => import(["file:", "", "", "etc", "x"].join("/")),
};

serveVmWorld(async () => {
  const lines: string[] = [];
  for (const [what, attempt] of Object.entries(attempts)) {
    let end = "allowed";
    try {
      await attempt();
    } catch (error) {
      // A refused import is a TypeError that carries the refusal's text.
      const refused = error instanceof Deno.errors.NotCapable ||
        /Requires \w+ access/.test(`${error}`);
      end = refused ? "refused" : String(error);
    }
    lines.push(`${what}: ${end}`);
  }
  return new FakeMachine({ append: `say 0 ${lines.join("\n")}` } as never);
});
