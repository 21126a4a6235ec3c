/** What the server of the page gives, and what it does not. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { MACHINE_VERSION } from "../../kernel/machine/version.ts";
import {
  formatRecordingManifest,
  RECORDING_VERSION,
  type RecordingManifest,
} from "../../kernel/replay/manifest.ts";
import { HostError } from "../../mod.ts";
import { buildPage } from "./build.ts";
import type { FileList } from "./messages.ts";
import { serveRecording } from "./serve.ts";

const MANIFEST: Omit<RecordingManifest, "images"> = {
  format: "chronovisor recording",
  version: RECORDING_VERSION,
  created: "",
  name: "test",
  machine: {
    version: MACHINE_VERSION,
    memoryBytes: 65536,
    harts: 1,
    append: "",
    bios: "none",
    clock: "virtual",
    seed: 0,
    wallStart: "0",
    disks: [],
  },
  start: "power-on",
  shows: "console",
  console: "uart0",
};

/** Serves a folder with a secret beside it while the body runs. */
async function withServed(body: (url: string, parent: string) => Promise<void>): Promise<void> {
  const parent = await Deno.makeTempDir();
  const folder = `${parent}/recording`;
  await Deno.mkdir(`${folder}/images`, { recursive: true });
  await Deno.writeTextFile(`${parent}/secret`, "secret");
  await Deno.writeTextFile(`${parent}/kernel.bin`, "0123456789");
  await Deno.writeTextFile(`${folder}/events-000000.log`, "events");
  await Deno.writeTextFile(`${folder}/images/0a`, "kept");
  await Deno.writeTextFile(`${folder}/notes.txt`, "notes");
  await Deno.symlink(`${parent}/secret`, `${folder}/outputs-000000.log`);
  const image = { role: "kernel", path: `${parent}/kernel.bin`, bytes: 10, sha256: null };
  const manifest = formatRecordingManifest({ ...MANIFEST, images: [image] });
  await Deno.writeTextFile(`${folder}/manifest.json`, manifest);
  try {
    await using served = await serveRecording(folder);
    await body(served.url, parent);
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
}

/** Status line and body of a request that is sent as it is written. */
async function raw(url: string, request: string): Promise<string> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  await connection.write(new TextEncoder().encode(request));
  return await new Response(connection.readable).text();
}

Deno.test("the recording's files and its manifest's images are listed and served", async () => {
  await withServed(async (url, parent) => {
    const { folder, files }: FileList = await (await fetch(`${url}recording.json`)).json();
    assertEquals(files.map(({ path, from, bytes }) => [path, from, bytes]), [
      [`${folder}/events-000000.log`, "recording/events-000000.log", 6],
      [
        `${folder}/manifest.json`,
        "recording/manifest.json",
        (await Deno.stat(`${folder}/manifest.json`)).size,
      ],
      [`${folder}/images/0a`, "recording/images/0a", 4],
      [`${parent}/kernel.bin`, "image/kernel", 10],
    ]);
    assertEquals(await (await fetch(`${url}recording/events-000000.log`)).text(), "events");
    assertEquals(await (await fetch(`${url}recording/images/0a`)).text(), "kept");
    assertEquals(await (await fetch(`${url}image/kernel`)).text(), "0123456789");
  });
});

Deno.test("every answer has the headers that isolate the page", async () => {
  await withServed(async (url) => {
    for (const path of ["", "page.js", "recording.json", "image/kernel", "nothing"]) {
      const answer = await fetch(url + path);
      await answer.body?.cancel();
      const { headers } = answer;
      assertEquals(headers.get("cross-origin-opener-policy"), "same-origin", path);
      assertEquals(headers.get("cross-origin-embedder-policy"), "require-corp", path);
      assertEquals(headers.get("cross-origin-resource-policy"), "same-origin", path);
    }
  });
});

Deno.test("nothing else is served: no other file, no way out of the folder, no link", async () => {
  await withServed(async (url, parent) => {
    const paths = [
      "recording/notes.txt",
      "recording/outputs-000000.log",
      "recording/../secret",
      "recording/%2e%2e/secret",
      "recording/..%2fsecret",
      "recording/images/../../secret",
      "image/initrd",
      "image/../secret",
      "recording/",
      parent.slice(1) + "/secret",
    ];
    for (const path of paths) {
      const request = `GET /${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
      const answer = await raw(url, request);
      assertEquals(answer.slice(0, 12), "HTTP/1.1 404", path);
      assert(!answer.includes("secret"), path);
    }
  });
});

Deno.test("other methods and other names of this computer are refused", async () => {
  await withServed(async (url) => {
    const post = await fetch(`${url}recording.json`, { method: "POST", body: "" });
    assertEquals([post.status, await post.text()], [405, "405\n"]);
    const request = "GET / HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n";
    assertEquals((await raw(url, request)).slice(0, 12), "HTTP/1.1 403");
  });
});

Deno.test("parts of a file are served as asked for", async () => {
  await withServed(async (url) => {
    const ask = async (range: string) => {
      const answer = await fetch(`${url}image/kernel`, { headers: { range } });
      return [answer.status, answer.headers.get("content-range"), await answer.text()];
    };
    assertEquals(await ask("bytes=2-4"), [206, "bytes 2-4/10", "234"]);
    assertEquals(await ask("bytes=8-"), [206, "bytes 8-9/10", "89"]);
    assertEquals(await ask("bytes=8-100"), [206, "bytes 8-9/10", "89"]);
    for (const range of ["bytes=10-", "bytes=5-4", "bytes=-3", "bytes=a-b"]) {
      assertEquals((await ask(range))[0], 416, range);
    }
  });
});

Deno.test("a folder that is no recording is refused", async () => {
  await assertRejects(() => serveRecording("/nowhere"), HostError, '"/nowhere" is no recording');
});

Deno.test("nothing of Deno or node is in the page's code", async () => {
  const page = await buildPage();
  assertEquals([...page.keys()].sort(), [
    "index.html",
    "page.js",
    "replay_worker.js",
    "style.css",
  ]);
  for (const name of ["page.js", "replay_worker.js"]) {
    const code = new TextDecoder().decode(page.get(name)!.bytes);
    assertEquals(/.{40}(\bDeno\b|\bfrom"|\bnode:|\brequire\().{0,40}/.exec(code), null, name);
  }
});
