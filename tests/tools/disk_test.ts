/** Claims about the disk commands: what they print, which status they end with, and what they make. */
import { assert, assertEquals } from "@std/assert";
import { hostFiles } from "../../kernel/host/files.ts";
import { openQcow2 } from "../../kernel/storage/mod.ts";
import { peerTest, runPeer } from "../_support/peers.ts";
import { withFolder } from "../_support/folder.ts";

const ROOT = new URL("../../", import.meta.url);
const MAIN = new URL("./cli_main.ts", import.meta.url).pathname;
const ARGUMENTS = ["run", "-A", "--no-check", "--unstable-worker-options", MAIN, "disk"];

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function disk(...words: string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...ARGUMENTS, ...words],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

async function ok(...words: string[]): Promise<string> {
  const { code, out, err } = await disk(...words);
  assertEquals([code, err], [0, ""], words.join(" "));
  return out;
}

Deno.test("disk: images are made, converted, based on each other, committed, checked and described", () =>
  withFolder(async (folder) => {
    const [raw, base, top] = [`${folder}/raw`, `${folder}/base.qcow2`, `${folder}/top.qcow2`];
    const contents = new Uint8Array(1024 * 1024);
    contents.fill(7, 4096, 8192);
    await Deno.writeFile(raw, contents);
    assertEquals(
      await ok("convert", raw, base, "--from", "raw", "--cluster", "4K"),
      "a disk of 1M (1048576 bytes), of which 4K (4096 bytes) are not zeros\n",
    );
    await ok("create", top, "--backing", "base.qcow2", "--backing-format", "qcow2");
    const info = JSON.parse(await ok("info", top, "--json"));
    assertEquals([info.format, info.bytes, info.backing.path], ["qcow2", 1024 * 1024, base]);
    assertEquals(info.backing.qcow2.allocatedBytes, 4096);
    assert(/^based on\n {2}image {7}\//m.test(await ok("info", top)));
    assertEquals(await ok("check", top), "no damage\n0 of 16 clusters allocated\n");
    assert((await ok("commit", top)).startsWith("0 bytes copied into "));
    await ok("convert", top, `${folder}/again`, "--to", "raw");
    assertEquals(await Deno.readFile(`${folder}/again`), contents);
    await ok("create", `${folder}/lazy`, "1M", "--format", "lazy-zero");
    assertEquals(JSON.parse(await ok("info", `${folder}/lazy`, "--json")).format, "lazy-zero");
  }));

Deno.test("disk check: leaks and damage have a status of their own, and are repaired when asked to", () =>
  withFolder(async (folder) => {
    const path = `${folder}/image`;
    await ok("create", path, "1M");
    const file = await Deno.open(path, { read: true, write: true });
    const bytes = new Uint8Array(8);
    await file.seek(48, Deno.SeekMode.Start);
    await file.read(bytes);
    const table = Number(new DataView(bytes.buffer).getBigUint64(0));
    await file.seek(table, Deno.SeekMode.Start);
    await file.read(bytes);
    const block = Number(new DataView(bytes.buffer).getBigUint64(0));
    const setRefcount = async (cluster: number, value: number) => {
      await file.seek(block + 2 * cluster, Deno.SeekMode.Start);
      await file.write(new Uint8Array([0, value]));
    };
    await setRefcount(1, 2);
    const leaks = await disk("check", path);
    assertEquals([leaks.code, leaks.out.split("\n")[0]], [3, "0 corruptions, 1 leaked clusters"]);
    assert(leaks.err.includes("cluster 1 is used 1 times: refcount 2"));
    await setRefcount(1, 0);
    const damage = await disk("check", path);
    assertEquals([damage.code, damage.out.split("\n")[0]], [4, "1 corruptions, 0 leaked clusters"]);
    assertEquals((await disk("check", path, "--repair", "leaks")).code, 4);
    file.close();
    const repaired = await ok("check", path, "--repair", "all");
    assert(repaired.startsWith("1 corruptions and 0 leaked clusters were repaired\nno damage\n"));
  }));

Deno.test("disk: what cannot be done is refused, by name", () =>
  withFolder(async (folder) => {
    const raw = `${folder}/raw`;
    await Deno.writeFile(raw, new Uint8Array(512));
    const cases: [string[], number, RegExp][] = [
      [["create", raw, "1M"], 1, /it exists already/],
      [["create", `${folder}/x`], 2, /Expected the size of the disk/],
      [["create", `${folder}/x`, "1M", "--backing", "raw"], 2, /--backing-format go together/],
      [["create", `${folder}/x`, "--backing", "no", "--backing-format", "raw"], 1, /no such file/],
      [["create", `${folder}/x`, "1M", "--cluster", "3K"], 2, /expected a power of two/],
      [["create", `${folder}/x`, "1M", "--format", "raw", "--cluster", "4K"], 2, /expected qcow2/],
      [["create", `${folder}/x`, "1000"], 2, /expected a multiple of 512/],
      [["create", `${folder}/x`, "1M", "--format", "qcow"], 2, /Did you mean qcow2\?/],
      [["check", raw, "--format", "qcow2"], 1, /is no qcow2 image/],
      [["check", raw, "--repair", "all"], 2, /a raw image has no tables/],
      [["commit", raw], 1, /is no qcow2 image/],
      [["convert", raw, `${folder}/x`, "--to", "raw", "--cluster", "4K"], 2, /has no clusters/],
      [["info", `${folder}/missing`], 1, /there is no such file/],
    ];
    for (const [words, status, message] of cases) {
      const { code, err } = await disk(...words);
      assert(message.test(err), `${words.join(" ")}: ${err}`);
      assertEquals([words.join(" "), code], [words.join(" "), status]);
    }
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["raw"]);
  }));

