/** Claims about who may use an image: commands and VMs lock them alike, and neither makes what is not there. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, FormatError, HostError } from "../../../kernel/base/errors.ts";
import { hostFiles } from "../../../kernel/host/files.ts";
import {
  checkDisk,
  checkLazyZero,
  checkQcow2,
  commitQcow2,
  convertDisk,
  createDisk,
  createQcow2,
  type DiskFormat,
  openDisk,
} from "../../../kernel/storage/mod.ts";
import {
  checkpointDisks,
  makeImage,
  makeUserOverlay,
  openDrive,
  sectorsOf,
  valuesOf,
  Writer,
} from "../../_support/checkpointed_disk.ts";
import { testStore } from "../../_support/checkpoints.ts";
import { CrashFiles } from "../../_support/crash_files.ts";
import { peerTest } from "../../_support/peers.ts";
import { qemuImg, withFolder } from "./qcow2/support.ts";

const SECTORS = 256;
const BASE = { path: "/base", format: "qcow2" as const };

async function valuesAt(files: CrashFiles, path: string, format?: DiskFormat) {
  const disk = await openDisk(files, { path, format, readOnly: true });
  const values = await valuesOf(disk);
  await disk.close();
  return values;
}

/** An image, and an overlay of it. */
async function chain() {
  const files = new CrashFiles();
  const model = await makeImage(files, "/base", "qcow2", SECTORS);
  await makeUserOverlay(files, "/top", BASE, SECTORS);
  return { files, model };
}

/** All that commands do with the image "/base", and with its overlay "/top"; whether they write. */
const USES: Readonly<Record<string, [writes: boolean, use: (files: CrashFiles) => unknown]>> = {
  check: [false, (files) => checkQcow2(files, "/base")],
  repair: [true, (files) => checkQcow2(files, "/base", { repair: "all" })],
  commit: [true, (files) => commitQcow2(files, "/top")],
  convert: [false, (files) => convertDisk(files, BASE, { path: "/copy", format: "raw" })],
  "convert an overlay": [
    false,
    (files) => convertDisk(files, { path: "/top" }, { path: "/copy", format: "raw" }),
  ],
  "create an overlay": [
    false,
    (files) => createDisk(files, { path: "/new", format: "qcow2", backing: BASE }),
  ],
};

for (const [name, [writes, use]] of Object.entries(USES)) {
  Deno.test(`${name}: an image that a VM uses is refused by name, and nothing is changed`, async () => {
    const { files } = await chain();
    const run = async () => await use(files);
    const disks = await openDrive(files, "/base");
    const [before, names] = [files.operations, files.list("/")];
    await assertRejects(run, ConfigError, `Cannot use "/base"`);
    assertEquals([files.operations, files.list("/")], [before, names]);
    await disks.close();
    // A VM that reads shares it with those who read.
    const reader = await openDrive(files, "/top");
    if (writes || name === "convert an overlay") {
      await assertRejects(run, ConfigError, "a VM or another program");
    } else await run();
    await reader.close();
    for (const made of ["/copy", "/new"]) if (files.exists(made)) files.remove(made);
    await run();
  });
}

Deno.test("a VM is refused an image that a command works on", async () => {
  const { files } = await chain();
  let refused = 0;
  const progress = () => {
    if (refused++ > 0) return;
    for (const path of ["/base", "/top"]) {
      assertEquals(files.tryLock(path, { exclusive: false }), undefined);
    }
  };
  await commitQcow2(files, "/top", { progress });
  assert(refused > 0);
});

Deno.test("a backing file that is missing is refused, whatever wants it, and not made", () =>
  withFolder(async (folder) => {
    for (const format of ["raw", "qcow2"] as const) {
      const top = `${folder}/${format}`;
      const options = { bytes: 512 * SECTORS, backing: { path: "missing", format } };
      await createQcow2(hostFiles, top, options);
      const uses = [
        () => openDrive(hostFiles, top),
        () => commitQcow2(hostFiles, top),
        () => convertDisk(hostFiles, { path: top }, { path: `${folder}/copy`, format: "raw" }),
        () => createDisk(hostFiles, { path: `${folder}/new`, format: "qcow2", ...options }),
      ];
      for (const use of uses) {
        await assertRejects(use, HostError, `"${folder}/missing": there is no such file`);
      }
      await Deno.remove(top);
      await assertRejects(() => openDrive(hostFiles, top), HostError, "there is no such file");
      assertEquals(hostFiles.list(folder), []);
    }
  }));

