/** Claims of bundled plugins: one module without imports and without the kernel, and clear refusals. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConfigError, FormatError, HostError } from "../../mod.ts";
import { bundlePlugins, parsePluginRequest } from "./bundle_plugin.ts";

const PLUGINS = new URL("../plugins/", import.meta.url).pathname;
const MOD = new URL("../../mod.ts", import.meta.url).pathname;

/** Bundles a module of this text. */
async function bundled(text: string): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, text);
    return (await bundlePlugins([{ file, options: {} }]))[0]!.code;
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("a request is a file and its options", () => {
  assertEquals(parsePluginRequest("a.ts"), { file: "a.ts", options: {} });
  assertEquals(parsePluginRequest("a.ts,word=x+0x8,when=value == 5"), {
    file: "a.ts",
    options: { word: "x+0x8", when: "value == 5" },
  });
  assertThrows(() => parsePluginRequest(""), ConfigError, "Expected FILE,key=value,…");
  assertThrows(() => parsePluginRequest("a.ts,b"), ConfigError, "Expected key=value");
  assertThrows(() => parsePluginRequest("a.ts,b=1,b=2"), ConfigError, '"b" of "a.ts"');
});

Deno.test("the shipped plugins are small modules by themselves", async () => {
  const names = ["syscall_trace", "function_profile", "invariant", "chrome_trace"];
  const requests = names.map((name) => ({ file: `${PLUGINS}${name}.ts`, options: {} }));
  const sources = await bundlePlugins(requests);
  for (const [i, { code, file }] of sources.entries()) {
    assertEquals(file, requests[i]!.file);
    assert(!/^\s*import\b/m.test(code), `${file} imports`);
    assert(code.length < 40_000, `${file}: ${code.length} characters`);
    const { default: plugin } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
    assertEquals(plugin.name, names[i]);
  }
});

Deno.test("a plugin anywhere may import the project by name or by its mod.ts", async () => {
  for (const from of ["chronovisor", MOD, `file://${MOD}`]) {
    const code = await bundled(
      `import { definePlugin } from ${JSON.stringify(from)};
       export default definePlugin({ name: "far", start: () => {} });`,
    );
    assert(code.includes("far") && code.length < 2000, `${from}: ${code.length}`);
  }
});

Deno.test("what cannot be bundled is refused by file and line", async () => {
  const missing = bundlePlugins([{ file: "/none/such.ts", options: {} }]);
  await assertRejects(() => missing, HostError, 'Cannot read the plugin "/none/such.ts"');
  const refused = (text: string, why: string) =>
    assertRejects(() => bundled(text), FormatError, why);
  await refused("export default {\n", ".ts:2: ");
  await refused('import x from "./absent.ts";\nexport default x;', 'resolve "./absent.ts"');
  await refused('import { VMKernel } from "chronovisor";\nexport default VMKernel;', "VMKernel");
});
