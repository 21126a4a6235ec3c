/**
 * The worker that replays: takes the list of files, says what happens (messages.ts).
 */
import { ConfigError, FormatError, HostError } from "../../kernel/base/errors.ts";
import { formatSize } from "../../kernel/base/units.ts";
import { hostClock } from "../../kernel/host/clock.ts";
import type { RecordingManifest } from "../../kernel/replay/manifest.ts";
import { browserHost } from "./browser_host.ts";
import type { StartMessage, WorkerMessage } from "./messages.ts";
import { replayRecording } from "./replay.ts";
import { web } from "./web.ts";

const say = (message: WorkerMessage) => web.postMessage(message);

function describe({ name, created, machine }: RecordingManifest): string {
  const harts = machine.harts === 1 ? "1 hart" : `${machine.harts} harts`;
  const memory = formatSize(machine.memoryBytes);
  return `${name}: ${harts}, ${memory}, ${machine.clock} clock, recorded ${created}`;
}

/** A user's errors say what is wrong; ours say where. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const theirs = [ConfigError, FormatError, HostError].some((kind) => error instanceof kind);
  return theirs ? error.message : error.stack ?? String(error);
}

async function replay({ folder, files }: StartMessage): Promise<void> {
  try {
    const ending = await replayRecording(browserHost(files), hostClock, folder, {
      began: (manifest) => say({ kind: "began", what: describe(manifest) }),
      printed: (bytes) => say({ kind: "printed", bytes }),
      progress: (progress) => say({ kind: "progress", progress }),
    });
    say({ kind: "ended", ending });
  } catch (error) {
    say({ kind: "failed", text: describeError(error) });
  }
}

globalThis.addEventListener("message", (event) => {
  void replay((event as MessageEvent<StartMessage>).data);
}, { once: true });
