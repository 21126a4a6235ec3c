/**
 * Fuzz target for the built-in firmware: supervisor calls with any arguments. A call that is refused has
 * changed nothing, and no call names a hart or memory that does not exist (RISC-V SBI 2.0).
 */
import { assert } from "../../kernel/base/assert.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import {
  HART_STATE,
  SBI_EXTENSION,
  sbiCall,
  type SbiHost,
  type SbiResult,
} from "../../kernel/machine/sbi.ts";
import type { FuzzTarget } from "./engine.ts";
import { SmallMemory } from "../_support/device_surroundings.ts";
import { edge64 } from "./support.ts";

const BASE = 0x8000_0000;

interface Watched {
  readonly host: SbiHost;
  /** What the firmware did, in order. */
  readonly effects: string[];
}

/** A machine of a few harts that writes down what is done to it. */
function watched(random: Prng, callArguments: readonly bigint[]): Watched {
  const effects: string[] = [];
  const harts = 1 + random.below(8);
  const memory = new SmallMemory(8192);
  const states = Array.from({ length: harts }, () => random.pick(Object.values(HART_STATE)));
  const exists = (hart: number) => assert(states[hart] !== undefined, `there is no hart ${hart}`);
  const on = (what: string) => (hart: number) => {
    exists(hart);
    effects.push(what);
  };
  const host: SbiHost = {
    harts,
    hart: random.below(harts),
    argument: (index) => callArguments[index]!,
    setTimer: on("timer"),
    setSoftwareInterrupt: on("interrupt"),
    startHart: on("start"),
    stopHart: on("stop"),
    suspendHart: on("suspend"),
    hartState(hart) {
      exists(hart);
      return states[hart]!;
    },
    read: (gpa, into) => memory.read(gpa, into),
    write(gpa, from) {
      effects.push("write");
      return memory.write(gpa, from);
    },
    consoleWrite: () => void effects.push("print"),
    consoleRead(length) {
      assert(length >= 0 && length <= 4096, `asks for ${length} bytes of input`);
      effects.push("input");
      return random.bytes(random.below(length + 1));
    },
    power: () => void effects.push("power"),
  };
  return { host, effects };
}

function drawArguments(random: Prng): bigint[] {
  const value = () =>
    random.pick([
      edge64(random),
      BigInt(random.below(10)),
      BigInt(BASE + random.below(9000)),
      (1n << 64n) - 1n,
    ]);
  const known = [...Object.values(SBI_EXTENSION), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const extension = random.below(16) === 0 ? edge64(random) : BigInt(random.pick(known));
  const call = random.below(16) === 0 ? edge64(random) : BigInt(random.below(8));
  return [...Array.from({ length: 6 }, value), call, extension];
}

const target: FuzzTarget = {
  name: "sbi",
  step(random) {
    const drawn = drawArguments(random);
    const { host, effects } = watched(random, drawn);
    const result: SbiResult = sbiCall(host);
    assert(Number.isInteger(result.error) && result.error >= -8, `error ${result.error}`);
    assert(result.value >= 0n && result.value < 1n << 64n, "a value fits its register");
    const refused = result.error < 0 && result.legacy !== true;
    assert(!refused || effects.length === 0, `a refused call did ${effects}`);
  },
};

export default target;
