/** Claims about logs of stores: what they hold, take back, and compare. */
import { assertEquals } from "@std/assert";
import { StoreLog } from "../../../kernel/memory/store_log.ts";

/** Stores like generated code of the tier `check`. */
function store(memory: DataView, log: StoreLog, host: number, size: number, value: bigint): void {
  log.add(host, size, Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n)));
  for (let i = 0; i < size; i++) {
    memory.setUint8(host + i, Number(value >> BigInt(8 * i) & 0xffn));
  }
}

Deno.test("a log takes stores of all sizes back that lie over each other", () => {
  const buffer = new SharedArrayBuffer(64);
  const bytes = new Uint8Array(buffer);
  bytes.forEach((_, i) => bytes[i] = i * 37);
  const before = bytes.slice();
  const log = new StoreLog(buffer);
  const memory = new DataView(buffer);
  for (let i = 0; i < 3000; i++) {
    const size = [1, 2, 4, 8][i % 4]!;
    store(memory, log, i * 7 % (65 - size), size, 0x9e37_79b9_7f4a_7c15n * BigInt(i + 1));
  }
  assertEquals(log.length, 3000);
  log.undo();
  assertEquals([...bytes], [...before]);
});

Deno.test("logs are equal when addresses, sizes and the stored bytes are", () => {
  const buffer = new SharedArrayBuffer(64);
  const logged = (...stores: readonly (readonly [host: number, size: number, value: bigint])[]) => {
    const log = new StoreLog(buffer);
    for (const [host, size, value] of stores) {
      store(new DataView(buffer), log, host, size, value);
    }
    return log;
  };
  const log = logged([8, 2, 0x1_2345n], [16, 8, -1n]);
  assertEquals(log.entry(0), { host: 8, size: 2, value: 0x2345n });
  assertEquals(log.entry(1), { host: 16, size: 8, value: 0xffff_ffff_ffff_ffffn });
  assertEquals(log.entry(2), undefined);
  assertEquals(log.equals(logged([8, 2, 0x7_2345n], [16, 8, -1n])), true);
  assertEquals(log.equals(logged([8, 2, 0x2345n])), false);
  assertEquals(log.equals(logged([8, 2, 0x2345n], [16, 4, -1n])), false);
  assertEquals(log.equals(logged([16, 8, -1n], [8, 2, 0x2345n])), false);
  assertEquals(log.equals(logged([8, 2, 0x2345n], [16, 8, 1n << 63n])), false);
});
