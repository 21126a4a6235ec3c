/**
 * The boundary of a machine is complete (issue 4, section 1): every way in which a VM world can receive
 * data is listed here, with where it goes. A new way fails this test until somebody has said whether the
 * guest can see it, and if so, through which event.
 */
import { assert, assertEquals } from "@std/assert";
import { TO_VM } from "../../kernel/world/protocol.ts";
import { ROOT, sourceFiles } from "../../tools/dev/sources.ts";

/** Messages to a VM world: the event that they become, or why the guest cannot see them. */
const MESSAGES: Readonly<Record<keyof typeof TO_VM, string>> = {
  pause: "no event: the machine stands still between two instructions, and so does its clock",
  resume: "no event: see pause",
  stop: "no event: the end of a recording is a record of its own",
  query: "no event: reads the machine",
  console: "event console",
  diskData: "event disk",
  diskDone: "event disk",
  frame: "event frame",
  resize: "event resize",
  debug: "no event: looks, stops and goes on; writes are refused while there is a recording",
  recordStart: "no event: see pause",
  recordGo: "no event: see pause",
  recordStop: "no event: see pause",
  debugInterrupt: "no event: see pause",
  identity: "event identity",
  wall: "event wall",
  savePrepare: "no event: traces of pages, which the guest cannot see",
  freeze: "no event: see pause",
  saveEnded: "no event: see savePrepare",
  saveGo: "no event: see pause",
  learn: "no event: see savePrepare",
  baseData: "no event: a replay's disks, which its recording's machine had",
};

/** Kinds of events, by what can be in them. */
const EVENTS = ["console", "frame", "resize", "disk", "time", "entropy", "identity", "wall"];

/** Files of the VM world that take messages from a port of their worker. */
const PORT_READERS: Readonly<Record<string, string>> = {
  "kernel/world/vm_world.ts": "the start message (the recording's manifest) and images",
  "kernel/world/remote_compiler.ts": "regions, which are checked to be what the guest's code means",
  "kernel/world/saver_world.ts": "not a VM world",
  "kernel/world/compile_world.ts": "not a VM world",
  "kernel/world/translation_server.ts": "not a VM world",
  "kernel/world/core_world.ts": "what code to make; it runs no guest",
};

/** Files outside kernel/host that may ask for the host's time or chance, and why the guest sees none. */
const HOST_READERS: Readonly<Record<string, string>> = {
  "kernel/world/vm_side.ts": "sizes of slices, and guest time as `time` events",
  "kernel/world/replay_side.ts": "sizes of slices, and how long to sleep",
  "kernel/world/restore_rehearsal.ts": "for a machine of no guest, which is dropped",
  "kernel/world/saver_world.ts": "not a VM world: how fast it reads",
  "kernel/world/vm_recording.ts": "when to send what was recorded",
  "kernel/world/host_time.ts": "the source of `time` events and of exact reads",
  "kernel/world/vm_world.ts": "hands the host's clock to the files above",
  "kernel/world/live_recording.ts": "hands it to vm_recording.ts",
  "kernel/world/idle_memory.ts": "when caches are forgotten, which no guest sees",
};

/** Folders whose code decides what a machine does. */
const MACHINE_FOLDERS =
  /^(kernel\/(base|state|wasm|memory|mmu|driver|cpu|translator|machine|replay)|drivers)\//;

function text(path: string): string {
  return Deno.readTextFileSync(ROOT + path);
}

const SOURCES = sourceFiles().filter((path) =>
  /^(kernel|drivers)\//.test(path) && path.endsWith(".ts") && !path.endsWith("_test.ts")
);

Deno.test("every message to a VM world is an event or cannot be seen by the guest", () => {
  assertEquals(Object.keys(MESSAGES).sort(), Object.keys(TO_VM).sort());
  for (const [name, where] of Object.entries(MESSAGES)) {
    const event = /^event (\w+)$/.exec(where)?.[1];
    assert(event === undefined ? where.startsWith("no event: ") : EVENTS.includes(event), name);
  }
  const declared = [...text("kernel/machine/event.ts").matchAll(/readonly kind: "(\w+)"/g)];
  assertEquals(declared.map((match) => match[1]), EVENTS);
});

Deno.test("a machine changes only in the hands of its gate and its turns", () => {
  const inputs = /\bbehaviour\s*\.\s*(input|resize|complete|identify|wallMoved)\b/;
  const callers = SOURCES.filter((path) => inputs.test(text(path)));
  assertEquals(callers, ["kernel/machine/gate.ts"]);
  const anchors = SOURCES.filter((path) => /\bclock\s*\.\s*anchor\(/.test(text(path)));
  assertEquals(anchors, [
    "kernel/machine/device_environment.ts",
    "kernel/machine/gate.ts",
    "kernel/machine/turns.ts",
  ]);
});

Deno.test("nothing that a machine is made of reads the host's time or chance", () => {
  const asks =
    /\b(performance\s*\.|Date\s*\.\s*now|new Date\b|Math\s*\.\s*random|crypto\s*\.|Deno\s*\.)/;
  assert(asks.test(text("kernel/host/clock.ts")), "the search finds what it looks for");
  for (const path of SOURCES.filter((file) => MACHINE_FOLDERS.test(file))) {
    const code = text(path).replaceAll(/\/\*[^]*?\*\//g, "").replaceAll(/\/\/.*/g, "");
    assert(!asks.test(code), `${path} reads the host`);
  }
  const readers = SOURCES.filter((path) =>
    !path.startsWith("kernel/host/") &&
    /import (type )?\{ ?(type )?[hH]ostClock/.test(text(path)) &&
    path !== "kernel/mod.ts"
  );
  assertEquals(readers.filter((path) => !(path in HOST_READERS)), []);
});

Deno.test("workers' ports are read in the listed places only", () => {
  const readers = SOURCES.filter((path) =>
    !path.startsWith("kernel/host/") &&
    /addEventListener\(\s*"message"|onmessage\s*=/.test(text(path))
  );
  assertEquals(readers.filter((path) => !(path in PORT_READERS)), []);
  const shared = SOURCES.filter((path) => /new SharedArrayBuffer|shared: true/.test(text(path)));
  // The machine's own memory (and how regions and the hash of pages name it), the mailbox, a memory that
  // only warms functions up, the counter of regions that have come, the table of pages
  // that are still to be loaded, and the area of pages that a saver reads: neither is seen by the guest.
  assertEquals(shared, [
    "kernel/cpu/core_code.ts",
    "kernel/memory/lazy_table.ts",
    "kernel/memory/memory_plan.ts",
    "kernel/memory/page_hash.ts",
    "kernel/memory/save_area.ts",
    "kernel/translator/region_maker.ts",
    "kernel/world/idle_memory.ts",
    "kernel/world/mailbox.ts",
    "kernel/world/region_warmer.ts",
    "kernel/world/remote_compiler.ts",
  ]);
});
