/**
 * Lint rules of this project (habit 2 and 5: one door for the outside world, rules are a test): nothing
 * under kernel/ or drivers/ touches Deno, host clocks, timers or chance, except kernel/host and the tests
 * of drivers. Tests of the kernel lie in tests/kernel.
 */

const FREE = ["/kernel/host/", "/tools/", "/tests/"];

/** Whether a file may use what the rule bans. */
export function isFree(filename: string): boolean {
  const path = filename.replaceAll("\\", "/");
  if (FREE.some((part) => path.includes(part))) return true;
  if (path.includes("/kernel/")) return false;
  return path.endsWith("_test.ts") || !path.includes("/drivers/");
}

const CLOCK = "Read time through kernel/host/clock.ts";
const ENTROPY = "Take entropy through kernel/host/entropy.ts";
const TIMERS = "Timers belong to kernel/host";
const HOST = "Only kernel/host may touch Deno";

const BANNED_MEMBERS: Readonly<Record<string, string>> = {
  "Date.now": CLOCK,
  "performance.now": CLOCK,
  "performance.timeOrigin": CLOCK,
  "Math.random": ENTROPY,
  "crypto.getRandomValues": ENTROPY,
  "crypto.randomUUID": ENTROPY,
  "globalThis.Deno": HOST,
  "globalThis.setTimeout": TIMERS,
  "globalThis.setInterval": TIMERS,
};

const BANNED_CALLS = ["setTimeout", "setInterval", "setImmediate"];

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
              context.report({ node, message: HOST });
              return;
            }
            const name = node.property.type === "Identifier" ? node.property.name : undefined;
            const message = BANNED_MEMBERS[`${node.object.name}.${name}`];
            if (message !== undefined) context.report({ node, message });
          },
          CallExpression(node) {
            if (node.callee.type === "Identifier" && BANNED_CALLS.includes(node.callee.name)) {
              context.report({ node, message: TIMERS });
            }
          },
          NewExpression(node) {
            // With arguments a Date is a calculation; without, it is a clock.
            const isDate = node.callee.type === "Identifier" && node.callee.name === "Date";
            if (isDate && node.arguments.length === 0) context.report({ node, message: CLOCK });
          },
        };
      },
    },
  },
};

export default plugin;