Deno.test("disk: an image that another program uses is refused by name, and described all the same", () =>
  withFolder(async (folder) => {
    const [base, top] = [`${folder}/base`, `${folder}/top`];
    await ok("create", base, "1M");
    await ok("create", top, "--backing", "base", "--backing-format", "qcow2");
    const writes: string[][] = [["commit", top], ["check", base, "--repair", "all"]];
    const reads: string[][] = [
      ["check", base],
      ["convert", base, `${folder}/copy`],
      ["create", `${folder}/new`, "--backing", "base", "--backing-format", "qcow2"],
    ];
    for (const exclusive of [true, false]) {
      const lock = hostFiles.tryLock(base, { exclusive, mustExist: true })!;
      for (const words of exclusive ? [...writes, ...reads] : writes) {
        const { code, err } = await disk(...words);
        assertEquals([words.join(" "), code], [words.join(" "), 2]);
        assert(err.includes(`Cannot use "${base}"`), err);
      }
      await ok("info", top);
      lock.release();
    }
    assertEquals(hostFiles.list(folder), ["base", "top"]);
    await Deno.remove(base);
    const gone = await disk("commit", top);
    assertEquals(gone.code, 1);
    assert(gone.err.includes(`"${base}": there is no such file`), gone.err);
    assertEquals(hostFiles.list(folder), ["top"]);
  }));

Deno.test("disk check: a lazily initialised image is checked, and cannot be repaired", () =>
  withFolder(async (folder) => {
    const path = `${folder}/lazy`;
    await ok("create", path, "1M", "--format", "lazy-zero");
    assertEquals(await ok("check", path), "no damage\n0 of 16 blocks initialised\n");
    const found = JSON.parse(await ok("check", path, "--json"));
    assertEquals([found.format, found.corruptions], ["lazy-zero", 0]);
    const repair = await disk("check", path, "--repair", "all");
    assertEquals([repair.code, /nothing to make its tables from/.test(repair.err)], [2, true]);
    await Deno.truncate(path, 65536);
    const short = await disk("check", path);
    assertEquals([short.code, /is cut short/.test(short.err)], [1, true]);
    assertEquals((await disk("check", path, "--format", "qcow2")).code, 1);
  }));

Deno.test("disk check: a raw image has nothing to check", () =>
  withFolder(async (folder) => {
    const path = `${folder}/raw`;
    await ok("create", path, "1M", "--format", "raw");
    assertEquals(
      await ok("check", path),
      "a raw image has nothing to check: all of it is the disk\n",
    );
    const found = JSON.parse(await ok("check", path, "--json"));
    assertEquals(found, { path, format: "raw", corruptions: 0, problems: [] });
  }));

Deno.test("disk check: an image that was not closed is not damaged, and is mended", () =>
  withFolder(async (folder) => {
    const path = `${folder}/image`;
    await ok("create", path, "1M", "--lazy-refcounts");
    const opened = await openQcow2(hostFiles, path, { readOnly: false });
    await opened.write(0, new Uint8Array(65536).fill(7));
    await opened.flush();
    const crashed = `${folder}/crashed`;
    await Deno.copyFile(path, crashed);
    await opened.close();
    const found = await disk("check", crashed);
    assertEquals([found.code, found.err], [3, ""]);
    assert(
      /^the image was not closed: \d+ reference counts and flags are out of date$/m.test(found.out),
    );
    assert(/^no damage$/m.test(found.out), found.out);
    const mended = await ok("check", crashed, "--repair", "leaks");
    assert(/^\d+ reference counts and flags were mended\nno damage\n/.test(mended), mended);
    assertEquals(await ok("check", crashed), "no damage\n1 of 16 clusters allocated\n");

    // With an entry that leads nowhere it is not mended by opening it.
    await Deno.copyFile(path, crashed);
    const file = await Deno.open(crashed, { read: true, write: true });
    const header = new Uint8Array(104);
    await file.read(header);
    const view = new DataView(header.buffer);
    view.setUint32(76, 1);
    await file.seek(0, Deno.SeekMode.Start);
    await file.write(header);
    await file.seek(Number(view.getBigUint64(40)), Deno.SeekMode.Start);
    await file.write(new Uint8Array([0x80, 0, 0xff, 0, 0, 0, 0, 0]));
    file.close();
    const damaged = await disk("check", crashed);
    assertEquals([damaged.code, damaged.out.includes("not closed")], [4, false]);
  }));

peerTest(
  "disk: a terminal is shown how far long work is",
  ["script"],
  () =>
    withFolder(async (folder) => {
      const [raw, top] = [`${folder}/raw`, `${folder}/top`];
      await Deno.writeFile(raw, new Uint8Array(8 * 1024 * 1024).fill(7));
      await ok("create", top, "--backing", "raw", "--backing-format", "raw");
      const cases = [["convert", raw, `${folder}/copy`], ["commit", top]];
      for (const words of cases) {
        const command = [Deno.execPath(), ...ARGUMENTS, ...words].map((word) => `'${word}'`);
        const { code, stdout } = await runPeer("script", ["-qec", command.join(" "), "/dev/null"]);
        const shown = new TextDecoder().decode(stdout);
        assertEquals(code, 0, shown);
        assert(shown.includes("100 %\r\x1b[K"), shown);
      }
    }),
);
