/**
 * What is said on a kernel's control socket: JSON lines, requests one way; events and a reply to each
 * request the other (issue 4, "Record"; issue 5, section 6; docs/control.md). What can be asked is the
 * TABLE in verbs.ts.
 *
 * Invariants: a line of a client is at most LINE_BYTES_MAXIMUM long; a line that parses is complete and
 * typed, anything else is a FormatError that says what was expected.
 */
import { z } from "zod";
import { ConfigError, FormatError, HostError } from "../../../mod.ts";

/** Version of the protocol. It changes when old clients would misunderstand a new kernel. */
export const CONTROL_VERSION = 2;
/** Most bytes of a client's line, without its end. */
export const LINE_BYTES_MAXIMUM = 64 * 1024;
/** Most bytes of data in one line, before they are base64. */
export const DATA_BYTES_MAXIMUM = 32 * 1024;
/** Most bytes of input of a stream that may be under way: sent, and not yet told to be taken. */
export const INPUT_WINDOW = 64 * 1024;
/** Most characters of an id or a name. */
export const NAME_MAXIMUM = 256;

const id = z.union([z.int(), z.string().max(NAME_MAXIMUM)]);

/** What a client chose to tell a request by. */
export type ControlId = z.infer<typeof id>;

/** A line of a client: a request, or more about a request that goes on. */
export type ClientLine =
  | {
    readonly id: ControlId;
    readonly command: string;
    /** The command's own fields, as they came. */
    readonly fields: Readonly<Record<string, unknown>>;
  }
  | { readonly id: ControlId; readonly message: unknown };

const requestLine = z.looseObject({
  version: z.literal(CONTROL_VERSION),
  id,
  command: z.string().max(NAME_MAXIMUM),
});
const messageLine = z.strictObject({ id, message: z.unknown() });

/** Reads a line of a client. Throws FormatError. */
export function parseClientLine(line: string): ClientLine {
  const json = parseJson(line, "request");
  if (typeof json === "object" && json !== null && "message" in json && !("command" in json)) {
    return parsed(messageLine, json, "The message is wrong");
  }
  const { version: asked } = (json ?? {}) as { version?: unknown };
  if (Number.isSafeInteger(asked) && asked !== CONTROL_VERSION) {
    throw new FormatError(
      `The request is of version ${asked}; this kernel speaks version ${CONTROL_VERSION}`,
    );
  }
  const { version: _, ...request } = parsed(requestLine, json, "The request is wrong");
  const { id: chosen, command, ...fields } = request;
  return { id: chosen, command, fields };
}

/** The id of a line that may be wrong otherwise; null when it has none. */
export function idOf(line: string): ControlId | null {
  try {
    return id.parse((JSON.parse(line) as { id?: unknown } | null)?.id);
  } catch {
    return null;
  }
}

const helloLine = z.object({
  hello: z.object({ version: z.int(), program: z.string(), process: z.int() }),
});
const eventLine = z.object({ id, event: z.unknown() });
const replyLine = z.object({
  id: id.nullable(),
  result: z.unknown().optional(),
  error: z.object({ name: z.string(), message: z.string() }).optional(),
});

/** What a kernel says first. */
export type ControlHello = z.infer<typeof helloLine>["hello"];
/** The end of a request: what it resulted in, or an error. */
export type ControlReply = z.infer<typeof replyLine>;
/** A line of a kernel. */
export type KernelLine =
  | { readonly hello: ControlHello }
  | { readonly id: ControlId; readonly event: unknown }
  | ControlReply;

/** Reads a line of a kernel. Throws FormatError. */
export function parseKernelLine(line: string): KernelLine {
  const json = parseJson(line, "reply");
  const has = (name: string) => typeof json === "object" && json !== null && name in json;
  const wrong = "The kernel's reply is wrong";
  if (has("hello")) return parsed(helloLine, json, wrong);
  return has("event") ? parsed(eventLine, json, wrong) : parsed(replyLine, json, wrong);
}

/** TABLE of the names of errors in replies, with what a client throws for each. */
const ERRORS = { ConfigError, FormatError, HostError } as const;

/** The error of a reply. */
export function errorReply(id: ControlReply["id"], error: unknown): ControlReply {
  const known = Object.entries(ERRORS).find(([, kind]) => error instanceof kind);
  const message = error instanceof Error ? error.message : String(error);
  return { id, error: { name: known?.[0] ?? "Error", message } };
}

/** What a client throws for the error of a reply. */
export function errorOf({ name, message }: NonNullable<ControlReply["error"]>): Error {
  if (Object.hasOwn(ERRORS, name)) return new ERRORS[name as keyof typeof ERRORS](message);
  return new HostError(`The kernel could not do it: ${message}`);
}

/** Anything as a line. */
export function formatLine(content: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(content) + "\n");
}

/** Checks a value against a schema. Throws FormatError that begins with `wrong`. */
export function parsed<T>(schema: z.ZodType<T>, value: unknown, wrong: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new FormatError(`${wrong}: ${z.prettifyError(result.error)}`);
}

/** Bytes in a line: base64 of at most DATA_BYTES_MAXIMUM bytes. */
export const base64Data = z.base64().max(Math.ceil(DATA_BYTES_MAXIMUM / 3) * 4);

/** Bytes of base64 that `base64Data` accepted. Throws FormatError. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(base64);
  } catch (cause) {
    throw new FormatError("Data is no base64", { cause });
  }
}

/** Pieces of bytes that fit into a line each, as base64. */
export function* base64Pieces(bytes: Uint8Array): Generator<string, void, undefined> {
  for (let at = 0; at < bytes.length; at += DATA_BYTES_MAXIMUM) {
    yield bytes.subarray(at, at + DATA_BYTES_MAXIMUM).toBase64();
  }
}

function parseJson(line: string, what: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`The ${what} is no JSON: ${why}`, { cause });
  }
}
