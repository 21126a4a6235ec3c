/**
 * Fuzz targets for what a debugger's side sends and gives: packets of gdb's remote serial protocol, and
 * lists of symbols.
 */
import { assert } from "../../kernel/base/assert.ts";
import { concatBytes } from "../../kernel/base/bytes.ts";
import { FormatError } from "../../kernel/base/errors.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import {
  asciiBytes,
  asciiText,
  framePacket,
  PACKET_BYTES,
  PacketReader,
} from "../../tools/gdb/packets.ts";
import { Session } from "../../tools/gdb/session.ts";
import { parseSymbolElf, parseSymbolText, writeSymbolElf } from "../../tools/symbols/mod.ts";
import { FakeDebugTarget } from "../_support/fake_debug_target.ts";
import type { FuzzTarget } from "./engine.ts";
import { damaged, edge64, orRefused } from "./support.ts";

/** Packets that make sense; each "%" becomes a number and each "*" some bytes. */
const TEMPLATES = [
  "?",
  "g",
  "G*",
  "p%",
  "P%=*",
  "m%,%",
  "M%,%:*",
  "X%,%:*",
  "Z0,%,4",
  "Z2,%,%",
  "z2,%,%",
  "Z4,80001000,8",
  "c",
  "c%",
  "C05;%",
  "s",
  "S%",
  "vCont;s:%;c",
  "vCont;*",
  "vCont?",
  "bs",
  "bc",
  "Hg%",
  "Hc%",
  "T%",
  "qSupported:*;swbreak+",
  "qXfer:features:read:target.xml:%,%",
  "qXfer:memory-map:read::%,%",
  "qXfer:threads:read::%,%",
  "qXfer:*:read:*:%,%",
  "qThreadExtraInfo,%",
  "qRcmd,*",
  "qRcmd,7365656b203%",
  "qRcmd,7768656e",
  "QStartNoAckMode",
  "D",
  "k",
  "vKill;%",
  "*",
];
/** Turns of waiting after which a session counts as hung; it takes a few for each packet. */
const TURNS = 10_000;

function drawPacket(random: Prng): Uint8Array {
  const number = () =>
    (random.below(3) === 0 ? edge64(random) : BigInt(random.pick([0, 1, 2, 32, 0x8000_0000])))
      .toString(16);
  const bytes = () =>
    Array.from(random.bytes(random.below(20)), (byte) => byte.toString(16)).join("");
  const text = random.pick(TEMPLATES).replace(/[%*]/g, (mark) => mark === "%" ? number() : bytes());
  const framed = framePacket(text);
  return random.below(4) === 0 ? damaged(random, framed) : framed;
}

function drawStream(random: Prng): Uint8Array {
  const pieces = Array.from({ length: 1 + random.below(12) }, () => {
    switch (random.below(8)) {
      case 0:
        return random.bytes(random.below(50));
      case 1:
        return asciiBytes(random.pick(["\x03", "+", "-", "$", "#", "}"]));
      default:
        return drawPacket(random);
    }
  });
  return concatBytes(pieces);
}

/** Waits for what is due at once, without the host's timers: those are what would take the time. */
async function settle(until: () => boolean): Promise<void> {
  for (let turns = 0; turns < TURNS && !until(); turns++) await Promise.resolve();
  if (!until()) throw new Error("the session hangs");
}

/** Ends whatever packet the noise began, and asks what only this asks. */
const PROBE = asciiBytes("##$qC#b4");

const rsp: FuzzTarget = {
  name: "rsp",
  async step(random) {
    const harts = 1 + random.below(3);
    const ends = random.below(2) === 0 ? { replayed: 60 } : { exitsAfter: 100 };
    const target = new FakeDebugTarget({ harts, ...ends });
    const client = new PacketReader();
    let answered = false;
    let [longest, damage] = [0, 0];
    const session = new Session(target, (bytes) => {
      longest = Math.max(longest, bytes.length);
      for (const arrival of client.push(bytes)) {
        if (arrival.kind === "damaged") damage++;
        if (arrival.kind !== "packet") continue;
        answered = asciiText(arrival.content.subarray(0, 2)) === "QC";
      }
      return Promise.resolve();
    });
    let ended = false;
    const end = session.ended.then(() => ended = true);
    const stream = drawStream(random);
    for (let at = 0; at < stream.length;) {
      const next = at + 1 + random.below(60);
      session.receive(stream.subarray(at, next));
      if (random.below(4) === 0) await Promise.resolve();
      at = next;
    }
    session.receive(PROBE);
    await settle(() => answered || ended);
    session.close();
    await settle(() => ended);
    await end;
    assert(longest <= 2 * PACKET_BYTES + 4, "a reply is within what was announced");
    assert(damage === 0, "replies are well framed");
  },
};

const LINES = [
  "ffffffff80000000 T _text",
  "ffffffff80000040 t helper\t[module]",
  "0000000000000000 A zero",
  "                 U wanted",
  "80000000 d data",
  "",
];

const symbols: FuzzTarget = {
  name: "symbols",
  step(random) {
    const lines = Array.from({ length: 1 + random.below(10) }, () => random.pick(LINES));
    const text = new TextDecoder("latin1").decode(damaged(random, asciiBytes(lines.join("\n"))));
    const table = orRefused(() => parseSymbolText(text), FormatError);
    if (table === undefined) return;
    for (const symbol of table.symbols) {
      const place = table.at(symbol.address);
      assert(place?.offset === 0, "a symbol's address belongs to a symbol that starts there");
      assert(table.extent(symbol) >= 0, "a symbol does not end before it starts");
    }
    if (table.symbols.length === 0) return;
    const file = writeSymbolElf(table);
    orRefused(() => parseSymbolElf(file), FormatError);
    orRefused(() => parseSymbolElf(damaged(random, file)), FormatError);
  },
};

/** The targets of this file. */
export const RSP_TARGETS: readonly FuzzTarget[] = [rsp, symbols];
