/** Which modules are loaded with one, as Deno sees it. */
const ROOT = new URL("../../", import.meta.url);

interface Info {
  readonly roots: readonly string[];
  readonly redirects: Readonly<Record<string, string>>;
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly isDynamic?: boolean;
      readonly code?: { readonly specifier?: string };
    }[];
  }[];
}

/**
 * What a module of this project imports, and what that imports, but for what is imported late: paths in the
 * project, and the names of packages.
 */
export async function staticGraph(path: string): Promise<string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", path],
    cwd: ROOT,
    stderr: "inherit",
  }).output();
  const { roots, redirects, modules } = JSON.parse(new TextDecoder().decode(stdout)) as Info;
  const bySpecifier = new Map(modules.map((module) => [module.specifier, module]));
  const found = new Set<string>();
  const visit = (specifier: string) => {
    const target = redirects[specifier] ?? specifier;
    if (found.has(target)) return;
    found.add(target);
    for (const { isDynamic, code } of bySpecifier.get(target)?.dependencies ?? []) {
      if (!isDynamic && code?.specifier !== undefined) visit(code.specifier);
    }
  };
  visit(roots[0]!);
  return [...found].map((specifier) => specifier.replace(ROOT.href, "")).sort();
}
