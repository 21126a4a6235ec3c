/**
 * Recordings through the whole kernel: workers, files, disks (issue 4, "Record" and "Replay"). What is
 * missing, changed, cut or of another version is refused or ends clearly, never replayed wrongly.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  checkRecording,
  ConfigError,
  FormatError,
  HostError,
  type PowerOnOptions,
  recordingFacts,
  type ReplayOptions,
  type VM,
  VMKernel,
} from "../../mod.ts";
import { debianTest } from "../_support/debian.ts";
import { killIfAlive } from "../_support/kill.ts";

/** A folder that is gone behind the test. */
class Scratch {
  readonly path = Deno.makeTempDirSync();
  #next = 0;

  get recording(): string {
    return `${this.path}/recording${this.#next++}`;
  }

  /** A disk image with a pattern. */
  disk(bytes = 64 * 512): string {
    const path = `${this.path}/disk${this.#next++}`;
    Deno.writeFileSync(path, Uint8Array.from({ length: bytes }, (_, i) => i * 7));
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

async function textOf(vm: VM): Promise<string> {
  return await new Response(vm.console.readable as BodyInit).text();
}

/** Records a run of our storm, typed at now and then, to its end. */
async function recordStorm(kernel: VMKernel, options: PowerOnOptions): Promise<string> {
  const vm = await kernel.powerOn({ guest: "storm", network: "loopback", ...options });
  const text = textOf(vm);
  const typing = (async () => {
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      await vm.console.write(`typed ${i}`);
    }
  })().catch(() => {});
  await vm.waitForExit();
  await typing;
  return await text;
}

async function replayed(kernel: VMKernel, folder: string, options: ReplayOptions = {}) {
  const vm = await kernel.replay(folder, { verify: true, ...options });
  const text = textOf(vm);
  const { replay } = await vm.waitForExit();
  assert(replay !== undefined);
  return { replay, text: await text };
}

for (const clock of ["virtual", "host", "exact"] as const) {
  for (const harts of [1, 4]) {
    Deno.test(`a recording replays on any tier: clock ${clock}, harts ${harts}`, async () => {
      using scratch = new Scratch();
      await using kernel = await VMKernel.start();
      const folder = scratch.recording;
      const disk = scratch.disk();
      const text = await recordStorm(kernel, { clock, harts, drives: [disk], record: folder });
      assert(/storm: sum [0-9a-f]{16}/.test(text), text);
      const written = Deno.readFileSync(disk);
      const ways: ReplayOptions[] = [
        {},
        { tier: "interpreter", tlbEntries: 16 },
        { tier: "translator", cacheElements: 1, tlbEntries: 4096 },
      ];
      for (const way of ways) {
        const { replay, text: again } = await replayed(kernel, folder, way);
        assert(replay.kind === "end" && replay.epochs > 0, JSON.stringify(replay));
        assertEquals(again, text);
      }
      assertEquals(Deno.readFileSync(disk), written, "a replay writes to no image");
      assertEquals(await checkRecording(folder), []);
    });
  }
}

Deno.test("a replay stops where it is told to", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  const folder = scratch.recording;
  const text = await recordStorm(kernel, { clock: "host", record: folder });
  const { icount } = await recordingFacts(folder);
  const half = await replayed(kernel, folder, { to: Math.floor(icount / 2) });
  assertEquals([half.replay.kind, half.replay.icount], ["reached", Math.floor(icount / 2)]);
  assert(text.startsWith(half.text) && half.text.length < text.length);
});

Deno.test("a folder that is in use is refused, and nothing in it is touched", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  const refused = kernel.powerOn({ guest: "hello", record: scratch.path });
  Deno.writeTextFileSync(`${scratch.path}/mine`, "mine");
  await assertRejects(
    () => refused.then(() => kernel.powerOn({ guest: "hello", record: scratch.path })),
    HostError,
    "mine",
  );
  assertEquals([...Deno.readDirSync(scratch.path)].filter(({ name }) => name === "mine").length, 1);
});

