/**
 * Lint rules of this project (habit 2 and 5: one door for the outside world, rules are a test): nothing
 * under kernel/ or drivers/ touches Deno, host clocks, timers or chance, except kernel/host.
 */

const FREE = ["/kernel/host/", "/tools/", "/tests/"];

/** Whether a file may use what the rule bans. */
export function isFree(filename: string): boolean {
  const path = filename.replaceAll("\\", "/");
  return FREE.some((part) => path.includes(part)) || path.endsWith("_test.ts") ||
    !(path.includes("/kernel/") || path.includes("/drivers/"));
}

const BANNED_MEMBERS: Readonly<Record<string, string>> = {
  "Date.now": "Read time through kernel/host/clock.ts",
  "performance.now": "Read time through kernel/host/clock.ts",
  "Math.random": "Take entropy through kernel/host/entropy.ts",
};

const BANNED_CALLS = ["setTimeout", "setInterval"];

const plugin: Deno.lint.Plugin = {
  name: "chronovisor",
  rules: {
    "one-door": {
      create(context) {
        if (isFree(context.filename)) return {};
        return {
          MemberExpression(node) {
            if (node.object.type !== "Identifier") return;
            if (node.object.name === "Deno") {
              context.report({ node, message: "Only kernel/host may touch Deno" });
              return;
            }
            if (node.property.type !== "Identifier") return;
            const message = BANNED_MEMBERS[`${node.object.name}.${node.property.name}`];
            if (message !== undefined) context.report({ node, message });
          },
          CallExpression(node) {
            if (node.callee.type === "Identifier" && BANNED_CALLS.includes(node.callee.name)) {
              context.report({ node, message: "Timers belong to kernel/host" });
            }
          },
        };
      },
    },
  },
};

export default plugin;