/** A VM's disk in a copy-commit checkpoint, killed while its last writes are in the overlay only. */
async function crashed(format: "raw" | "qcow2") {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", format, SECTORS);
  const disks = await openDrive(files, "/disk", format);
  const writer = new Writer(disks.served[0]!, model, 3);
  let left: CrashFiles | undefined;
  let calls = 0;
  await checkpointDisks(store, disks, "copy-commit", model, async () => {
    if (calls++ === 0) return;
    await writer.run(5);
    await writer.flush();
    left = files.afterKill();
  });
  const overlay = left!.list("/").find((name) => name.endsWith(".qcow2"))!;
  return { files: left!, values: model.now.slice(), overlay: `/${overlay}` };
}

Deno.test("what a crash left in an overlay is there for commands that read the image, and is told of", async () => {
  const lines: string[] = [];
  const warn = (line: string) => void lines.push(line);
  for (const format of ["raw", "qcow2"] as const) {
    const { files, values } = await crashed(format);
    await convertDisk(files, { path: "/disk" }, { path: "/copy", format: "raw" }, { warn });
    assertEquals(await valuesAt(files, "/copy", "raw"), values);
    assertEquals(files.list("/"), ["copy", "disk"]);
    const based = await crashed(format);
    const backing = { path: "disk", format };
    await createDisk(based.files, { path: "/top", format: "qcow2", backing }, undefined, { warn });
    assertEquals(await valuesAt(based.files, "/top"), values);
  }
  assertEquals(lines.length, 4);
  assert(lines.every((line) => line.startsWith(`"/disk" was left without its last writes`)));
});

Deno.test("an overlay that a crash left is committed as any other", async () => {
  for (const format of ["raw", "qcow2"] as const) {
    const { files, values, overlay } = await crashed(format);
    assertEquals((await commitQcow2(files, overlay)).into, "/disk");
    assertEquals(await valuesAt(files, "/disk", format), values);
    const disks = await openDrive(files, "/disk", format);
    assertEquals(await valuesOf(disks.served[0]!), values);
    await disks.close();
    assertEquals(files.list("/"), ["disk"]);
  }
});

Deno.test("what a crash left in an overlay does not keep an image from being checked and repaired", async () => {
  const { files, values } = await crashed("qcow2");
  const names = files.list("/");
  const { corruptions } = await checkQcow2(files, "/disk", { repair: "all" });
  assertEquals([corruptions, files.list("/")], [0, names]);
  const disks = await openDrive(files, "/disk");
  assertEquals(await valuesOf(disks.served[0]!), values);
});

Deno.test("an image that a checkpoint keeps is read by commands, and written to by none", async () => {
  const files = new CrashFiles();
  const store = testStore(files, 1, "/store");
  const model = await makeImage(files, "/disk", "qcow2", SECTORS);
  const kept = model.now.slice();
  const disks = await openDrive(files, "/disk");
  const writer = new Writer(disks.served[0]!, model, 3);
  const { id, live } = await checkpointDisks(store, disks, "retain", model);
  await writer.run(5);
  await disks.close();
  const { path } = live[0]!;
  const uses = [
    () => commitQcow2(files, path),
    () => checkQcow2(files, "/disk", { repair: "all" }),
  ];
  for (const use of uses) {
    await assertRejects(use, ConfigError, `"/disk" is kept as it was by a checkpoint`);
  }
  await convertDisk(files, { path: "/disk" }, { path: "/copy", format: "raw" });
  await convertDisk(files, { path }, { path: "/live", format: "raw" });
  assertEquals(await valuesAt(files, "/copy", "raw"), kept);
  assertEquals(await valuesAt(files, "/live", "raw"), model.now);
  assertEquals(await store.verify(), []);
  await store.delete([id]);
  await commitQcow2(files, path);
  assertEquals(await valuesAt(files, "/disk"), model.now);
});