Deno.test("what a recording needs is checked before anything is replayed", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  const disk = scratch.disk(2 * 1024 * 1024);
  const folder = scratch.recording;
  await recordStorm(kernel, {
    clock: "host",
    drives: [{ path: disk, readOnly: true }],
    record: folder,
  });
  assertEquals((await replayed(kernel, folder)).replay.kind, "end");
  const bytes = Deno.readFileSync(disk);
  bytes[1_000_000]! ^= 1;
  Deno.writeFileSync(disk, bytes);
  await assertRejects(() => kernel.replay(folder), FormatError, "has changed since the recording");
  assert((await checkRecording(folder)).some((problem) => problem.includes("has changed")));
  Deno.removeSync(disk);
  await assertRejects(() => kernel.replay(folder), ConfigError, "disk0 image is missing");
  const path = `${folder}/manifest.json`;
  const manifest = JSON.parse(Deno.readTextFileSync(path));
  const put = (change: object) =>
    Deno.writeTextFileSync(path, JSON.stringify({ ...manifest, ...change }));
  put({ machine: { ...manifest.machine, version: 99 } });
  await assertRejects(() => kernel.replay(folder), FormatError, "machine version 99");
  put({ version: 7 });
  await assertRejects(() => kernel.replay(folder), FormatError, "format version 7");
  put({ start: "state" });
  await assertRejects(() => kernel.replay(folder), FormatError, "begins from is missing");
  Deno.removeSync(path);
  await assertRejects(() => kernel.replay(folder), HostError, "there is no such file");
});

Deno.test("images that were kept are used, whatever becomes of the files", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  const disk = scratch.disk();
  const folder = scratch.recording;
  const text = await recordStorm(kernel, { clock: "host", drives: [disk], record: folder });
  Deno.removeSync(disk);
  const { replay, text: again } = await replayed(kernel, folder);
  assertEquals([replay.kind, again], ["end", text]);
});

Deno.test("a disk that was written is seen as it was", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  // Too large to be kept whole.
  const disk = scratch.disk(3 * 1024 * 1024);
  const before = Deno.readFileSync(disk);
  const folder = scratch.recording;
  const text = await recordStorm(kernel, { clock: "virtual", drives: [disk], record: folder });
  assert(Deno.readFileSync(disk).some((byte, i) => byte !== before[i]), "the guest wrote");
  assert(Deno.statSync(`${folder}/disk0.before`).size > 4096);
  const { replay, text: again } = await replayed(kernel, folder);
  assertEquals([replay.kind, again], ["end", text]);
});

Deno.test("a log that is cut anywhere replays to a clear end, or is refused", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  const folder = scratch.recording;
  const record = { folder, sync: "every" as const };
  const text = await recordStorm(kernel, { clock: "exact", record });
  const log = `${folder}/events-000000.log`;
  const whole = Deno.readFileSync(log);
  for (const part of [0.02, 0.3, 0.71, 0.9999]) {
    const cut = Math.floor(whole.length * part);
    Deno.writeFileSync(log, whole.subarray(0, cut));
    const { replay, text: again } = await replayed(kernel, folder);
    assertEquals(replay.kind, "cut", `cut at ${cut}: ${JSON.stringify(replay)}`);
    assert(text.startsWith(again));
    assert((await checkRecording(folder)).length > 0);
  }
  const flipped = whole.slice();
  flipped[Math.floor(whole.length / 2)]! ^= 0x10;
  Deno.writeFileSync(log, flipped);
  const { replay } = await replayed(kernel, folder);
  // Where the bit lies in a frame's head, its length or the frame behind it makes no sense.
  assert(replay.kind === "cut" && /checksum|frame/.test(replay.reason!), JSON.stringify(replay));
});

