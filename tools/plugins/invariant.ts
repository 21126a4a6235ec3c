/**
 * A plugin that stops a replay where a word in memory first goes wrong: a write after which a condition does
 * not hold that held before (docs/replay.md, "Plugins").
 *
 * Invariant: each write is looked at, by instructions, devices and the page walker, whatever address it used.
 */
import { definePlugin, type Replay, type ReplayAccess } from "../../mod.ts";
import { parseCondition } from "./condition.ts";
import { ConfigOptionError, neededOption, wholeOption } from "./options.ts";

/** Instructions between two looks at whether the address is mapped yet. */
const LOOK_INSTRUCTIONS = 100_000;
const STATUS = 1;
const hex = (value: bigint) => `0x${value.toString(16)}`;

export default definePlugin({
  name: "invariant",
  options: {
    word: "address or symbol, with +offset if need be, of the word",
    when: 'what has to hold, such as "value < 10" or "value >= old"',
    bytes: "size of the word: 1, 2, 4 or 8; 8 if not given",
    signed: "yes: the word is a signed integer",
  },
  start(replay, options) {
    const place = neededOption(options, "word", "an address or a symbol");
    const when = neededOption(options, "when", 'a condition such as "value < 10"');
    const holds = parseCondition(when);
    const bytes = wholeOption(options, "bytes") ?? 8;
    if (![1, 2, 4, 8].includes(bytes)) throw new ConfigOptionError("bytes", "1, 2, 4 or 8");
    const signed = options["signed"] === "yes";
    const address = addressOf(replay, place);
    let held = false;
    const look = (old: bigint, value: bigint, access?: ReplayAccess) => {
      if (holds({ old, value }) !== 0n) {
        if (!held) replay.print(`${place}: ${when} holds at icount ${replay.icount}: ${value}\n`);
        held = true;
      } else if (held) replay.stop(wrongText(replay, place, when, { old, value, access }), STATUS);
    };
    const integer = (from: Uint8Array) => {
      const value = from.reduceRight((all, byte) => all << 8n | BigInt(byte), 0n);
      return signed ? BigInt.asIntN(8 * bytes, value) : value;
    };
    const watch = (): boolean => {
      const gpa = replay.translate(address);
      const now = replay.memory(address, bytes);
      if (gpa === undefined || now.length < bytes) return false;
      look(integer(now), integer(now));
      // By its place in RAM: other address spaces, and programs that come and go, make no difference.
      const range = { kind: "write", address: BigInt(gpa), size: bytes, physical: true } as const;
      replay.onWatch(range, (access) => {
        look(integer(access.before), integer(access.after), access);
      });
      return true;
    };
    if (!watch()) {
      const detach = replay.every(LOOK_INSTRUCTIONS, () => {
        if (watch()) detach();
      });
    }
    replay.onReset(() => held = false);
    replay.onEnd(() => {
      if (!held) replay.print(`${place}: ${when} never held\n`);
    });
  },
});

function wrongText(
  replay: Replay,
  place: string,
  when: string,
  { old, value, access }: { old: bigint; value: bigint; access: ReplayAccess | undefined },
): string {
  const by = access?.by === "instruction"
    ? access.pc === undefined ? "an instruction" : codeText(replay, access.pc)
    : access?.by === "walk"
    ? "the page walker"
    : "a device or the firmware";
  const icount = access?.icount ?? replay.icount;
  return `${place}: ${when} is wrong at icount ${icount}, hart ${access?.hart ?? replay.hart}: ` +
    `${by} wrote ${value} (${hex(BigInt.asUintN(64, value))}) over ${old} ` +
    `(${hex(BigInt.asUintN(64, old))})`;
}

function codeText({ symbols }: Replay, pc: bigint): string {
  const name = symbols.describe(pc);
  return name.startsWith("0x") ? `pc ${hex(pc)}` : `pc ${hex(pc)} in ${name}`;
}

/** The address that "NAME", "NAME+OFFSET" or "ADDRESS" tells. Throws ConfigOptionError. */
function addressOf({ symbols }: Replay, text: string): bigint {
  const [, base = "", offset = "0"] = /^([^+]+)(?:\+(0x[0-9a-fA-F]+|\d+))?$/.exec(text) ?? [];
  if (/^(0x[0-9a-fA-F]+|\d+)$/.test(base)) return BigInt(base) + BigInt(offset);
  const symbol = symbols.find(base);
  if (symbol !== undefined) return symbol.address + BigInt(offset);
  const why = symbols.given ? `no symbol is called "${base}"` : "no symbols were given";
  throw new ConfigOptionError("word", `an address or a symbol, with +offset if need be: ${why}`);
}
