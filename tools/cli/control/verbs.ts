/**
 * TABLE of the verbs of the control protocol: what processes may ask of a kernel (docs/control.md, which
 * says how to add one).
 *
 * Invariant: a verb's name, request, events and result are said here and nowhere else; the kernel checks
 * requests by it, clients check results by it.
 */
import { z } from "zod";
import { runMonitorCommand } from "../terminal/monitor.ts";
import { attach } from "./attach.ts";
import { execute } from "./execute.ts";
import { FORKS_MAXIMUM, LABEL_MAXIMUM, PARKED } from "./limits.ts";
import { base64Data, NAME_MAXIMUM } from "./protocol.ts";
import {
  forkNamed,
  forkVm,
  makeCheckpoint,
  type SavedReply,
  startFork,
  suspendVm,
} from "./save_vm.ts";
import { STOP_SECONDS, stopVm } from "./stop_vm.ts";
import {
  type AnyVerb,
  type ControlledKernel,
  type ControlledVm,
  defineVerb,
  namedVm,
} from "./verb.ts";

const vm = z.string().min(1).max(NAME_MAXIMUM);
const terminalSize = { columns: z.int().min(1).max(65535), rows: z.int().min(1).max(65535) };
const input = z.strictObject({ kind: z.literal("input"), data: base64Data });
const taken = z.object({ kind: z.literal("taken"), bytes: z.int() });

const listedVm = z.object({
  name: z.string(),
  guest: z.string().nullable(),
  state: z.string(),
  icount: z.number(),
  memoryBytes: z.number(),
  uptimeMilliseconds: z.number(),
  recording: z.string().nullable(),
});

/** A VM as `list` tells of it. */
export type ListedVm = z.infer<typeof listedVm>;

const save = z.strictObject({
  vm,
  label: z.string().max(LABEL_MAXIMUM).optional(),
  /** Most pages that are read in a second. */
  rate: z.int().min(1).optional(),
  /** What becomes of the overlays of its disks. */
  disk: z.enum(["retain", "copy-commit"]).optional(),
});
const saveProgress = z.object({
  /** Share of a pass over the pages, 0 to 1. */
  share: z.number(),
  /** Pages read in all passes. */
  pages: z.number(),
});
const saved = z.object({
  id: z.string(),
  vm: z.string(),
  label: z.string(),
  parent: z.string().nullable(),
  icount: z.number(),
  memoryPages: z.number(),
  counts: z.object({
    added: z.number(),
    zero: z.number(),
    known: z.number(),
    stored: z.number(),
    storedBytes: z.number(),
  }),
}) satisfies z.ZodType<SavedReply>;

