/**
 * Claims about what is loaded at a start (docs/performance.md, "Starting"): a module here costs every command,
 * or every VM, its time and memory.
 */
import { assert, assertEquals } from "@std/assert";
import { staticGraph } from "../_support/import_graph.ts";

/** TABLE: what must not be loaded before it is wanted, and why. */
const KERNEL_WITHOUT: Readonly<Record<string, string>> = {
  "npm:/zod": "10 ms; reads manifests and requests",
  "npm:/@msgpack": "20 ms in a worker: it asks for the process; reads and writes logs",
  "npm:/esbuild": "30 ms; bundles plugins",
  "node:": "15 to 20 ms: Node's surroundings",
  "kernel/cpu/": "makes code: workers do",
  "kernel/debug/machine_debugger": "a debugger",
  "kernel/debug/replay_debugger": "a debugger",
  "kernel/replay/replayer": "replays",
  "kernel/replay/log_reader": "replays",
  "kernel/world/recordings": "replays",
  "tools/guests/mod": "finds and fetches guests",
  "tools/gdb/": "a debugger",
};

/** TABLE: what no VM world loads that only runs a guest, and why. */
const WORLD_WITHOUT: Readonly<Record<string, string>> = {
  "npm:": "no package is wanted",
  "node:": "15 to 20 ms: Node's surroundings",
  "kernel/cpu/interpreter": "makes code: a module of the core is given",
  "kernel/cpu/softfloat": "makes code",
  "kernel/cpu/csr_table": "makes code",
  "kernel/cpu/core_code": "makes code",
  "kernel/mmu/walk": "makes code",
  "kernel/mmu/cache_group": "makes code",
  "kernel/translator/region_": "makes regions: the compile world does",
  "kernel/debug/": "a debugger",
  "kernel/replay/": "records and replays",
  "kernel/machine/snapshot": "goes back",
};

async function assertWithout(
  path: string,
  unwanted: Readonly<Record<string, string>>,
): Promise<void> {
  const graph = await staticGraph(path);
  assert(graph.includes(path), "the graph is that of the module");
  for (const [start, reason] of Object.entries(unwanted)) {
    assertEquals(graph.filter((module) => module.startsWith(start)), [], `${path}: ${reason}`);
  }
}

Deno.test("the command line loads no kernel before a command wants it", async () => {
  await assertWithout("tools/cli/main.ts", {
    ...KERNEL_WITHOUT,
    "kernel/kernel": "half of the commands need none",
    "tools/cli/commands/": "one command is named",
    "tools/cli/control/": "one command is named",
  });
});

Deno.test("a kernel that only runs guests loads no more than that", async () => {
  await assertWithout("mod.ts", KERNEL_WITHOUT);
});

Deno.test("`run` and `exec` load what runs a guest, and no more", async () => {
  for (const name of ["run", "exec"]) {
    await assertWithout(`tools/cli/commands/${name}.ts`, KERNEL_WITHOUT);
  }
});

Deno.test("commands about checkpoints load no kernel but where a VM goes on", async () => {
  await assertWithout("tools/cli/commands/checkpoint.ts", {
    "npm:/zod": "10 ms; reads requests",
    "kernel/kernel": "a store needs none",
    "kernel/cpu/": "makes code: workers do",
    "tools/cli/control/sockets": "few of them ask a VM that runs",
  });
  await assertWithout("tools/cli/commands/resume.ts", {
    "npm:/zod": "10 ms; reads manifests and requests",
    "kernel/cpu/": "makes code: workers do",
    "kernel/replay/replayer": "replays",
    "tools/cli/control/sockets": "no VM waits for its socket",
    "tools/guests/mod": "finds and fetches guests",
  });
});

Deno.test("a VM world loads what runs a guest, and no more", async () => {
  await assertWithout("drivers/vm_world.ts", WORLD_WITHOUT);
});
