/**
 * A recording as Chrome's trace event JSON, which Perfetto reads: turns of harts and waiting, traps, disk
 * requests, consoles, frames, and, where asked for, system calls of a Linux guest (docs/replay.md). It is
 * replayed for that, with the plugin tools/plugins/chrome_trace.ts.
 *
 * Invariant: events are sorted by time, and times are the guest's own, in microseconds since the recording
 * began.
 */
import { ConfigError, FormatError, VMKernel } from "../../mod.ts";
import { PROCESSES, TRACKS } from "../plugins/chrome_trace.ts";

/** How to export. */
export interface ChromeTraceOptions {
  /** Whether system calls of a Linux guest are events too. */
  readonly syscalls?: boolean;
}

interface Line {
  readonly ts: number;
  readonly text: string;
}

/** Writes the trace. Rejects with FormatError where the replay is not the recording. */
export async function exportChromeTrace(
  { folder }: { readonly folder: string },
  write: (bytes: Uint8Array) => void,
  { syscalls = false }: ChromeTraceOptions = {},
): Promise<void> {
  // Not before it is wanted: it takes long to load.
  const { bundlePlugins } = await import("./bundle_plugin.ts");
  const file = new URL("../plugins/chrome_trace.ts", import.meta.url).pathname;
  const plugins = await bundlePlugins([{ file, options: syscalls ? { syscalls: "yes" } : {} }]);
  await using kernel = await VMKernel.start();
  const vm = await kernel.replay(folder, { plugins, replayOnly: false });
  // Nobody looks at what the guest printed.
  void vm.console.readable.cancel();
  const lines = await readLines(vm.pluginOutput!);
  const { replay } = await vm.waitForExit();
  if (replay?.kind === "diverged") {
    throw new FormatError(`the replay differs from the recording: ${replay.what}`);
  }
  if (replay?.kind === "plugin failed") throw new ConfigError(replay.what);
  lines.sort((a, b) => a.ts - b.ts);
  const encoder = new TextEncoder();
  const head = metadata(vm.name, vm.harts, lines).map((event) => JSON.stringify(event));
  write(encoder.encode('{"displayTimeUnit":"ns","traceEvents":[\n' + head.join(",\n")));
  for (const { text } of lines) write(encoder.encode(`,\n${text}`));
  write(encoder.encode("\n]}\n"));
}

async function readLines(from: ReadableStream<Uint8Array>): Promise<Line[]> {
  const lines: Line[] = [];
  let rest = "";
  const decoded = from.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
  for await (const part of decoded) {
    const pieces = (rest + part).split("\n");
    rest = pieces.pop()!;
    for (const text of pieces) lines.push({ text, ts: (JSON.parse(text) as Line).ts });
  }
  return lines;
}

/** Names of processes and tracks. */
function metadata(name: string, harts: number, lines: readonly Line[]): object[] {
  const named = (what: string, pid: number, tid: number, called: string) => ({
    name: `${what}_name`,
    ph: "M",
    ts: 0,
    pid,
    tid,
    args: { name: called },
  });
  const { vm, tasks } = PROCESSES;
  const tracks = [
    ...Array.from({ length: harts }, (_, hart) => [hart, `hart ${hart}`] as const),
    ...Object.entries(TRACKS).map(([called, tid]) => [tid, called] as const),
  ];
  const processes = new Map<number, string>();
  for (const { text } of lines) {
    if (!text.includes('"cat":"syscall"')) continue;
    const { tid, args } = JSON.parse(text) as { tid: number; args: { process: string } };
    processes.set(tid, args.process);
  }
  return [
    named("process", vm, 0, `VM ${name}`),
    ...tracks.map(([tid, called]) => named("thread", vm, tid, called)),
    ...processes.size === 0 ? [] : [named("process", tasks, 0, "Linux tasks")],
    ...[...processes].map(([tid, called]) => named("thread", tasks, tid, called)),
  ];
}