/** The verbs. */
export const VERBS = {
  list: defineVerb({
    fields: z.strictObject({}),
    result: z.object({
      process: z.int(),
      log: z.string().nullable(),
      /** Names that VMs about to be made will have. */
      claims: z.array(z.string()),
      vms: z.array(listedVm),
    }),
    run: ({ kernel, claims, log }) => ({
      process: Deno.pid,
      log: log ?? null,
      claims: [...claims],
      vms: [...kernel.vms.map(describeVm), ...describeForks(kernel)],
    }),
  }),

  "record-start": defineVerb({
    fields: z.strictObject({
      vm,
      folder: z.string().max(4096).startsWith("/", "expected an absolute path"),
      sync: z.enum(["none", "periodic", "every"]).optional(),
      images: z.boolean().optional(),
    }),
    result: z.object({}),
    run: async ({ kernel, request: { vm, folder, sync, images } }) => {
      const options = { folder, ...sync && { sync }, ...images !== undefined && { images } };
      await namedVm(kernel, vm).startRecording(options);
      return {};
    },
  }),

  "record-stop": defineVerb({
    fields: z.strictObject({ vm }),
    result: z.object({}),
    run: async ({ kernel, request }) => {
      await namedVm(kernel, request.vm).stopRecording();
      return {};
    },
  }),

  pause: defineVerb({
    fields: z.strictObject({ vm }),
    result: z.object({ state: z.string() }),
    run: async ({ kernel, request }) => {
      const paused = namedVm(kernel, request.vm);
      await paused.pause();
      return { state: paused.state };
    },
  }),

  unpause: defineVerb({
    fields: z.strictObject({ vm }),
    result: z.object({ state: z.string() }),
    run: async ({ kernel, request }) => {
      const resumed = namedVm(kernel, request.vm);
      await resumed.resume();
      return { state: resumed.state };
    },
  }),

  stats: defineVerb({
    fields: z.strictObject({ vm }),
    result: z.object({ stats: z.record(z.string(), z.unknown()) }),
    run: async ({ kernel, request }) => ({
      stats: { ...await namedVm(kernel, request.vm).stats() },
    }),
  }),

  stop: defineVerb({
    fields: z.strictObject({
      vm,
      /** Whether the guest is not asked. */
      force: z.boolean().optional(),
      /** What the guest gets for its power-off. */
      seconds: z.number().min(0).max(86_400).optional(),
    }),
    result: z.object({ how: z.enum(["guest", "late", "switched-off"]) }),
    run: async ({ kernel, request: { vm, force = false, seconds = STOP_SECONDS } }) => {
      const fork = forkNamed(kernel, vm);
      if (fork?.parked) {
        fork.discard();
        return { how: "switched-off" };
      }
      await fork?.over;
      return { how: await stopVm(namedVm(kernel, vm), force ? undefined : seconds) };
    },
  }),

  checkpoint: defineVerb({
    fields: save,
    event: saveProgress,
    result: saved.extend({
      /** What the machine stood still; null when it was paused anyway. */
      stoodMicroseconds: z.number().nullable(),
      /** Images that its disks are in from now on; a problem says why that is not the image that they were in. */
      disks: z.array(z.object({ path: z.string(), problem: z.string().nullable() })),
    }),
    run: makeCheckpoint,
  }),

  suspend: defineVerb({
    fields: save,
    event: saveProgress,
    result: saved,
    run: suspendVm,
  }),

  fork: defineVerb({
    fields: z.strictObject({
      vm,
      count: z.int().min(1).max(FORKS_MAXIMUM).optional(),
      /** Name of the fork, or what the names of several begin with. */
      name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/, "expected a name").optional(),
    }),
    result: z.object({ names: z.array(z.string()) }),
    run: forkVm,
  }),

  start: defineVerb({
    fields: z.strictObject({ vm }),
    result: z.object({ state: z.string() }),
    run: startFork,
  }),

  monitor: defineVerb({
    fields: z.strictObject({ vm, line: z.string().max(1024) }),
    result: z.object({ text: z.string() }),
    run: async ({ kernel, request }) => {
      const watched = namedVm(kernel, request.vm);
      const quit = () => void watched.powerOff();
      return { text: await runMonitorCommand({ vm: watched, quit }, request.line) };
    },
  }),

  attach: defineVerb({
    fields: z.strictObject({ vm }),
    message: z.discriminatedUnion("kind", [
      input,
      z.strictObject({ kind: z.literal("size"), ...terminalSize }),
      z.strictObject({ kind: z.literal("detach") }),
    ]),
    event: z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("output"), data: z.string() }),
      /** So many bytes of output are missing here: the client was slow. */
      z.object({ kind: z.literal("dropped"), bytes: z.int() }),
      taken,
    ]),
    /** How the VM ended, or null when the client detached. */
    result: z.object({
      exit: z.object({ code: z.int(), why: z.string() }).nullable(),
    }),
    run: attach,
  }),

  exec: defineVerb({
    fields: z.strictObject({
      vm,
      words: z.array(z.string().max(32 * 1024)).min(1).max(256),
    }),
    message: z.discriminatedUnion("kind", [
      input,
      z.strictObject({ kind: z.literal("end") }),
      z.strictObject({ kind: z.literal("signal"), number: z.int().min(1).max(64) }),
    ]),
    event: z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("stdout"), data: z.string() }),
      z.object({ kind: z.literal("stderr"), data: z.string() }),
      taken,
    ]),
    result: z.object({ status: z.int() }),
    run: execute,
  }),
} as const satisfies Readonly<Record<string, AnyVerb>>;

/** Name of a verb. */
export type VerbName = keyof typeof VERBS;
/** A request's own fields. */
export type FieldsOf<V extends VerbName> = z.infer<(typeof VERBS)[V]["fields"]>;
/** What a verb results in. */
export type ResultOf<V extends VerbName> = z.infer<(typeof VERBS)[V]["result"]>;
/** What a verb tells meanwhile. */
export type EventOf<V extends VerbName> = (typeof VERBS)[V] extends { event?: z.ZodType<infer E> }
  ? E
  : never;
/** What a client may say meanwhile. */
export type MessageOf<V extends VerbName> = (typeof VERBS)[V] extends
  { message?: z.ZodType<infer M> } ? M : never;

/** Forks that are no VMs yet: they have no memory and no time of their own. */
function describeForks({ parkedForks, vms }: ControlledKernel): ListedVm[] {
  const running = new Set(vms.map(({ name }) => name));
  return parkedForks.filter(({ name }) => !running.has(name)).map(({ name, parked }) => ({
    name,
    guest: null,
    state: parked ? PARKED : "starting",
    icount: 0,
    memoryBytes: 0,
    uptimeMilliseconds: 0,
    recording: null,
  }));
}

function describeVm(listed: ControlledVm): ListedVm {
  const { name, guest, state, icount, memoryBytes, uptimeMilliseconds, recordingFolder } = listed;
  return {
    name,
    guest: guest ?? null,
    state,
    icount,
    memoryBytes,
    uptimeMilliseconds: Math.round(uptimeMilliseconds),
    recording: recordingFolder ?? null,
  };
}