Deno.test("a copy has its name when it is whole, and a conversion that fails leaves nothing", async () => {
  const start = async () => {
    const files = new CrashFiles();
    return { files, model: await makeImage(files, "/disk", "raw", SECTORS) };
  };
  for (const format of ["raw", "qcow2", "lazy-zero"] as const) {
    const convert = (files: CrashFiles) =>
      convertDisk(files, { path: "/disk", format: "raw" }, { path: "/copy", format });
    const { files: whole, model } = await start();
    const first = whole.operations;
    await convert(whole);
    assertEquals(whole.list("/"), ["copy", "disk"]);
    for (let n = first; n < whole.operations; n++) {
      const { files } = await start();
      files.crashAt(n, n);
      await convert(files).catch(() => {});
      assert(files.crashed);
      for (const after of [files.afterKill(), files.afterPowerCut(n), files.afterPowerCut(-n)]) {
        if (after.exists("/copy")) assertEquals(await valuesAt(after, "/copy", format), model.now);
      }
    }
    const { files: full } = await start();
    full.capacity = SECTORS * 512 + 20_000;
    await assertRejects(() => convert(full), HostError, "the disk is full");
    assertEquals(full.list("/"), ["disk"]);
    full.capacity = Infinity;
    full.create("/copy").write(0, sectorsOf(1, 7));
    await assertRejects(() => convert(full), HostError, `"/copy": it exists already`);
    assertEquals([full.list("/"), full.facts("/copy").bytes], [["copy", "disk"], 512]);
  }
});

peerTest(
  "a conversion that is refused leaves images of qemu-img alone",
  ["qemu-img"],
  () =>
    withFolder(async (folder) => {
      const [source, target] = [`${folder}/source`, `${folder}/target`];
      await qemuImg("create", "-q", "-f", "qcow2", source, "1M");
      await qemuImg("create", "-q", "-f", "qcow2", target, "2M");
      const convert = () =>
        convertDisk(hostFiles, { path: source }, { path: target, format: "qcow2" });
      await assertRejects(convert, HostError, "it exists already");
      await Deno.remove(target);
      await convert();
      await qemuImg("compare", "-f", "qcow2", "-F", "qcow2", source, target);
      assertEquals(hostFiles.list(folder), ["source", "target"]);
    }),
);

Deno.test("a lazily initialised image is checked as it is read: what is found cannot be read, and all else can", async () => {
  const files = new CrashFiles();
  await createDisk(files, { path: "/disk", format: "lazy-zero" }, 80 * 1024 * 1024);
  const disks = await openDrive(files, "/disk", "lazy-zero");
  const disk = disks.served[0]!;
  // Blocks of the first table page, and of the second; each flush writes one copy of a page.
  for (const block of [0, 1016, 1, 7, 1200]) {
    await disk.write(128 * block, sectorsOf(1, block + 1));
    await disk.flush();
  }
  await assertRejects(() => checkLazyZeroAs(files), ConfigError, "writes to it");
  await disks.close();
  const found = { corruptions: 0, initialisedBlocks: 5, totalBlocks: 1280, problems: [] };
  assertEquals(await checkDisk(files, { path: "/disk" }), { format: "lazy-zero", ...found });
  await assertRejects(
    () => checkDisk(files, { path: "/disk" }, { repair: "all" }),
    ConfigError,
    "Cannot repair",
  );
  const [headers, page] = [2 * 8192, 4096];
  const flips = [[3], [8195], [3, 8195], [headers + 40], [headers + 40, headers + page + 40]]
    .concat([[headers + 2 * page + 40, headers + 3 * page + 40]]);
  const outcomes: string[] = [];
  for (const flipped of flips) {
    const damaged = files.afterKill();
    const file = damaged.open("/disk", { write: true });
    for (const at of flipped) {
      const byte = new Uint8Array(1);
      file.read(at, byte);
      file.write(at, byte.map((old) => old ^ 0x10));
    }
    const isReadable = await valuesAt(damaged, "/disk", "lazy-zero").then(() => true, () => false);
    const before = damaged.operations;
    const outcome = await checkLazyZeroAs(damaged).then(
      ({ corruptions, problems }) => `${corruptions} ${problems.length}`,
      (error) => error instanceof FormatError ? "refused" : `${error}`,
    );
    assertEquals([damaged.operations, outcome === "0 0"], [before, isReadable], outcome);
    outcomes.push(outcome);
  }
  assertEquals(outcomes, ["0 0", "0 0", "refused", "0 0", "1 1", "1 1"]);
  files.open("/disk", { write: true }).truncate(1024 * 1024);
  await assertRejects(() => checkLazyZeroAs(files), FormatError, "is cut short");
});

const checkLazyZeroAs = (files: CrashFiles) => checkLazyZero(files, "/disk");
