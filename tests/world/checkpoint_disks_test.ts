/**
 * Claims about VMs with disks that are saved while Linux reads and writes these (S17.5, S17.7 to S17.10; S19):
 * a program writes block 1, 2, 3, … and counts in memory, another one reads all the time.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { hostFiles } from "../../kernel/host/files.ts";
import { checkQcow2, type DiskFormat, openDisk } from "../../kernel/storage/mod.ts";
import { ConfigError, type Kernel, type VM, VMKernel } from "../../mod.ts";
import { debianTest } from "../_support/debian.ts";

const BLOCK = 4096;
const BLOCKS = 2048;

/** Writes blocks with their numbers, each on stable storage before it counts, until there is /tmp/stop. */
const WRITER = `i=0
while ! [ -e /tmp/stop ]; do
  i=$((i + 1))
  printf '%-8s%08d' "$(cat /tmp/who)" $i |
    dd of=/dev/vda bs=${BLOCK} seek=$i conv=notrunc,sync,fsync 2>/dev/null || echo a write failed
  echo $i > /tmp/count
done
echo ended`;
const READER = `while ! [ -e /tmp/stop ]; do
  dd if=/dev/vda bs=64k iflag=direct of=/dev/null 2>/dev/null || echo a read failed
done`;

async function shell(vm: VM, lines: string): Promise<string> {
  const { status, text, stderr } = await vm.exec(["sh", "-ec", lines]);
  assertEquals(status, 0, `${text}${new TextDecoder().decode(stderr)}`);
  return text.trim();
}

interface Bench {
  readonly folder: string;
  readonly image: string;
  readonly kernel: Kernel;
  /** What the kernel warned of. */
  readonly lines: string[];
}

