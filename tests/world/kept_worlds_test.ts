/**
 * Claims about bundles of worlds' modules: they are used only while they are what the sources give, and a VM in
 * such a world does all that it does in one that was loaded from the sources (kernel/world/kept_worlds.ts).
 */
import { assert, assertEquals } from "@std/assert";
import { denoHost } from "../../kernel/host/deno_host.ts";
import { folderAddress, stampFiles } from "../../kernel/host/own_sources.ts";
import { descriptionPath, type KeptBundle, KeptWorlds } from "../../kernel/world/kept_worlds.ts";
import { type Host, type VM, VMKernel } from "../../mod.ts";
import { writingGuest } from "../_support/writing_guest.ts";
import { bundleWorlds, WORLDS } from "../../tools/worlds/bundle_worlds.ts";
import { withFolder } from "../_support/folder.ts";

const NAME = "0123456789abcdef";

/** A tree of one source, with a bundle of it. */
class Tree {
  readonly root: URL;
  readonly source: URL;
  readonly bundle: string;
  made = 0;

  constructor(readonly folder: string) {
    this.root = folderAddress(`${folder}/tree`);
    this.source = new URL("world.js", this.root);
    this.bundle = `${folder}/kept/${NAME}/bundled.js`;
    Deno.mkdirSync(this.root);
    Deno.mkdirSync(`${folder}/kept/${NAME}`, { recursive: true });
    Deno.writeTextFileSync(this.source, 'postMessage("source")');
    Deno.writeTextFileSync(this.bundle, 'postMessage("bundle")');
    this.describe({});
  }

  get description(): string {
    return descriptionPath(`${this.folder}/kept`, this.root);
  }

  /** Describes what there is now, but for what is given. */
  describe(other: Partial<Record<keyof KeptBundle, unknown>>): void {
    const bundle: KeptBundle = {
      version: 1,
      root: this.root.href,
      sources: stampFiles(this.root, ["world.js"])!,
      folder: NAME,
      files: stampFiles(folderAddress(`${this.folder}/kept/${NAME}`), ["bundled.js"])!,
      entries: { "world.js": "bundled.js" },
      cores: "0".repeat(64),
    };
    Deno.writeTextFileSync(this.description, JSON.stringify({ ...bundle, ...other }));
  }

  /** What a kernel's worlds are started by; time passes at once. */
  worlds(): KeptWorlds {
    const timers = { ...denoHost.timers, delay: () => Promise.resolve(true) };
    return new KeptWorlds({ ...denoHost, timers }, {
      folder: `${this.folder}/kept`,
      root: this.root,
      make: () => {
        this.made++;
        return Promise.reject(new Error("it cannot be made"));
      },
    });
  }
}

/** What a world says, or how it died. */
async function said(worlds: KeptWorlds, source: URL): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const worker = worlds.start(source, "test", () => resolve("died"), resolve);
  const what = await promise;
  worker.terminate();
  return what;
}

Deno.test("a world is started from a bundle of its sources, and another from its own", () =>
  withFolder(async (folder) => {
    const tree = new Tree(folder);
    const worlds = tree.worlds();
    assertEquals(await said(worlds, tree.source), "bundle");
    const other = new URL("other.js", tree.root);
    Deno.writeTextFileSync(other, 'postMessage("other")');
    assertEquals(await said(worlds, other), "other");
    assertEquals(tree.made, 0);
  }));

Deno.test("a folder may have any name", () =>
  withFolder(async (folder) => {
    const strange = `${folder}/a b#c?d%20é`;
    Deno.mkdirSync(strange);
    const tree = new Tree(strange);
    assertEquals(await said(tree.worlds(), tree.source), "bundle");
  }));

Deno.test("a bundle of other sources, a damaged or a foreign one is not used, and made anew", () =>
  withFolder(async (folder) => {
    const tree = new Tree(folder);
    const wrongs: Readonly<Record<string, () => void>> = {
      "longer source": () => Deno.writeTextFileSync(tree.source, 'postMessage("source");'),
      "source of another time": () => Deno.utimeSync(tree.source, 1, 1),
      "shorter bundle": () => Deno.writeTextFileSync(tree.bundle, "postMessage(1)"),
      "bundle of another time": () => Deno.utimeSync(tree.bundle, 1, 1),
      "no bundle": () => Deno.removeSync(tree.bundle),
      "another tree": () => tree.describe({ root: "file:///elsewhere/" }),
      "another version": () => tree.describe({ version: 2 }),
      "a folder elsewhere": () => tree.describe({ folder: "../kept/0123456789abcdef" }),
      "an entry that is no file": () => tree.describe({ entries: { "world.js": "../x.js" } }),
      "no digest": () => tree.describe({ cores: undefined }),
      "no list of files": () => tree.describe({ files: [] }),
      "a strange list of sources": () => tree.describe({ sources: [["world.js", "1", null]] }),
      "no description": () => Deno.removeSync(tree.description),
      "no JSON": () => Deno.writeTextFileSync(tree.description, '{"version":1'),
      "JSON of nothing": () => Deno.writeTextFileSync(tree.description, "null"),
    };
    for (const [name, wrong] of Object.entries(wrongs)) {
      const before = tree.made;
      Deno.writeTextFileSync(tree.bundle, 'postMessage("bundle")');
      tree.describe({});
      assertEquals(await said(tree.worlds(), tree.source), "bundle", name);
      wrong();
      const worlds = tree.worlds();
      assertEquals(await said(worlds, tree.source), "source", name);
      assertEquals(await said(worlds, tree.source), "source", name);
      assertEquals(tree.made, before + 1, `${name}: it is made once`);
    }
  }));

