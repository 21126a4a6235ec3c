/** Claims of the built-in firmware about arguments that are wrong (RISC-V SBI 2.0); see tests/boot too. */
import { assertEquals } from "@std/assert";
import {
  HART_STATE,
  SBI_ERROR,
  SBI_EXTENSION,
  sbiCall,
  type SbiHost,
} from "../../../kernel/machine/sbi.ts";

const RAM = 0x8000_0000;
const RAM_BYTES = 4096;

/**
 * Calls function `id` of an extension of a machine with two harts, the second stopped; gives the error and
 * what was done.
 */
function call(extension: number, id: number, ...values: (number | bigint)[]): [number, string[]] {
  const done: string[] = [];
  const note = (what: string) => () => void done.push(what);
  const inside = (gpa: number, length: number) => gpa >= RAM && gpa + length <= RAM + RAM_BYTES;
  const registers = new Map<number, number | bigint>([...values.entries(), [6, id], [
    7,
    extension,
  ]]);
  const host: SbiHost = {
    harts: 2,
    hart: 0,
    argument: (index) => BigInt(registers.get(index) ?? 0),
    setTimer: note("timer"),
    setSoftwareInterrupt: (hart) => void done.push(`interrupt ${hart}`),
    hartState: (hart) => hart === 0 ? HART_STATE.started : HART_STATE.stopped,
    startHart: note("start"),
    stopHart: note("stop"),
    suspendHart: note("suspend"),
    read: (gpa, into) => inside(gpa, into.length),
    write: (gpa, from) => inside(gpa, from.length),
    consoleWrite: (bytes) => void done.push(`print ${bytes.length}`),
    consoleRead: () => new Uint8Array(0),
    power: (kind, code) => void done.push(`${kind} ${code}`),
  };
  return [sbiCall(host).error, done];
}

Deno.test("hart_start refuses an address without memory, beyond 2^53 or odd", () => {
  const { hsm } = SBI_EXTENSION;
  for (const address of [0, RAM - 2, RAM + RAM_BYTES, RAM + 1, 1n << 53n, (1n << 64n) - 2n]) {
    assertEquals(call(hsm, 0, 1, address, 0), [SBI_ERROR.invalidAddress, []], `${address}`);
  }
  assertEquals(call(hsm, 0, 1, RAM + RAM_BYTES - 2, 0), [SBI_ERROR.success, ["start"]]);
  assertEquals(call(hsm, 0, 0, RAM, 0), [SBI_ERROR.alreadyAvailable, []]);
  assertEquals(call(hsm, 0, 2, RAM, 0), [SBI_ERROR.invalidParameter, []]);
});

Deno.test("hart_suspend refuses kinds that it does not know and addresses without memory", () => {
  const { hsm } = SBI_EXTENSION;
  assertEquals(call(hsm, 3, 1), [SBI_ERROR.invalidParameter, []]);
  assertEquals(call(hsm, 3, 0x8000_0000, RAM + 1), [SBI_ERROR.invalidAddress, []]);
  assertEquals(call(hsm, 3, 0x8000_0000, RAM), [SBI_ERROR.success, ["suspend"]]);
  assertEquals(call(hsm, 3, 0), [SBI_ERROR.success, ["suspend"]]);
});

Deno.test("a hart mask that names a hart that is not there does nothing", () => {
  const { ipi, rfence } = SBI_EXTENSION;
  for (const [mask, base] of [[4, 0], [2, 1], [1, 2], [1, 64], [1, (1n << 64n) - 2n]] as const) {
    assertEquals(call(ipi, 0, mask, base), [SBI_ERROR.invalidParameter, []]);
    assertEquals(call(rfence, 1, mask, base), [SBI_ERROR.invalidParameter, []]);
  }
  assertEquals(call(ipi, 0, 1, 1), [SBI_ERROR.success, ["interrupt 1"]]);
  const all = ["interrupt 0", "interrupt 1"];
  assertEquals(call(ipi, 0, 0, (1n << 64n) - 1n), [SBI_ERROR.success, all]);
});

Deno.test("the debug console refuses bytes outside memory", () => {
  const { debugConsole } = SBI_EXTENSION;
  const refused = [SBI_ERROR.invalidParameter, []] as [number, string[]];
  assertEquals(call(debugConsole, 0, 8, RAM - 4, 0), refused);
  assertEquals(call(debugConsole, 0, 8, RAM + RAM_BYTES - 4, 0), refused);
  assertEquals(call(debugConsole, 0, 8, RAM, 1), refused);
  assertEquals(call(debugConsole, 1, 8, RAM - 4, 0), refused);
  assertEquals(call(debugConsole, 0, 8, RAM, 0), [SBI_ERROR.success, ["print 8"]]);
});

Deno.test("a reset for a system failure ends with status 1, an unknown one does nothing", () => {
  const { reset } = SBI_EXTENSION;
  assertEquals(call(reset, 0, 0, 0), [SBI_ERROR.success, ["off 0"]]);
  assertEquals(call(reset, 0, 0, 1), [SBI_ERROR.success, ["off 1"]]);
  assertEquals(call(reset, 0, 2, 0), [SBI_ERROR.success, ["reset 0"]]);
  assertEquals(call(reset, 0, 3, 0), [SBI_ERROR.invalidParameter, []]);
  assertEquals(call(reset, 0, 0, 2), [SBI_ERROR.invalidParameter, []]);
});
