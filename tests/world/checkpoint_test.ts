/**
 * Claims about checkpoints of whole VMs: what is kept is the VM at one instant, though it runs on; VMs go on
 * from there, as often as they may, and as who they ought to be (S17, S19; issue 5).
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, HostError, type PowerOnOptions, type VM, VMKernel } from "../../mod.ts";
import { denoHost } from "../../kernel/host/deno_host.ts";
import { debianTest } from "../_support/debian.ts";
import { until } from "../_support/until.ts";
import { WRITING_ROUNDS, writingGuest } from "../_support/writing_guest.ts";

const GUEST: PowerOnOptions = {
  kernel: writingGuest(),
  bios: "none",
  memory: "16M",
  clock: "virtual",
  name: "writer",
};

async function withKernel(body: (kernel: VMKernel, folder: string) => Promise<void>) {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-test-" });
  try {
    await using kernel = await VMKernel.start({ checkpoints: folder });
    await body(kernel, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** All that a VM still prints, and how many instructions it has executed at its end. */
async function printedBy(vm: VM): Promise<{ text: string; instructions: number }> {
  const text = await new Response(vm.console.readable as BodyInit).text();
  await vm.waitForExit();
  return { text, instructions: (await vm.stats()).instructions };
}

/** The same of a VM that is let run to its end. */
async function rest(vm: VM): Promise<{ text: string; instructions: number }> {
  const printed = printedBy(vm);
  await vm.console.write("x");
  return await printed;
}

Deno.test("a VM restored twice does from there on what the VM itself does", () =>
  withKernel(async (kernel) => {
    const vm = await kernel.powerOn(GUEST);
    const made = await kernel.checkpoint(vm, { label: "in the middle" });
    assert(made.stoodMicroseconds! > 0, "it stood still for a moment");
    const whole = await rest(vm);
    assertEquals(whole.text.length, WRITING_ROUNDS);
    const [first, second] = [
      await rest(await kernel.restore(made.id)),
      await rest(await kernel.restore(made.id, { first: "none", tier: "interpreter" })),
    ];
    assert(whole.text.endsWith(first.text), "it prints the rest");
    assertEquals(first.instructions, whole.instructions);
    assertEquals(second, first);
  }));

Deno.test("what is kept is the VM at the instant, digest for digest", () =>
  withKernel(async (kernel) => {
    const vm = await kernel.powerOn(GUEST);
    await vm.pause();
    const before = await vm.digest();
    let running: Promise<void> | undefined;
    // It runs on while its pages are read, and writes to all of them meanwhile.
    const progress = () => void (running ??= vm.resume());
    const { id, counts } = await kernel.checkpoint(vm, { rate: 10_000, progress });
    await running;
    assert(counts.stored > 0);
    await vm.pause();
    await assertRejects(() => kernel.restore(id), ConfigError, "a running VM has its uuid");
    await vm.powerOff();
    for (const first of ["active", "none", "all"] as const) {
      const same = await kernel.restore(id, { paused: true, first });
      assertEquals(await same.digest(), before);
      await same.powerOff();
    }
  }));

Deno.test("checkpoints at once are made one after the other, each a difference to the last", () =>
  withKernel(async (kernel) => {
    const vm = await kernel.powerOn(GUEST);
    await vm.pause();
    const made = await Promise.all([1, 2, 3].map((n) => kernel.checkpoint(vm, { label: `${n}` })));
    assertEquals(made.map(({ label }) => label), ["1", "2", "3"]);
    assertEquals(made.map(({ parent }) => parent), [null, made[0]!.id, made[1]!.id]);
    assert(made[0]!.counts.added === 4096 && made[1]!.counts.added < 64, "nothing was written");
    const store = await kernel.checkpoints();
    assertEquals(await store.verify(), []);
    await store.delete([made[0]!.id, made[1]!.id]);
    assertEquals(await store.verify(), []);
    await vm.powerOff();
    const { text } = await rest(await kernel.restore(made[2]!.id));
    assertEquals(text.at(-1), "1");
  }));

