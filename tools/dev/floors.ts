/**
 * The floors: a folder imports only from lower floors, and folders on one floor never import each
 * other (design.md; docs/architecture.md). Reads import statements, so it needs nothing but the files.
 */
import { ROOT, sourceFiles } from "./sources.ts";

/** Floor of each folder or file under kernel/, and of what stands above it. */
export const FLOORS: Readonly<Record<string, number>> = {
  "kernel/base": 0,
  "kernel/state": 1,
  "kernel/host": 1,
  "kernel/metrics": 1,
  "kernel/wasm": 1,
  "kernel/limits.ts": 1,
  "kernel/memory": 2,
  "kernel/datastore": 2,
  "kernel/mmu": 3,
  "kernel/driver": 3,
  "kernel/cpu": 4,
  "kernel/translator": 5,
  "kernel/machine": 6,
  "kernel/sched": 6,
  "kernel/storage": 6,
  "kernel/network": 6,
  "kernel/replay": 7,
  "kernel/resource": 7,
  "kernel/checkpoint": 8,
  "kernel/ft": 9,
  "kernel/debug": 9,
  "kernel/guest": 10,
  "kernel/world": 11,
  "kernel": 12,
  "drivers/vm_world.ts": 13,
  "mod.ts": 13,
};

/** One import between two files of the project. */
export interface Import {
  readonly from: string;
  readonly to: string;
}

/** The unit (folder or file with a floor of its own) that a path belongs to. */
export function unitOf(path: string): string | undefined {
  if (path in FLOORS) return path;
  const parts = path.split("/");
  if (parts[0] !== "kernel") return undefined;
  return parts.length > 2 ? `kernel/${parts[1]}` : "kernel";
}

/** What is wrong with an import, or undefined. */
export function violation({ from, to }: Import): string | undefined {
  if (from.endsWith("_test.ts") || /^(tests|tools)\//.test(from)) return undefined;
  if (from.startsWith("guests/")) {
    return /^(guests|tools\/asm|tools\/std)\//.test(to) ? undefined : `${from} imports ${to}`;
  }
  if (from.startsWith("drivers/") && from !== "drivers/vm_world.ts") {
    return driverViolation(from, to);
  }
  const here = unitOf(from);
  if (here === undefined) return undefined;
  if (/^(drivers|tools|tests)\//.test(to)) {
    const above = FLOORS[here]! >= 13;
    return above || to.startsWith("tools/std/") ? undefined : `${from} climbs out to ${to}`;
  }
  const there = unitOf(to);
  if (there === undefined || here === there) return undefined;
  const [a, b] = [FLOORS[here], FLOORS[there]];
  if (a === undefined) return `${here} has no floor: add it to tools/dev/floors.ts`;
  if (b === undefined) return `${there} has no floor: add it to tools/dev/floors.ts`;
  if (b > a) return `${from} climbs to ${to}`;
  return a === b ? `${from} reaches sideways to ${to}` : undefined;
}

function driverViolation(from: string, to: string): string | undefined {
  if (to === "kernel/driver/mod.ts" || from === "drivers/mod.ts") return undefined;
  const folder = from.slice(0, from.lastIndexOf("/") + 1);
  const virtio = folder.startsWith("drivers/virtual/virtio") &&
    to.startsWith("drivers/virtual/virtio/");
  return to.startsWith(folder) || virtio ? undefined : `${from} imports ${to}`;
}

const STATIC_IMPORT = /^\s*(?:import|export)[^"';]*?["'](\.[^"']+)["']/gm;
const DYNAMIC_IMPORT = /\bimport\(\s*["'](\.[^"']+)["']/g;

/** Relative imports of a file, static and dynamic, as paths from the root. */
export function importsOf(path: string, text: string): Import[] {
  return [STATIC_IMPORT, DYNAMIC_IMPORT].flatMap((pattern) =>
    Array.from(text.matchAll(pattern), (match) => ({
      from: path,
      to: new URL(match[1]!, `file:///${path}`).pathname.slice(1),
    }))
  );
}

/** All violations in the tree. */
export function checkFloors(): string[] {
  return sourceFiles().flatMap((path) =>
    importsOf(path, Deno.readTextFileSync(ROOT + path))
      .map(violation)
      .filter((text): text is string => text !== undefined)
  );
}
