/**
 * `deno task browser DIR [--port N]`: serves the page that replays recordings, with the recording in DIR, on
 * this computer only.
 *
 * Invariants: only files in the lists of build.ts and recording_files.ts are served, to pages of this
 * server only; nothing is written.
 */
import { Command, InvalidArgumentError } from "commander";
import { describeError } from "../cli/errors.ts";
import { HostError } from "../../mod.ts";
import { buildPage, type PageFile } from "./build.ts";
import { fileList, recordingFiles, type ServedFile } from "./recording_files.ts";

/** Most bytes of an answer to a request for a part of a file. */
const PART_BYTES_MAXIMUM = 16 * 1024 * 1024;

/** The first two let the page have shared memory; the others keep what is served in the page. */
const HEADERS: Readonly<Record<string, string>> = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
  "content-security-policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; " +
    "worker-src 'self'; connect-src 'self'; style-src 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};

const HERE = new Set(["localhost", "127.0.0.1"]);

/** A page that is served. */
export interface ServedPage extends AsyncDisposable {
  readonly url: string;
}

/** Serves the page with a recording. Rejects with HostError when the folder or the port cannot be had. */
export async function serveRecording(folder: string, port = 0): Promise<ServedPage> {
  const place = await realFolder(folder);
  const page = await buildPage();
  const handler = (request: Request) => answer(request, place, page);
  try {
    const options = { hostname: "127.0.0.1", port, onListen: () => {} };
    const server = Deno.serve(options, handler);
    const url = `http://127.0.0.1:${server.addr.port}/`;
    return { url, [Symbol.asyncDispose]: () => server.shutdown() };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HostError(`Cannot listen on port ${port}: ${why}`, { cause });
  }
}

async function realFolder(folder: string): Promise<string> {
  try {
    const place = await Deno.realPath(folder);
    await Deno.stat(`${place}/manifest.json`);
    return place;
  } catch (cause) {
    throw new HostError(`"${folder}" is no recording: it has no manifest.json`, { cause });
  }
}

/** Answers one request. */
async function answer(
  request: Request,
  folder: string,
  page: ReadonlyMap<string, PageFile>,
): Promise<Response> {
  const { hostname, pathname } = new URL(request.url);
  // A name that somebody else gave to this address makes their page one of this server's.
  if (!HERE.has(hostname)) return refuse(403);
  if (request.method !== "GET") return refuse(405);
  const name = pathname === "/" ? "index.html" : pathname.slice(1);
  const file = page.get(name);
  if (file !== undefined) return respond(file.bytes, { "content-type": file.type });
  const files = await recordingFiles(folder);
  if (name === "recording.json") {
    const json = JSON.stringify(fileList(folder, files));
    return respond(json, { "content-type": "application/json" });
  }
  const served = files.find(({ url }) => url === name);
  return served === undefined ? refuse(404) : await respondFile(served, request);
}

function respond(
  body: BodyInit,
  headers: Readonly<Record<string, string>>,
  status = 200,
): Response {
  return new Response(body, { status, headers: { ...HEADERS, ...headers } });
}

function refuse(status: number): Response {
  return respond(`${status}\n`, { "content-type": "text/plain" }, status);
}

/** A file, or a part of it: the first bytes of what is asked for. */
async function respondFile({ path }: ServedFile, request: Request): Promise<Response> {
  const file = await Deno.open(path);
  const { size } = await file.stat();
  const type = { "content-type": "application/octet-stream", "accept-ranges": "bytes" };
  const range = request.headers.get("range");
  if (range === null) return respond(file.readable, { ...type, "content-length": `${size}` });
  using _ = file;
  const [, first = "", last = ""] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? [];
  const start = first === "" ? size : Number(first);
  if (start >= size) return refuse(416);
  const end = Math.min(size, start + PART_BYTES_MAXIMUM, last === "" ? size : Number(last) + 1);
  if (end <= start) return refuse(416);
  const bytes = new Uint8Array(end - start);
  await file.seek(start, Deno.SeekMode.Start);
  for (let at = 0; at < bytes.length;) {
    const count = await file.read(bytes.subarray(at));
    if (count === null) return refuse(416);
    at += count;
  }
  return respond(bytes, { ...type, "content-range": `bytes ${start}-${end - 1}/${size}` }, 206);
}

function portNumber(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65535) return port;
  throw new InvalidArgumentError("Expected a port from 0 to 65535.");
}

async function main(): Promise<void> {
  await new Command("browser")
    .description("serve the page that replays recordings")
    .argument("<folder>", "folder of the recording")
    .option("--port <number>", "port to listen on; 0 is any that is free", portNumber, 8000)
    .action(async (folder: string, { port }: { port: number }) => {
      const { url } = await serveRecording(folder, port);
      console.log(`${url} replays ${folder}; Ctrl-C ends`);
    })
    .parseAsync(Deno.args, { from: "user" });
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    const { status, text } = describeError(error);
    console.error(text.trimEnd());
    Deno.exit(status);
  }
}