Deno.test("a suspended VM goes on once, and forks of it as often as one likes", () =>
  withKernel(async (kernel) => {
    const plain = await rest(await kernel.powerOn(GUEST));
    const vm = await kernel.powerOn(GUEST);
    await vm.pause();
    const printed = printedBy(vm);
    const { id, kind } = await kernel.suspend(vm);
    assertEquals([kind, vm.state], ["suspended", "stopped"]);
    const { text: before } = await printed;
    const resumed = await kernel.resume(id);
    await assertRejects(() => kernel.resume(id), ConfigError, "a VM runs from it already");
    const { text, instructions } = await rest(resumed);
    assertEquals({ text: before + text, instructions }, plain);
    await assertRejects(() => kernel.resume(id), ConfigError, "it was resumed before");
    const forks = await kernel.fork(id, { count: 2 });
    assertEquals(forks.map(({ name, parked }) => [name, parked]), [
      ["writer-1", true],
      ["writer-2", true],
    ]);
    const [one, two] = await Promise.all(forks.map(async (fork) => await rest(await fork.start())));
    assertEquals([one!.text, two!.text], [text, text]);
    assert(forks.every(({ parked }) => !parked));
    assert(forks[0]!.identity.mac !== forks[1]!.identity.mac);
  }));

Deno.test("forks of a running VM share what it was, which goes with the last that waits for it", () =>
  withKernel(async (kernel) => {
    const vm = await kernel.powerOn(GUEST);
    await vm.pause();
    const forks = await kernel.fork(vm, { count: 3, name: "web" });
    const store = await kernel.checkpoints();
    assertEquals(store.list().map(({ head }) => head?.kind), ["fork"]);
    await vm.resume();
    const { text } = await rest(vm);
    assertEquals(text.length, WRITING_ROUNDS);
    const child = await rest(await forks[0]!.start());
    assert(text.endsWith(child.text));
    forks[1]!.discard();
    await assertRejects(() => forks[1]!.start(), ConfigError, "it was discarded");
    assertEquals(store.list().length, 1);
    const last = await rest(await forks[2]!.start());
    assertEquals(last.text, child.text);
    await until("what the forks were made of goes", () => store.list().length === 0);
  }));

Deno.test("a VM that ends while it is saved ends the save, and no other", () =>
  withKernel(async (kernel) => {
    const vm = await kernel.powerOn(GUEST);
    // Slow: the VM ends long before.
    const saving = kernel.checkpoint(vm, { rate: 4000 }).then(
      ({ counts }) => assert(counts.added > 0),
      (error) => assert(error instanceof HostError, `${error}`),
    );
    await vm.powerOff();
    await saving;
    await assertRejects(() => kernel.checkpoint(vm), HostError, "is not running");
    const other = await kernel.powerOn({ ...GUEST, name: "other" });
    const made = await kernel.checkpoint(other);
    assertEquals(made.vm, "other");
    assertEquals(await (await kernel.checkpoints()).verify(), []);
  }));

Deno.test("pages that were never loaded are in a checkpoint that stands by itself", () =>
  withKernel(async (kernel) => {
    const vm = await kernel.powerOn(GUEST);
    await vm.pause();
    const { id } = await kernel.checkpoint(vm);
    await vm.powerOff();
    const [fork] = await kernel.fork(id, { first: "none", paused: true });
    const child = await fork!.start();
    // What it would be a difference to is gone, and its pages with it but for those that are open.
    await (await kernel.checkpoints()).delete([id]);
    const own = await kernel.checkpoint(child);
    assertEquals(own.parent, null);
    const digest = await child.digest();
    await child.powerOff();
    const again = await kernel.restore(own.id, { paused: true });
    assertEquals(await again.digest(), digest);
    await again.powerOff();
  }));

Deno.test("a VM that goes on is recorded from there, and saved again as what was written since", () =>
  withKernel(async (kernel, folder) => {
    const path = `${folder}/guest.bin`;
    await Deno.writeFile(path, writingGuest());
    const vm = await kernel.powerOn({ ...GUEST, kernel: path });
    const { id } = await kernel.suspend(vm);
    const resumed = await kernel.resume(id, { paused: true });
    await resumed.startRecording({ folder: `${folder}/recording` });
    const next = await kernel.checkpoint(resumed);
    assertEquals([next.parent, next.counts.added < 64], [id, true]);
    await resumed.resume();
    const { text } = await rest(resumed);
    assert(text.length > 0);
    const replay = await kernel.replay(`${folder}/recording`, { verify: true });
    assertEquals((await printedBy(replay)).text, text);
    assertEquals((await replay.waitForExit()).replay?.kind, "end");
  }));

