/**
 * Recordings replayed in a real browser (issue 4): the same digest and the same console as here, and clear
 * words about a recording that cannot be replayed.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { concatBytes, latin1 } from "../../kernel/base/bytes.ts";
import { denoHost } from "../../kernel/host/deno_host.ts";
import { LogEncoder } from "../../kernel/replay/log_encoder.ts";
import { frame, segmentHeader } from "../../kernel/replay/log_format.ts";
import { OUTPUT_RECORD } from "../../kernel/replay/record_table.ts";
import { type PowerOnOptions, type VM, VMKernel } from "../../mod.ts";
import { ConsoleText } from "../../tools/browser/console_text.ts";
import { type ReplayEnding, replayRecording } from "../../tools/browser/replay.ts";
import { serveRecording } from "../../tools/browser/serve.ts";
import { CHROMIUM, Chromium, type Page } from "../_support/chromium.ts";
import { hasDebian } from "../_support/debian.ts";
import { peerTest } from "../_support/peers.ts";
import { Program } from "../_support/program.ts";

/** Any state in which the page has come to an end. */
const OVER = "#state:is(.end, .cut, .diverged, .failed)";
const SECONDS = 240;
/** How much of Debian's boot is recorded: the kernel has found its memory and its devices by then. */
const DEBIAN_INSTRUCTIONS = 120_000_000;

const delay = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

/** A recording in a folder that is removed. */
interface Recorded extends AsyncDisposable {
  readonly folder: string;
  /** What the VM printed. */
  readonly console: Uint8Array;
}

