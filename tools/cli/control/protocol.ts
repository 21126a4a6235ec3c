/**
 * What is said on a kernel's control socket: JSON lines, requests one way and a reply to each the other
 * (issue 4, "Record"; docs/control.md).
 *
 * Invariants: a line is at most LINE_BYTES_MAXIMUM long; a request that parses is complete and typed,
 * anything else is a FormatError that says what was expected.
 */
import { z } from "zod";
import { ConfigError, FormatError, HostError } from "../../../mod.ts";

/** Version of the protocol. It changes when old clients would misunderstand a new kernel. */
export const CONTROL_VERSION = 1;
/** Most bytes of a line, without its end. */
export const LINE_BYTES_MAXIMUM = 64 * 1024;
/** Most characters of an id or a name. */
const NAME_MAXIMUM = 256;

const id = z.union([z.int(), z.string().max(NAME_MAXIMUM)]);
const vm = z.string().min(1).max(NAME_MAXIMUM);
const about = { version: z.literal(CONTROL_VERSION), id };

const request = z.discriminatedUnion("command", [
  // Asked by clients of any version, to learn which one they are talking to.
  z.strictObject({ version: z.int(), id, command: z.literal("version") }),
  z.strictObject({ ...about, command: z.literal("list") }),
  z.strictObject({
    ...about,
    command: z.literal("record-start"),
    vm,
    folder: z.string().max(4096).startsWith("/", "expected an absolute path"),
    sync: z.enum(["none", "periodic", "every"]).optional(),
    images: z.boolean().optional(),
  }),
  z.strictObject({ ...about, command: z.literal("record-stop"), vm }),
  z.strictObject({ ...about, command: z.literal("pause"), vm }),
  z.strictObject({ ...about, command: z.literal("resume"), vm }),
  z.strictObject({ ...about, command: z.literal("stats"), vm }),
]);

/** A request. */
export type ControlRequest = z.infer<typeof request>;
/** Name of a command. */
export type ControlCommand = ControlRequest["command"];
/** A request as its sender writes it, without what the client adds. */
export type ControlQuestion = {
  [C in ControlCommand]: Omit<Extract<ControlRequest, { command: C }>, "version" | "id">;
}[ControlCommand];

const listedVm = z.object({
  name: z.string(),
  state: z.string(),
  icount: z.number(),
  recording: z.string().nullable(),
});

/** TABLE of the results of commands; a newer kernel may add fields. */
const RESULTS = {
  version: z.object({ version: z.int(), program: z.string(), process: z.int() }),
  list: z.object({ process: z.int(), vms: z.array(listedVm) }),
  "record-start": z.object({}),
  "record-stop": z.object({}),
  pause: z.object({ state: z.string() }),
  resume: z.object({ state: z.string() }),
  stats: z.object({ stats: z.record(z.string(), z.unknown()) }),
} as const satisfies Readonly<Record<ControlCommand, z.ZodType>>;

/** What a command results in. */
export type ControlResult<C extends ControlCommand> = z.infer<(typeof RESULTS)[C]>;
/** A VM as `list` tells of it. */
export type ListedVm = z.infer<typeof listedVm>;

/** TABLE of the kinds of errors in replies, with what a client throws for each. */
const ERRORS = { ConfigError, FormatError, HostError } as const;

const reply = z.object({
  id: id.nullable(),
  result: z.unknown().optional(),
  error: z.object({ kind: z.string(), message: z.string() }).optional(),
});

/** A reply: what the command resulted in, or an error. */
export type ControlReply = z.infer<typeof reply>;

/** Reads a request. Throws FormatError. */
export function parseRequest(line: string): ControlRequest {
  const json = parseJson(line, "request");
  const { version, command } = (json ?? {}) as { version?: unknown; command?: unknown };
  if (command !== "version" && Number.isSafeInteger(version) && version !== CONTROL_VERSION) {
    throw new FormatError(
      `The request is of version ${version}; this kernel speaks version ${CONTROL_VERSION}`,
    );
  }
  const parsed = request.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new FormatError(`The request is wrong: ${z.prettifyError(parsed.error)}`);
}

/** The id of a request that may be wrong otherwise; null when it has none. */
export function idOf(line: string): ControlRequest["id"] | null {
  try {
    return id.parse((JSON.parse(line) as { id?: unknown } | null)?.id);
  } catch {
    return null;
  }
}

/** Reads a reply. Throws FormatError. */
export function parseReply(line: string): ControlReply {
  const parsed = reply.safeParse(parseJson(line, "reply"));
  if (parsed.success) return parsed.data;
  throw new FormatError(`The kernel's reply is wrong: ${z.prettifyError(parsed.error)}`);
}

/** The result of a command that a reply has. Throws what the reply says, or FormatError. */
export function resultOf<C extends ControlCommand>(
  command: C,
  { result, error }: ControlReply,
): ControlResult<C> {
  if (error !== undefined) {
    const known = Object.hasOwn(ERRORS, error.kind);
    throw known
      ? new ERRORS[error.kind as keyof typeof ERRORS](error.message)
      : new HostError(`The kernel could not do it: ${error.message}`);
  }
  const parsed = RESULTS[command].safeParse(result);
  if (parsed.success) return parsed.data as ControlResult<C>;
  throw new FormatError(
    `The kernel's reply to "${command}" is wrong: ${z.prettifyError(parsed.error)}`,
  );
}

/** The error of a reply. */
export function errorReply(id: ControlReply["id"], error: unknown): ControlReply {
  const known = Object.entries(ERRORS).find(([, kind]) => error instanceof kind);
  const message = error instanceof Error ? error.message : String(error);
  return { id, error: { kind: known?.[0] ?? "Error", message } };
}

/** A request or reply as a line. */
export function formatLine(content: ControlRequest | ControlReply): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(content) + "\n");
}

function parseJson(line: string, what: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`The ${what} is no JSON: ${why}`, { cause });
  }
}

/** Cuts bytes into lines, holding no more than the longest allowed one. */
export class LineReader {
  #parts: Uint8Array[] = [];
  #length = 0;

  /** Lines of at most so many bytes. */
  constructor(private readonly most: number) {}

  /** Bytes of a line that has not ended yet. */
  get waiting(): number {
    return this.#length;
  }

  /** Lines that these bytes end. Throws FormatError when one is too long or no UTF-8. */
  *push(bytes: Uint8Array): Generator<string, void, undefined> {
    let from = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, from)) {
      this.#add(bytes.subarray(from, end));
      from = end + 1;
      yield this.#take();
    }
    this.#add(bytes.subarray(from));
  }

  #add(part: Uint8Array): void {
    if (this.#length + part.length > this.most) {
      throw new FormatError(`A line is longer than ${this.most} bytes`);
    }
    if (part.length === 0) return;
    this.#parts.push(part.slice());
    this.#length += part.length;
  }

  #take(): string {
    const line = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      line.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#length = 0;
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(line);
    } catch (cause) {
      throw new FormatError("A line is no UTF-8", { cause });
    }
  }
}