Deno.test("a state that a VM runs from is restored nowhere else, and forked as one likes", () =>
  withKernel(async (kernel, folder) => {
    const vm = await kernel.powerOn(GUEST);
    const { id } = await kernel.suspend(vm);
    const resumed = await kernel.resume(id, { paused: true });
    // As in another process: this one does not know the VM.
    await using other = await VMKernel.start({ checkpoints: folder });
    const refused = "a VM runs from it already; expected a fork";
    await assertRejects(() => other.restore(id), ConfigError, refused);
    const [fork] = await other.fork(id);
    await (await fork!.start()).powerOff();
    await resumed.powerOff();
    const restored = await other.restore(id);
    await assertRejects(() => kernel.restore(id), ConfigError, refused);
    await restored.powerOff();
    await (await kernel.restore(id)).powerOff();
  }));

Deno.test("forks that cannot be made leave no state behind", async () => {
  const folder = await Deno.makeTempDir({ prefix: "chronovisor-test-" });
  try {
    let refuses = true;
    const { files } = denoHost;
    const open: typeof files.open = (path, options) => {
      if (!refuses || !path.endsWith(".checkpoint")) return files.open(path, options);
      refuses = false;
      throw new HostError("no more files");
    };
    const host = { ...denoHost, files: { ...files, open } };
    const kernel = await VMKernel.start({ host, checkpoints: folder });
    const vm = await kernel.powerOn(GUEST);
    await vm.pause();
    await assertRejects(() => kernel.fork(vm), HostError, "no more files");
    const store = await kernel.checkpoints();
    await kernel.stop({ now: true });
    assertEquals(store.list(), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("what no checkpoint could keep is refused, and the VM goes on", () =>
  withKernel(async (kernel) => {
    const vm = await kernel.powerOn(GUEST);
    await vm.pause();
    const label = "x".repeat(1001);
    for (
      const save of [() => kernel.checkpoint(vm, { label }), () => kernel.suspend(vm, { label })]
    ) {
      await assertRejects(save, ConfigError, "label is");
    }
    // Nobody takes what is typed.
    vm.console.write(new Uint8Array(300_000)).catch(() => {});
    const { id } = await kernel.checkpoint(vm, { label: "kept" });
    await vm.powerOff();
    const name = "n".repeat(257);
    await assertRejects(() => kernel.restore(id, { name }), ConfigError, "has 257 characters");
    // What was typed is in it, and lets the guest go on.
    const again = await kernel.restore(id);
    assertEquals((await printedBy(again)).text.length, WRITING_ROUNDS);
  }));

Deno.test("what cannot be done is refused by name", () =>
  withKernel(async (kernel) => {
    const missing = "0".repeat(32);
    await assertRejects(
      () => kernel.restore(missing),
      ConfigError,
      `There is no checkpoint ${missing}`,
    );
    const vm = await kernel.powerOn(GUEST);
    const { id } = await kernel.checkpoint(vm);
    await assertRejects(() => kernel.resume(id), ConfigError, "is no suspended state");
    await assertRejects(() => kernel.fork(id, { count: 0 }), ConfigError, "expected 1 to");
    await using bare = await VMKernel.start();
    await assertRejects(() => bare.checkpoints(), ConfigError, "no folder for checkpoints");
  }));

debianTest(
  "Debian goes on from a checkpoint in the middle of what it did",
  () =>
    withKernel(async (kernel) => {
      const vm = await kernel.powerOn({ guest: "debian", memory: "256M" });
      await vm.exec("echo kept > /tmp/file; hostname one");
      // Output under way, so that frames of the agent are cut anywhere.
      const talking = await vm.spawn(["sh", "-c", "while :; do echo some words; done"]);
      const reading = talking.stdout.pipeTo(new WritableStream());
      const made = await kernel.checkpoint(vm);
      const [fork] = await kernel.fork(vm);
      const { id } = await kernel.suspend(vm);
      await reading.catch(() => {});
      const facts = "cat /tmp/file; hostname; cat /sys/class/net/eth0/address";
      const resumed = await kernel.resume(id);
      const { text } = await resumed.exec(facts);
      await resumed.powerOff();
      const clone = await fork!.start();
      const other = await clone.exec(facts);
      const [, , mac] = text.split("\n");
      assertEquals(text.split("\n").slice(0, 2), ["kept", "one"]);
      assertEquals(other.text, `kept\n${fork!.identity.hostname}\n${fork!.identity.mac}\n`);
      assert(mac !== fork!.identity.mac);
      const older = await kernel.restore(made.id);
      assertEquals((await older.exec(facts)).text, text);
    }),
);
