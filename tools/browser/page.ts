/**
 * The page: shows the replay that its worker makes of the recording that the page came with, or of one
 * that the user chooses.
 *
 * Invariants: at most one worker runs; what a recording holds gets into the page as text only.
 */
import { ConsoleText } from "./console_text.ts";
import type { FileList, FileSource, StartMessage, WorkerMessage } from "./messages.ts";
import type { ReplayEnding, ReplayProgress } from "./replay.ts";
import { type PageElement, type PageText, type PickedFile, web } from "./web.ts";

/** Finished lines that stay in the page, at least. */
const LINES_KEPT = 10_000;

function element(id: string): PageElement {
  const found = web.document.getElementById(id);
  if (found === null) throw new Error(`the page has no element "${id}"`);
  return found;
}

const page = {
  state: element("state"),
  what: element("what"),
  progress: element("progress"),
  console: element("console"),
  ending: element("ending"),
  digest: element("digest"),
  epochs: element("epochs"),
  folder: element("folder"),
  images: element("images"),
};

/** The terminal: finished lines as texts of the page, and the line under way behind them. */
class ConsoleView {
  readonly #text = new ConsoleText();
  readonly #line: PageText = web.document.createTextNode("");
  readonly #finished: { readonly node: PageText; readonly lines: number }[] = [];
  #lines = 0;

  constructor(private readonly pane: PageElement) {
    pane.textContent = "";
    pane.append(this.#line);
  }

  push(bytes: Uint8Array): void {
    const { pane } = this;
    const follows = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 8;
    const finished = this.#text.push(bytes);
    if (finished !== "") this.#finish(finished);
    this.#line.data = this.#text.line;
    if (follows) pane.scrollTop = pane.scrollHeight;
  }

  #finish(text: string): void {
    const node = web.document.createTextNode(text);
    this.#line.before(node);
    const lines = text.split("\n").length - 1;
    this.#finished.push({ node, lines });
    this.#lines += lines;
    while (this.#lines - this.#finished[0]!.lines >= LINES_KEPT) {
      const oldest = this.#finished.shift()!;
      oldest.node.remove();
      this.#lines -= oldest.lines;
    }
  }
}

let worker: Worker | undefined;

function start(list: FileList): void {
  worker?.terminate();
  page.what.textContent = list.folder;
  for (const place of [page.progress, page.ending, page.digest, page.epochs]) {
    place.textContent = "";
  }
  if (!web.crossOriginIsolated) {
    return fail(
      "This page was served without the headers that shared memory needs: COOP and COEP.",
    );
  }
  enter("running");
  const view = new ConsoleView(page.console);
  const mine = worker = new Worker(new URL("replay_worker.js", web.location.href), {
    type: "module",
  });
  mine.addEventListener("message", (event: MessageEvent<WorkerMessage>) => {
    hear(event.data, view);
  });
  mine.addEventListener("error", (event) => fail(event.message || "The worker cannot be started."));
  const message: StartMessage = { kind: "start", ...list };
  mine.postMessage(message);
}

function hear(message: WorkerMessage, view: ConsoleView): void {
  switch (message.kind) {
    case "began":
      page.what.textContent = message.what;
      break;
    case "printed":
      view.push(message.bytes);
      break;
    case "progress":
      page.progress.textContent = describeProgress(message.progress);
      break;
    case "ended":
      end(message.ending);
      break;
    case "failed":
      fail(message.text);
  }
}

function end(ending: ReplayEnding): void {
  page.progress.textContent = describeProgress(ending);
  page.ending.textContent = ending.text;
  page.digest.textContent = ending.digest;
  page.epochs.textContent = `${ending.epochs}`;
  enter(ending.kind);
}

function fail(text: string): void {
  page.ending.textContent = text;
  enter("failed");
}

/** The state is shown, and is what scripts wait for. */
function enter(state: "idle" | "running" | "failed" | ReplayEnding["kind"]): void {
  page.state.textContent = state;
  page.state.className = state;
}

function describeProgress({ icount, executed, ticks, milliseconds }: ReplayProgress): string {
  const seconds = (ticks / 10_000_000).toFixed(2);
  const mips = milliseconds > 0 ? (executed / milliseconds / 1000).toFixed(0) : "0";
  return `${icount} instructions, ${seconds} s of guest time, ${mips} MIPS`;
}

/** Files that the user chose: a recording's folder, and images that lie elsewhere. */
function chosen(): void {
  const files = Array.from(page.folder.files ?? []);
  if (files.length === 0) return;
  const source = (file: PickedFile, path: string, anywhere: boolean): FileSource => ({
    path,
    bytes: file.size,
    from: file,
    anywhere,
  });
  const images = Array.from(page.images.files ?? []);
  start({
    folder: files[0]!.webkitRelativePath.split("/")[0]!,
    files: [
      ...files.map((file) => source(file, file.webkitRelativePath, false)),
      ...images.map((file) => source(file, file.name, true)),
    ],
  });
}

/** The recording that the page came with, if it came with one. */
async function served(): Promise<FileList | undefined> {
  const answer = await fetch("recording.json");
  return answer.ok ? await answer.json() as FileList : undefined;
}

page.folder.addEventListener("change", chosen);
page.images.addEventListener("change", chosen);
enter("idle");
const list = await served();
if (list !== undefined) start(list);