async function withBench(body: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const image = `${folder}/disk`;
    await Deno.writeFile(image, new Uint8Array(BLOCK * BLOCKS));
    const lines: string[] = [];
    await using kernel = await VMKernel.start({
      checkpoints: `${folder}/store`,
      warn: (line) => void lines.push(line),
    });
    await body({ folder, image, kernel, lines });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Debian with the programs at work. */
async function writingDebian(
  { kernel, image }: Bench,
  format: DiskFormat = "raw",
): Promise<VM> {
  const vm = await kernel.powerOn({
    guest: "debian",
    memory: "256M",
    drives: [{ path: image, format }],
  });
  await shell(
    vm,
    `echo first > /tmp/who
     cat > /tmp/writer <<'EOF'
${WRITER}
EOF
     cat > /tmp/reader <<'EOF'
${READER}
EOF
     setsid sh /tmp/writer > /tmp/writer.log 2>&1 < /dev/null &
     setsid sh /tmp/reader > /tmp/reader.log 2>&1 < /dev/null &
     while ! [ -e /tmp/count ]; do sleep 0.1; done`,
  );
  return vm;
}

/** Lets it write so many blocks more; gives how many there are. */
async function writesOn(vm: VM, blocks = 3): Promise<number> {
  const from = Number(await shell(vm, "cat /tmp/count"));
  const count = `while [ $(cat /tmp/count) -lt ${
    from + blocks
  } ]; do sleep 0.1; done; cat /tmp/count`;
  return Number(await shell(vm, count));
}

/** Stops the programs; gives how many blocks were written. Throws unless all of it went well. */
async function stopsWriting(vm: VM): Promise<number> {
  const told = await shell(
    vm,
    `touch /tmp/stop
     while ! grep -q ended /tmp/writer.log; do sleep 0.1; done
     while pgrep -f /tmp/reader > /dev/null; do sleep 0.1; done
     cat /tmp/writer.log /tmp/reader.log`,
  );
  assertEquals(told, "ended");
  return Number(await shell(vm, "cat /tmp/count"));
}

/** Whoever wrote the blocks of an image, in order, up to the first that nobody wrote. */
async function writersOf(path: string, format: DiskFormat): Promise<string[]> {
  const disk = await openDisk(hostFiles, { path, format, readOnly: true });
  const bytes = new Uint8Array(disk.sectors * 512);
  await disk.read(0, bytes);
  await disk.close();
  const texts = Array.from({ length: bytes.length / BLOCK }, (_, block) => {
    const text = new TextDecoder().decode(bytes.subarray(block * BLOCK, block * BLOCK + 16));
    assert(bytes.subarray(block * BLOCK + 16, (block + 1) * BLOCK).every((byte) => byte === 0));
    return text.replaceAll("\0", "");
  });
  assertEquals(texts[0], "");
  const count = texts.indexOf("", 1) - 1;
  assert(texts.slice(count + 1).every((text) => text === ""), "nothing behind the last");
  return texts.slice(1, count + 1).map((text, i) => {
    assertEquals(text.slice(8), `${i + 1}`.padStart(8, "0"));
    return text.slice(0, 8).trim();
  });
}

/** Throws unless the VM reads blocks 1 to `count` from its disk, and nothing behind them. */
async function assertBlocks(vm: VM, count: number): Promise<void> {
  const found = await shell(
    vm,
    `echo 3 > /proc/sys/vm/drop_caches
     dd if=/dev/vda bs=${BLOCK} skip=1 count=${count} 2>/dev/null | tr -d '\\0' | wc -c
     dd if=/dev/vda bs=${BLOCK} skip=${count + 1} 2>/dev/null | tr -d '\\0' | wc -c`,
  );
  assertEquals(found.split(/\s+/).map(Number), [16 * count, 0]);
}

const filesOf = (folder: string) =>
  [...Deno.readDirSync(folder)].filter(({ isFile }) => isFile).map(({ name }) => name).sort();

debianTest(
  "a checkpoint has the disk of its moment, forks go on from it, and the VM does",
  () =>
    withBench(async (bench) => {
      const { kernel, folder, image } = bench;
      const vm = await writingDebian(bench);
      const first = await kernel.checkpoint(vm);
      assertEquals(first.disks, [{ path: await Deno.realPath(image), problem: undefined }]);
      const between = await writesOn(vm);
      const second = await kernel.checkpoint(vm);
      const third = await kernel.checkpoint(vm, { disk: "copy-commit" });
      await writesOn(vm, 8);
      const copies = await Promise.all([first, second, third].map(({ id }) => {
        return writersOf(`${folder}/store/disks/${id}.disk0.qcow2`, "qcow2");
      }));
      const counts = copies.map(({ length }) => length);
      assert(counts[0]! >= 1 && counts[0]! < counts[1]! && counts[1]! >= between);
      const forks = await kernel.fork(first.id, { count: 3 });
      const ends: number[] = [];
      for (const [i, parked] of forks.entries()) {
        const fork = await parked.start();
        await shell(fork, `echo fork${i} > /tmp/who`);
        await writesOn(fork, 1 + i);
        const count = await stopsWriting(fork);
        await assertBlocks(fork, count);
        ends.push(count);
        if (i > 0) continue;
        const told = await shell(
          fork,
          `dd if=/dev/vda bs=${BLOCK} skip=${count} count=1 2>/dev/null`,
        );
        assert(told.startsWith("fork0"), told);
      }
      assert(ends.every((count) => count > counts[0]!));
      const running = `${folder}/store/disks`;
      assertEquals(filesOf(running).filter((name) => name.endsWith(".overlay.qcow2")).length, 3);
      for (const other of kernel.vms) if (other !== vm) await other.powerOff();
      const total = await stopsWriting(vm);
      await assertBlocks(vm, total);
      await vm.powerOff();
      const restored = await kernel.restore(second.id);
      await assertBlocks(restored, await stopsWriting(restored));
      await restored.powerOff();
      assertEquals(await writersOf(image, "raw"), Array(total).fill("first"));
      assertEquals(filesOf(folder), ["disk"]);
      assertEquals(filesOf(running).length, 3);
      for (const name of filesOf(running)) {
        const { corruptions, leaks } = await checkQcow2(hostFiles, `${running}/${name}`);
        assertEquals([corruptions, leaks], [0, 0]);
      }
      await (await kernel.checkpoints()).delete([first.id, second.id, third.id]);
      assertEquals(filesOf(running), []);
    }),
);

debianTest(
  "an image that is retained is the checkpoint's, and the disk goes on beside it",
  () =>
    withBench(async (bench) => {
      const { kernel, folder, image, lines } = bench;
      const vm = await writingDebian(bench);
      const made = await kernel.checkpoint(vm, { disk: "retain" });
      const frozen = await Deno.readFile(image);
      const live = made.disks[0]!.path;
      const count = (await writersOf(image, "raw")).length;
      await writesOn(vm);
      const fork = (await kernel.fork(made.id))[0]!;
      const running = await fork.start();
      await writesOn(running);
      await assertBlocks(running, await stopsWriting(running));
      await running.powerOff();
      const total = await stopsWriting(vm);
      await vm.powerOff();
      assertEquals(await Deno.readFile(image), frozen);
      assertEquals((await writersOf(live, "qcow2")).length, total);
      assert(count < total);
      const options = { guest: "debian", memory: "256M" } as const;
      const refused = kernel.powerOn({ ...options, drives: [image] });
      await assertRejects(() => refused, ConfigError, `goes on in "${live}"`);
      await (await kernel.powerOn({ ...options, drives: [live] })).powerOff();
      await Deno.utime(image, 1, 1);
      await assertRejects(() => kernel.restore(made.id), ConfigError, "has changed since");
      await (await kernel.checkpoints()).delete([made.id]);
      await (await kernel.powerOn({ ...options, drives: [image] })).powerOff();
      assertEquals(lines.length, 1);
      assertEquals([(await writersOf(image, "raw")).length, filesOf(folder)], [total, ["disk"]]);
    }),
);

debianTest(
  "a suspended VM goes on in its disks once, if nobody has changed them",
  () =>
    withBench(async (bench) => {
      const { kernel, image } = bench;
      const vm = await writingDebian(bench);
      const first = await kernel.suspend(vm);
      const left = (await writersOf(image, "raw")).length;
      // A fork writes beside it, and is suspended itself.
      const fork = await (await kernel.fork(first.id))[0]!.start();
      await shell(fork, "echo fork > /tmp/who");
      await writesOn(fork);
      const second = await kernel.suspend(fork);
      assertEquals((await writersOf(image, "raw")).length, left);
      const resumed = await kernel.resume(first.id);
      await writesOn(resumed);
      const count = await stopsWriting(resumed);
      await assertBlocks(resumed, count);
      await resumed.powerOff();
      assertEquals(await writersOf(image, "raw"), Array(count).fill("first"));
      // The fork's disk is based on the image, which was written to.
      await assertRejects(() => kernel.resume(second.id), ConfigError, `disk" has changed since`);
      await assertRejects(() => kernel.restore(first.id), ConfigError, `disk" has changed since`);
      await Deno.remove(image);
      await assertRejects(() => kernel.restore(first.id), ConfigError, "is missing");
    }),
);

debianTest(
  "a checkpoint is made of a VM that is recorded, and the recording replays",
  () =>
    withBench(async (bench) => {
      const { kernel, folder, image } = bench;
      const vm = await writingDebian(bench);
      await vm.startRecording({ folder: `${folder}/recording` });
      const made = await kernel.checkpoint(vm);
      await writesOn(vm);
      const total = await stopsWriting(vm);
      await vm.stopRecording();
      await vm.powerOff();
      assertEquals((await writersOf(image, "raw")).length, total);
      const replay = await kernel.replay(`${folder}/recording`, { verify: true });
      assertEquals((await replay.waitForExit()).replay?.kind, "end");
      const restored = await kernel.restore(made.id);
      await assertBlocks(restored, await stopsWriting(restored));
    }),
);
