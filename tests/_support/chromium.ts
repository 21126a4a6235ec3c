/**
 * A real browser for tests: Chromium without a window, driven over its remote debugging protocol
 * (https://chromedevtools.github.io/devtools-protocol), which needs nothing but a WebSocket.
 *
 * Invariant: however a test ends, the browser ends with it and its folder is removed.
 */

import { removeFolder } from "./remove_folder.ts";

/** The program; Debian's package is "chromium". */
export const CHROMIUM = "chromium";

const START_MILLISECONDS = 240_000;
/** Between two looks at a page. */
const LOOK_MILLISECONDS = 50;

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** A running browser. */
export class Chromium implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #stderr: Promise<void>;
  readonly #profile: string;
  #socket: WebSocket | undefined;

  private constructor(process: Deno.ChildProcess, profile: string, stderr: Promise<void>) {
    this.#process = process;
    this.#profile = profile;
    this.#stderr = stderr;
  }

  /** Starts it. */
  static async start(): Promise<Chromium> {
    const profile = await Deno.makeTempDir({ prefix: "chromium" });
    const process = new Deno.Command(CHROMIUM, {
      args: [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
        `--user-data-dir=${profile}`,
        "about:blank",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const address = Promise.withResolvers<string>();
    const chromium = new Chromium(process, profile, readAddress(process.stderr, address));
    const timer = setTimeout(
      () => address.reject(new Error("Chromium did not start in time")),
      START_MILLISECONDS,
    );
    try {
      const socket = chromium.#socket = new WebSocket(await address.promise);
      await new Promise<void>((resolve, reject) => {
        socket.onopen = () => resolve();
        socket.onerror = () => reject(new Error("Chromium's debugging port cannot be reached"));
      });
      return chromium;
    } catch (error) {
      await chromium[Symbol.asyncDispose]();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Opens a page. */
  open(url: string): Promise<Page> {
    return Page.open(this.#socket!, url);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const socket = this.#socket;
    if (socket !== undefined && socket.readyState !== WebSocket.CLOSED) {
      const closed = new Promise((resolve) => socket.onclose = resolve);
      socket.close();
      await closed;
    }
    try {
      this.#process.kill("SIGTERM");
    } catch {
      // It has ended already.
    }
    await Promise.all([this.#process.status, this.#stderr]);
    await removeFolder(this.#profile);
  }
}

/** Finds the debugging address in what the browser prints, and reads that to its end. */
async function readAddress(
  stderr: ReadableStream<Uint8Array<ArrayBuffer>>,
  address: PromiseWithResolvers<string>,
): Promise<void> {
  let text = "";
  for await (const part of stderr.pipeThrough(new TextDecoderStream())) {
    text += part;
    const found = /DevTools listening on (ws:\S+)/.exec(text);
    if (found) address.resolve(found[1]!);
  }
  address.reject(new Error(`Chromium ended: ${text}`));
}

/** A page in the browser. */
export class Page {
  /** What the page reported that no script of it caught. */
  readonly errors: string[] = [];
  readonly #socket: WebSocket;
  readonly #answers = new Map<number, (answer: Answer) => void>();
  #session: string | undefined;
  #next = 1;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#hear(JSON.parse(data)));
  }

  /** Opens a page over a browser's socket. */
  static async open(socket: WebSocket, url: string): Promise<Page> {
    const page = new Page(socket);
    const { targetId } = await page.#ask("Target.createTarget", { url: "about:blank" });
    const attach = { targetId, flatten: true };
    const { sessionId } = await page.#ask("Target.attachToTarget", attach);
    page.#session = sessionId as string;
    await page.#ask("Runtime.enable");
    await page.#ask("Page.navigate", { url });
    return page;
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = await this.#ask("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return (result as { readonly value?: unknown }).value;
  }

  /** Text of the element that a selector finds; undefined when there is none. */
  async text(selector: string): Promise<string | undefined> {
    const found = `document.querySelector(${JSON.stringify(selector)})?.textContent`;
    return await this.evaluate(found) as string | undefined;
  }

  /** Resolves when an element is there; rejects when that takes too long. */
  async waitFor(selector: string, seconds: number): Promise<void> {
    const end = Date.now() + seconds * 1000;
    while (await this.text(selector) === undefined) {
      if (Date.now() > end) {
        const body = await this.text("body");
        throw new Error(`no "${selector}" in ${seconds} s: ${body}\n${this.errors.join("\n")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MILLISECONDS));
    }
  }

  /** Puts files of this computer into a file input. */
  async choose(selector: string, files: readonly string[]): Promise<void> {
    const { root } = await this.#ask("DOM.getDocument");
    const { nodeId: document } = root as { readonly nodeId: number };
    const { nodeId } = await this.#ask("DOM.querySelector", { nodeId: document, selector });
    await this.#ask("DOM.setFileInputFiles", { nodeId, files });
  }

  #hear({ id, method, params, result, error }: Answer): void {
    if (id !== undefined) this.#answers.get(id)?.({ result: result ?? {}, ...error && { error } });
    else if (method === "Runtime.exceptionThrown") this.errors.push(JSON.stringify(params));
  }

  #ask(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    return new Promise((resolve, reject) => {
      const lost = () => reject(new Error(`Chromium ended during ${method}`));
      this.#socket.addEventListener("close", lost, { once: true });
      this.#answers.set(id, ({ result, error }) => {
        this.#socket.removeEventListener("close", lost);
        this.#answers.delete(id);
        if (error) reject(new Error(`${method}: ${error.message}`));
        else resolve(result!);
      });
      this.#socket.send(JSON.stringify({ id, method, params, ...session }));
    });
  }
}
