/** Claims about memory that idle VMs give back (kernel/world/idle_memory.ts). */
import { assert, assertEquals } from "@std/assert";
import { Broken, unreachable } from "../../kernel/base/assert.ts";
import type { Core } from "../../kernel/cpu/core.ts";
import { denoHost } from "../../kernel/host/deno_host.ts";
import { IDLE_ANSWER, IdleLook, type IdleMemory } from "../../kernel/world/idle_memory.ts";
import { VmSaves } from "../../kernel/world/vm_saves.ts";
import { takePosted } from "../../kernel/world/vm_posted.ts";
import { VMKernel } from "../../mod.ts";

const PAGE = 4096;

const unwanted = (error: unknown) => unreachable(`a fault: ${error}`);

/** A core with so many decoded pages, and how often it has left them. */
function pretendedCore(pages: number) {
  const core = {
    left: 0,
    buffer: new SharedArrayBuffer(0),
    plan: { elements: 0, elementBytes: 100, cacheElements: 3 },
    controlWord: () => 1,
    decodedPages: {
      pages,
      leave: () => (core.left++, { from: 1000, bytes: 0 }),
      wasGivenBack: () => {},
    },
  };
  return core;
}

Deno.test("a VM that does next to nothing for a while gives memory back, one that works does not", () => {
  let now = 0;
  const clock = { ...denoHost.clock, monotonicMilliseconds: () => now };
  const posted: IdleMemory[] = [];
  const core = pretendedCore(1000);
  const look = new IdleLook(core as unknown as Core, clock, (memory) => {
    posted.push(memory);
    new Int32Array(memory.answer)[0] = IDLE_ANSWER.kept;
  });
  now = 1000;
  assertEquals(look.look(1e9), 2000, "not yet");
  now = 3000;
  assertEquals(look.look(1e9), 3000, "it has worked");
  now = 6000;
  assertEquals(look.look(2e9), 3000, "it works");
  now = 9000;
  assertEquals(look.look(2e9 + 1000), Infinity);
  assertEquals(core.left, 1);
  assertEquals(posted[0]!.ranges, [[1000, 0], [0, 100], [200, 100]]);
  core.decodedPages.pages = 10;
  now = 12_000;
  assertEquals(look.look(2e9 + 1000), Infinity);
  assertEquals(core.left, 1, "what is not worth it stays");
  core.decodedPages.pages = 1000;
  assertEquals(look.look(2e9 + 1000), 3000, "who wants it back loses it later than before");
  now = 15_000;
  assertEquals(look.look(2e9 + 2000), Infinity);
  now = 26_999;
  assertEquals(look.look(2e9 + 3000), 1);
});

Deno.test({
  name: "memory that is given back is zero, to the byte, and is not this process's any more",
  ignore: Deno.build.os !== "linux",
  fn: () => {
    const { buffer } = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
    const shared = buffer as unknown as SharedArrayBuffer;
    const bytes = new Uint8Array(shared);
    for (
      const [from, length] of [[PAGE, 8 * PAGE], [100, 5 * PAGE], [3 * PAGE - 1, 2 * PAGE + 2]]
    ) {
      bytes.fill(0x5a);
      assert(denoHost.memory.giveBack(shared, from!, length!));
      const end = from! + length!;
      assertEquals(bytes.findIndex((byte) => byte === 0), from);
      assert(bytes.subarray(from, end).every((byte) => byte === 0));
      assert(bytes.subarray(end).every((byte) => byte === 0x5a));
    }
    bytes.fill(0x5a);
    assertEquals(denoHost.memory.giveBack(shared, 10, PAGE), false, "no whole page");
    assert(bytes.every((byte) => byte === 0x5a));
  },
});

Deno.test("a VM is answered whether its memory can be given back or not", () => {
  const answers = [true, false].map((can) => {
    const answer = new SharedArrayBuffer(4);
    const memory = { ...denoHost.memory, giveBack: () => can, trim: () => {} };
    const ranges = [[0, 4096]] as const;
    const buffer = new SharedArrayBuffer(8192);
    const posted = { kind: "idle memory", buffer, ranges, answer };
    takePosted(posted, undefined as never, { memory }, unwanted);
    return new Int32Array(answer)[0];
  });
  assertEquals(answers, [IDLE_ANSWER.zero, IDLE_ANSWER.kept]);
});

Deno.test("what a world posts that makes no sense is dropped", () => {
  const [buffer, answer] = [new SharedArrayBuffer(8192), new SharedArrayBuffer(4)];
  const good = { kind: "idle memory", buffer, ranges: [[0, 4096]], answer };
  const memory = {
    ...denoHost.memory,
    giveBack: () => unreachable("memory is given back"),
  };
  const wrong: unknown[] = [
    null,
    undefined,
    7,
    { kind: "other" },
    { kind: "idle memory" },
    { ...good, buffer: new ArrayBuffer(8192) },
    { ...good, answer: new SharedArrayBuffer(2) },
    { ...good, answer: new ArrayBuffer(4) },
    { ...good, ranges: 7 },
    ...[[0], [-1, 4096], [0, -1], [4096, 4097], [0, NaN], ["0", 1], [0.5, 1], [2 ** 53, 1], 5, null]
      .map((range) => ({ ...good, ranges: [[0, 1], range] })),
  ];
  for (const posted of wrong) takePosted(posted, undefined as never, { memory }, unwanted);
});

Deno.test("a world that says that it was frozen, though nobody wanted that, ends its VM only", () => {
  const faults: unknown[] = [];
  const saves = new VmSaves(undefined as never, () => unreachable("no save is under way"));
  takePosted({ kind: "frozen", id: 3 }, saves, denoHost, (error) => faults.push(error));
  assertEquals(faults.length, 1);
  assert(faults[0] instanceof Broken);
});

Deno.test("an idle Debian gives memory back, and goes on", async () => {
  const given = Promise.withResolvers<number>();
  const memory = {
    ...denoHost.memory,
    giveBack: (buffer: SharedArrayBuffer, from: number, bytes: number) => {
      given.resolve(bytes);
      return denoHost.memory.giveBack(buffer, from, bytes);
    },
  };
  await using kernel = await VMKernel.start({ host: { ...denoHost, memory } });
  const vm = await kernel.powerOn({ guest: "debian", memory: "256M" });
  await vm.exec("true");
  assert(await given.promise > 0);
  const { text } = await vm.exec("seq 1000 | sha256sum");
  const lines = Array.from({ length: 1000 }, (_, i) => `${i + 1}\n`).join("");
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(lines));
  assertEquals(text.split(" ")[0], new Uint8Array(digest).toHex());
  await vm.powerOff();
});