/** Records a VM to its end; `during` does something with it on the way. */
async function record(
  options: PowerOnOptions,
  during?: (vm: VM) => Promise<void>,
): Promise<Recorded> {
  const parent = await Deno.makeTempDir({ prefix: "recorded" });
  const folder = `${parent}/recording`;
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({ ...options, record: { folder } });
  const parts: Uint8Array[] = [];
  const printing = (async () => {
    for await (const bytes of vm.console.readable) parts.push(bytes);
  })();
  await during?.(vm);
  await vm.waitForExit();
  await printing;
  return {
    folder,
    console: concatBytes(parts),
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

/** Stops a VM from outside, once it has executed so much. */
async function stopAt(vm: VM, icount: number): Promise<void> {
  while (vm.icount < icount) await delay(5);
  await vm.powerOff();
}

/** What the page shows of a console. */
function shownText(bytes: Uint8Array): string {
  const text = new ConsoleText();
  return text.push(bytes) + text.line;
}

/** Replays a recording in this thread. */
async function replayHere(folder: string): Promise<ReplayEnding & { readonly console: string }> {
  const printed: Uint8Array[] = [];
  const ending = await replayRecording(denoHost, denoHost.clock, folder, {
    began: () => {},
    printed: (bytes) => printed.push(bytes.slice()),
    progress: () => {},
  });
  return { ...ending, console: latin1(concatBytes(printed)) };
}

/**
 * Replays a recording in the browser, and compares with the VM and with a replay here. That the state is
 * the recorded machine's is said by the epoch that every recording ends with.
 */
async function compare(
  chromium: Chromium,
  { folder, console }: Recorded,
): Promise<ReplayEnding> {
  const here = await replayHere(folder);
  assertEquals(here.kind, "end", here.text);
  assertEquals(here.console, latin1(console));
  assert(here.epochs > 0);
  await using served = await serveRecording(folder);
  const page = await chromium.open(served.url);
  await page.waitFor(OVER, SECONDS);
  assertEquals(await result(page), {
    state: "end",
    ending: here.text,
    digest: here.digest,
    epochs: `${here.epochs}`,
    console: shownText(console),
  });
  assertMatch((await page.text("#progress"))!, new RegExp(`^${here.icount} instructions, `));
  assertEquals(page.errors, []);
  return here;
}

async function result(page: Page): Promise<Record<string, string | undefined>> {
  const names = ["state", "ending", "digest", "epochs", "console"];
  const texts = await Promise.all(names.map((name) => page.text(`#${name}`)));
  return Object.fromEntries(names.map((name, i) => [name, texts[i]]));
}

for (const clock of ["virtual", "host", "exact"] as const) {
  peerTest(
    `hello under the ${clock} clock is the same machine in a browser`,
    [CHROMIUM],
    async () => {
      await using recorded = await record({ guest: "hello", clock });
      await using chromium = await Chromium.start();
      const { text } = await compare(chromium, recorded);
      assertStringIncludes(latin1(recorded.console), "disk says: greetings");
      assertEquals(text, "The guest switched itself off with code 0.");
    },
  );

  // With an exact clock a boot differs in where its time comes from, which hello asks for too.
  if (clock === "exact") continue;
  const missing = hasDebian() ? [] : ["Debian's guest (`deno task guests fetch debian`)"];
  peerTest(
    `a boot of Debian under the ${clock} clock is the same machine in a browser`,
    [CHROMIUM, ...missing],
    async () => {
      const append = "earlycon=sbi ignore_loglevel";
      const options = { guest: "debian", memory: "256M", clock, append } as const;
      await using recorded = await record(options, (vm) => stopAt(vm, DEBIAN_INSTRUCTIONS));
      await using chromium = await Chromium.start();
      const { icount } = await compare(chromium, recorded);
      assert(icount >= DEBIAN_INSTRUCTIONS);
      assertStringIncludes(latin1(recorded.console), "Kernel command line: console=ttyS0");
    },
  );
}

/** A guest that echoes what is typed; r resets it, q switches it off. */
function echoingGuest(): Uint8Array<ArrayBuffer> {
  const [uart, test, status, typed, command] = [5, 6, 7, 28, 29];
  const program = new Program(0x8000_0000 | 0);
  const [noReset, wait] = [{}, {}];
  program.set(uart, 0x1000_0000);
  program.set(test, 0x10_0000);
  program.place(wait);
  program.op("lbu", { rd: status, rs1: uart, imm: 5 });
  program.op("andi", { rd: status, rs1: status, imm: 1 });
  program.to("beq", wait, { rs1: status });
  program.op("lbu", { rd: typed, rs1: uart });
  program.op("sb", { rs1: uart, rs2: typed });
  program.op("addi", { rd: status, imm: "r".charCodeAt(0) });
  program.to("bne", noReset, { rs1: typed, rs2: status });
  program.set(command, 0x7777);
  program.op("sw", { rs1: test, rs2: command });
  program.place(noReset);
  program.op("addi", { rd: status, imm: "q".charCodeAt(0) });
  program.to("bne", wait, { rs1: typed, rs2: status });
  program.set(command, 0x5555);
  program.op("sw", { rs1: test, rs2: command });
  program.to("jal", wait);
  return program.bytes();
}

peerTest(
  "a guest that is typed at and resets itself does so in a browser",
  [CHROMIUM],
  async () => {
    const options = { kernel: echoingGuest(), bios: "none", memory: "16M", clock: "host" } as const;
    await using recorded = await record(options, async (vm) => {
      for (const text of ["one ", "r", "two", "q"]) {
        await vm.console.write(text);
        const before = vm.icount;
        while (vm.state === "running" && vm.icount < before + 1_000_000) await delay(5);
      }
    });
    assertEquals(latin1(recorded.console), "one rtwoq");
    await using chromium = await Chromium.start();
    await compare(chromium, recorded);
  },
);

peerTest(
  "a recording that began with a running VM is the same in a browser",
  [CHROMIUM],
  async () => {
    const options = { kernel: echoingGuest(), bios: "none", memory: "16M", clock: "host" } as const;
    const parent = await Deno.makeTempDir({ prefix: "recorded" });
    const folder = `${parent}/recording`;
    try {
      await using kernel = await VMKernel.start();
      const vm = await kernel.powerOn(options);
      await vm.console.write("one ");
      while (vm.icount < 1_000_000) await delay(5);
      await vm.startRecording({ folder });
      await vm.console.write("two q");
      await vm.waitForExit();
      await using chromium = await Chromium.start();
      const console = new TextEncoder().encode("two q");
      const recorded = { folder, console, [Symbol.asyncDispose]: () => Promise.resolve() };
      const { icount, executed } = await compare(chromium, recorded);
      assert(executed <= icount - 1_000_000);
    } finally {
      await Deno.remove(parent, { recursive: true });
    }
  },
);

/** A ledger in which a serial port sends one byte and nothing else. */
function otherLedger(): Uint8Array {
  const encoder = new LogEncoder();
  const fields = ["uart0", 0, new TextEncoder().encode("!")];
  encoder.add(OUTPUT_RECORD.console, { icount: 0, ticks: 0, hart: 0 }, fields);
  const cluster = encoder.take()!;
  return concatBytes([segmentHeader("outputs", 0), frame(cluster, cluster.bytes)]);
}

/** Flips a bit of the last byte. */
function damaged(bytes: Uint8Array): Uint8Array {
  bytes[bytes.length - 1]! ^= 1;
  return bytes;
}

peerTest(
  "the page says what is wrong with a recording, and takes another",
  [CHROMIUM],
  async () => {
    await using recorded = await record({ guest: "hello", clock: "virtual" });
    const { folder } = recorded;
    const { digest } = await replayHere(folder);
    await using chromium = await Chromium.start();
    await using served = await serveRecording(folder);
    const opened = async () => {
      const page = await chromium.open(served.url);
      await page.waitFor(OVER, SECONDS);
      return page;
    };
    const withChange = async (name: string, how: (bytes: Uint8Array) => Uint8Array) => {
      const before = await Deno.readFile(`${folder}/${name}`);
      await Deno.writeFile(`${folder}/${name}`, how(before.slice()));
      const { state, ending } = await result(await opened());
      await Deno.writeFile(`${folder}/${name}`, before);
      return `${state}: ${ending}`;
    };
    const { images } = JSON.parse(await Deno.readTextFile(`${folder}/manifest.json`));
    const { kept } = images.find(({ role }: { readonly role: string }) => role === "kernel");
    const cut = await withChange("events-000000.log", damaged);
    assertEquals(cut, "cut: The recording was cut here: a frame's checksum does not hold");
    const empty = await withChange("manifest.json", () => new Uint8Array());
    assertMatch(empty, /^failed: .*manifest.json" is no JSON/);
    assertMatch(await withChange(kept, damaged), /^failed: .*has changed since the recording/);
    assertMatch(
      await withChange("outputs-000000.log", otherLedger),
      /^diverged: The replay differs from the recording: .* the recording sends 33$/,
    );
    const elsewhere = folder.replace(/recording$/, kept.slice("images/".length));
    await Deno.rename(`${folder}/${kept}`, elsewhere);
    const page = await opened();
    const { state, ending } = await result(page);
    assertMatch(
      `${state}: ${ending}`,
      /^failed: .* kernel image is missing: .* not among the files/,
    );
    await page.choose("#images", [elsewhere]);
    await page.choose("#folder", [folder]);
    await page.waitFor("#state.end", SECONDS);
    assertEquals(await page.text("#digest"), digest);
  },
);