Deno.test("what a killed recorder has printed can be replayed", async () => {
  using scratch = new Scratch();
  const folder = scratch.recording;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--quiet", "tools/cli/main.ts", "run", "storm", "--clock", "host"],
      ...["--record", folder, "--record-sync", "every"],
    ],
    cwd: new URL("../../", import.meta.url),
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.getReader();
  let seen = "";
  while (!seen.includes("begins")) {
    const { value, done } = await reader.read();
    assert(!done, `it ended: ${seen}`);
    seen += new TextDecoder().decode(value);
    // It may have come to its end already.
    await writer.write(new TextEncoder().encode("typed")).catch(() => {});
  }
  killIfAlive(() => child.kill("SIGKILL"));
  await child.status;
  await writer.abort().catch(() => {});
  for (let { value } = await reader.read(); value; { value } = await reader.read()) {
    seen += new TextDecoder().decode(value);
  }
  await using kernel = await VMKernel.start();
  const { replay, text } = await replayed(kernel, folder);
  assert(replay.kind === "cut" || replay.kind === "end", JSON.stringify(replay));
  assert(text.startsWith(seen), `${seen.length} bytes were printed, ${text.length} replayed`);
});

debianTest("a Debian that runs is recorded from now on, and twice", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  const disk = scratch.disk(4 * 1024 * 1024);
  const vm = await kernel.powerOn({ guest: "debian", drives: [disk], clock: "host" });
  void vm.console.readable.pipeTo(new WritableStream());
  await vm.exec("dd if=/dev/urandom of=/dev/vda bs=64k count=4");
  const texts: string[] = [];
  const folders = [scratch.recording, scratch.recording];
  for (const folder of folders) {
    await vm.startRecording({ folder });
    assertEquals(vm.recordingFolder, folder);
    await assertRejects(
      () => vm.startRecording({ folder: scratch.recording }),
      HostError,
      "already",
    );
    const job =
      "date; md5sum /dev/vda; dd if=/dev/urandom of=/dev/vda bs=4k seek=9 count=3; md5sum /dev/vda";
    texts.push((await vm.exec(job)).text);
    await vm.stopRecording();
    await assertRejects(() => vm.stopRecording(), HostError, "not being recorded");
    await vm.exec("dd if=/dev/zero of=/dev/vda bs=64k count=4");
  }
  await vm.powerOff();
  // What the guest overwrote since is kept for as long as the VM lives, also behind a recording's end.
  for (const [i, folder] of folders.entries()) {
    const again = await kernel.replay(folder, { verify: true });
    const shown = new Response(again.replayedCommand!.stdout as BodyInit).text();
    assertEquals([(await again.waitForExit()).replay?.kind, await shown], ["end", texts[i]]);
  }
  const bytes = Deno.readFileSync(disk);
  bytes[0]! ^= 1;
  Deno.writeFileSync(disk, bytes);
  await kernel.replay(folders[0]!).then((vm) => vm.powerOff());
  bytes[3_000_000]! ^= 1;
  Deno.writeFileSync(disk, bytes);
  await assertRejects(() => kernel.replay(folders[0]!), FormatError, "has changed");
});

debianTest("the state of a running Debian is in its recording", async () => {
  using scratch = new Scratch();
  await using kernel = await VMKernel.start();
  for (const clock of ["virtual", "exact"] as const) {
    const vm = await kernel.powerOn({ guest: "debian", clock });
    void vm.console.readable.pipeTo(new WritableStream());
    await vm.exec("echo kept > /tmp/file");
    const folder = scratch.recording;
    await vm.startRecording({ folder });
    const { text } = await vm.exec("cat /tmp/file; date; cat /proc/uptime");
    assert(text.startsWith("kept\n"));
    await vm.stopRecording();
    await vm.powerOff();
    for (const tier of ["auto", "interpreter"] as const) {
      const again = await kernel.replay(folder, { verify: true, tier });
      const shown = new Response(again.replayedCommand!.stdout as BodyInit).text();
      const { replay } = await again.waitForExit();
      assertEquals([replay?.kind, await shown], ["end", text]);
    }
  }
});
