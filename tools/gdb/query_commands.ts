/**
 * Packets that ask about the target: what it supports, its threads and its documents (GDB manual,
 * "General Query Packets").
 */
import { type Connection, MALFORMED, type Reply, UNKNOWN } from "./connection.ts";
import { runMonitor } from "./monitor.ts";
import { hexText, parseCount, parseHexBytes } from "./numbers.ts";
import { asciiBytes, PACKET_BYTES } from "./packets.ts";
import { parseThread } from "./resume_commands.ts";
import { memoryMapDocument, targetDescription, threadsDocument } from "./target_xml.ts";

const FEATURES = [
  `PacketSize=${PACKET_BYTES.toString(16)}`,
  "QStartNoAckMode+",
  "qXfer:features:read+",
  "qXfer:memory-map:read+",
  "qXfer:threads:read+",
  "vContSupported+",
  "swbreak+",
  "hwbreak+",
];
const REVERSE_FEATURES = ["ReverseStep+", "ReverseContinue+"];

function supported(connection: Connection, text: string): Reply {
  const named = text.split(";").filter((feature) => feature.endsWith("+"));
  connection.announced = new Set(named.map((feature) => feature.slice(0, -1)));
  return [...FEATURES, ...(connection.target.replaying ? REVERSE_FEATURES : [])].join(";");
}

const MODES: Readonly<Record<number, string>> = { 0: "user", 1: "supervisor", 3: "machine" };

/** What is shown of a thread. */
async function threadNote({ target }: Connection, hart: number): Promise<string> {
  const [privilege] = await target.registers(hart, [{ file: "privilege" }]);
  return `${MODES[Number(privilege)] ?? "unknown"} mode`;
}

async function makeDocument(connection: Connection, name: string): Promise<string | undefined> {
  switch (name) {
    case "features:read:target.xml":
      return targetDescription();
    case "memory-map:read:":
      return memoryMapDocument(await connection.target.memoryMap());
    case "threads:read:": {
      const harts = Array.from({ length: connection.target.harts }, (_, hart) => hart);
      return threadsDocument(await Promise.all(harts.map((hart) => threadNote(connection, hart))));
    }
    default:
      return undefined;
  }
}

/** "qXfer:object:read:annex:offset,length". A document is made when its first piece is asked for. */
async function transfer(connection: Connection, text: string): Promise<Reply> {
  const match = /^([^:]+:read:[^:]*):([0-9a-f]+),([0-9a-f]+)$/i.exec(text);
  const [offset, asked] = [parseCount(match?.[2]), parseCount(match?.[3])];
  if (match === null || offset === undefined || asked === undefined) return "E00";
  const name = match[1]!;
  const { documents } = connection;
  if (offset === 0 || !documents.has(name)) {
    const made = await makeDocument(connection, name);
    if (made === undefined) return "E00";
    documents.set(name, asciiBytes(made));
  }
  const document = documents.get(name)!;
  // Every byte may need an escape.
  const piece = document.subarray(offset, offset + Math.min(asked, PACKET_BYTES / 2 - 1));
  const last = offset + piece.length >= document.length;
  const reply = new Uint8Array(1 + piece.length);
  reply[0] = (last ? "l" : "m").charCodeAt(0);
  reply.set(piece, 1);
  return reply;
}

async function monitor(connection: Connection, hex: string): Promise<Reply> {
  const bytes = parseHexBytes(hex);
  if (bytes === undefined) return MALFORMED;
  await connection.print(await runMonitor(connection, new TextDecoder().decode(bytes)));
  return "OK";
}

async function threadExtraInfo(connection: Connection, text: string): Promise<Reply> {
  const hart = parseThread(text, connection.target.harts);
  if (typeof hart !== "number") return MALFORMED;
  return hexText(await threadNote(connection, hart));
}

function threadList({ target }: Connection): Reply {
  return `m${Array.from({ length: target.harts }, (_, i) => (i + 1).toString(16)).join(",")}`;
}

type Query = (connection: Connection, text: string) => Promise<Reply> | Reply;

/** Queries by their name; what follows it and one separator is the text. */
const QUERIES: Readonly<Record<string, Query>> = {
  qSupported: supported,
  qXfer: transfer,
  qRcmd: monitor,
  qThreadExtraInfo: threadExtraInfo,
  qfThreadInfo: threadList,
  qsThreadInfo: () => "l",
  qC: ({ hart }) => `QC${(hart + 1).toString(16)}`,
  qAttached: () => "1",
  qSymbol: () => "OK",
  qOffsets: () => "Text=0;Data=0;Bss=0",
};

/** "q…". */
export async function query(connection: Connection, text: string): Promise<Reply> {
  const name = /^\w+/.exec(text)?.[0] ?? "";
  if (!Object.hasOwn(QUERIES, name)) return UNKNOWN;
  return await QUERIES[name]!(connection, text.slice(name.length + 1));
}

/** "H": the thread that "g" packets or "c" packets are about. */
export function chooseThread(connection: Connection, text: string): Reply {
  const hart = parseThread(text.slice(1), connection.target.harts);
  if (hart === undefined) return MALFORMED;
  if (text.startsWith("g")) {
    if (typeof hart === "number") connection.hart = hart;
    return "OK";
  }
  if (!text.startsWith("c")) return MALFORMED;
  connection.stepHart = typeof hart === "number" ? hart : undefined;
  return "OK";
}

/** "T": whether a thread lives. */
export function threadAlive({ target }: Connection, text: string): Reply {
  return typeof parseThread(text, target.harts) === "number" ? "OK" : MALFORMED;
}