Deno.test("a bundle that a world cannot load is forgotten", () =>
  withFolder(async (folder) => {
    const tree = new Tree(folder);
    Deno.writeTextFileSync(tree.bundle, "this is no module");
    tree.describe({});
    const worlds = tree.worlds();
    assertEquals(await said(worlds, tree.source), "died");
    assertEquals(await said(worlds, tree.source), "source");
    assertEquals(await said(tree.worlds(), tree.source), "source");
  }));

Deno.test("a bundle is forgotten when a world dies at its start, not for a death that comes later", () =>
  withFolder(async (folder) => {
    const tree = new Tree(folder);
    const cases = [
      { age: 1000, says: false, forgotten: true },
      { age: 60_000, says: false, forgotten: false },
      { age: 1000, says: true, forgotten: false },
    ];
    for (const { age, says, forgotten } of cases) {
      tree.describe({});
      let now = 1_000_000;
      let [die, say] = [() => {}, () => {}];
      const workers: typeof denoHost.workers = {
        start: (_url, _name, onDeath, onMessage) => {
          die = () => onDeath({ message: "it broke", place: "" });
          say = () => onMessage?.("hello");
          return { post: () => {}, terminate: () => {} };
        },
      };
      const clock = { ...denoHost.clock, monotonicMilliseconds: () => now };
      const worlds = new KeptWorlds({ ...denoHost, workers, clock }, {
        folder: `${folder}/kept`,
        root: tree.root,
        make: () => Promise.resolve(),
      });
      let died = false;
      worlds.start(tree.source, "test", () => died = true);
      if (says) say();
      now += age;
      die();
      assert(died, "whoever started it is told");
      const isThere = await Deno.stat(tree.description).then(() => true, () => false);
      assertEquals(isThere, !forgotten, `${age} ms, ${says ? "it spoke" : "silent"}`);
    }
  }));

/** The real host, which notes from where worlds were started. */
function watchedHost(): { host: Host; started: string[] } {
  const started: string[] = [];
  const { workers } = denoHost;
  const start: typeof workers.start = (url, ...rest) => {
    started.push(url.href);
    return workers.start(url, ...rest);
  };
  return { host: { ...denoHost, workers: { start } }, started };
}

/** Instructions that a VM has executed at its end. */
async function endOf(vm: VM): Promise<number> {
  await vm.waitForExit();
  return (await vm.stats()).instructions;
}

/** The same of a guest that waits in its middle. */
async function letEnd(vm: VM): Promise<number> {
  await vm.console.write("x");
  return await endOf(vm);
}

Deno.test("VMs in bundled worlds run, are recorded and replayed, saved and restored", () =>
  withFolder(async (folder) => {
    const worlds = `${folder}/worlds`;
    const bundle = await bundleWorlds(worlds);
    assertEquals(Object.keys(bundle.entries).sort(), WORLDS.toSorted());
    assertEquals((await bundleWorlds(worlds)).folder, bundle.folder, "it is the same again");
    for (const path of [worlds, `${worlds}/${bundle.folder}`]) {
      assertEquals((await Deno.stat(path)).mode! & 0o777, 0o700, "it is nobody else's");
    }
    const { host, started } = watchedHost();
    await using kernel = await VMKernel.start({ host, worlds, checkpoints: `${folder}/saved` });
    const image = `${folder}/guest.bin`;
    await Deno.writeFile(image, writingGuest());
    const guest = { kernel: image, bios: "none", memory: "16M", clock: "virtual" } as const;
    const recorded = await kernel.powerOn({ ...guest, record: { folder: `${folder}/recording` } });
    const whole = await letEnd(recorded);
    const replay = await kernel.replay(`${folder}/recording`, { verify: true });
    assertEquals(await endOf(replay), whole);

    const vm = await kernel.powerOn(guest);
    const { id } = await kernel.checkpoint(vm);
    assertEquals(await letEnd(vm), whole);
    assertEquals(await letEnd(await kernel.restore(id)), whole);

    const traced = await kernel.powerOn({ ...guest, trace: true });
    const { value } = await traced.trace.getReader().read();
    assert(value!.length > 0);
    await traced.powerOff();
    assert(started.length > 0, "worlds were started");
    const kept = folderAddress(`${worlds}/${bundle.folder}`).href;
    assertEquals(started.filter((url) => !url.startsWith(kept)), [], "all were bundles");
  }));

Deno.test("a bundle keeps the names of functions, for stacks", () =>
  withFolder(async (folder) => {
    const { folder: name, files } = await bundleWorlds(folder);
    const texts = files.map(([file]) => Deno.readTextFileSync(`${folder}/${name}/${file}`));
    const text = texts.join("\n");
    for (const known of ["VmSide=class", "#freezeNow(", "function createMachine("]) {
      assert(text.includes(known), `there is a ${known}`);
    }
  }));
