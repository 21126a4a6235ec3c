/**
 * The part of the web platform that the page and its worker use and Deno's types do not know. Declaring
 * the library "dom" in a file would change the types of every file of the project.
 *
 * Invariant: types and casts only; each interface is a subset of the platform's own.
 */

/** An element of the page. */
export interface PageElement {
  textContent: string | null;
  hidden: boolean;
  className: string;
  readonly classList: { toggle(name: string, on: boolean): void };
  scrollTop: number;
  readonly scrollHeight: number;
  readonly clientHeight: number;
  /** Of an input of files: what was chosen. */
  readonly files: ArrayLike<PickedFile> | null;
  append(...nodes: PageText[]): void;
  addEventListener(kind: "change", heard: () => void): void;
}

/** A text in the page. */
export interface PageText {
  data: string;
  before(...nodes: PageText[]): void;
  remove(): void;
}

/** A file that was chosen. */
export interface PickedFile extends Blob {
  readonly name: string;
  /** Its path from the chosen folder, with the folder's name; empty when it was chosen by itself. */
  readonly webkitRelativePath: string;
}

/** A request that returns when it is answered. Workers only. */
interface SynchronousRequest {
  responseType: "arraybuffer";
  readonly status: number;
  readonly response: ArrayBuffer | null;
  open(method: "GET", url: string, asynchronous: false): void;
  setRequestHeader(name: string, value: string): void;
  send(): void;
}

/** Reads a file at once. Workers only. */
interface SynchronousReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

interface WebPlatform {
  readonly document: {
    getElementById(id: string): PageElement | null;
    createTextNode(text: string): PageText;
  };
  readonly location: { readonly href: string };
  readonly crossOriginIsolated: boolean;
  readonly XMLHttpRequest: new () => SynchronousRequest;
  readonly FileReaderSync: new () => SynchronousReader;
  postMessage(message: unknown): void;
}

/** The platform: a page's, or a worker's. */
export const web: WebPlatform = globalThis as unknown as WebPlatform;
