/** Our own small guests: the same image here and under QEMU, exit codes, and refused images. */
import { assertEquals, assertRejects } from "@std/assert";
import { FormatError } from "../../kernel/base/errors.ts";
import { readImage } from "../../kernel/machine/image.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { peerTest, runPeer } from "../_support/peers.ts";

const FOLDER = new URL("../../guests/hello/", import.meta.url);

function lines(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => line.startsWith("hello:"));
}

async function runHello(): Promise<{ text: string; code: number }> {
  const kernel = await readImage(await Deno.readFile(new URL("hello.elf", FOLDER)));
  const disk = await Deno.readFile(new URL("disk.img", FOLDER));
  const machine = testMachine({
    kernel,
    bios: "builtin",
    disks: [{ sectors: disk.length / 512, readOnly: true }],
  });
  const { stop, console } = runToEnd(machine, {
    onOutput(output) {
      if (output.kind !== "disk") return;
      const { tag, sector, length } = output.request;
      machine.gate.deliver({
        kind: "disk",
        device: `disk${output.disk}`,
        tag,
        status: 0,
        data: disk.slice(sector * 512, sector * 512 + length),
      });
    },
  });
  return { text: console, code: stop.kind === "off" ? stop.code : -1 };
}

Deno.test("hello turns paging on, takes interrupts, reads its disk and powers off", async () => {
  const { text, code } = await runHello();
  assertEquals(code, 0);
  assertEquals(lines(text), [
    "hello: hart 0 in supervisor mode",
    "hello: translation on, reading through an alias: Sv39",
    "hello: timer interrupt taken",
    "hello: UART interrupt taken",
    "hello: disk says: greetings from sector 0",
    "hello: good bye",
  ]);
});

peerTest("hello says the same under QEMU", ["qemu-system-riscv64"], async () => {
  const path = (name: string) => new URL(name, FOLDER).pathname;
  const drive = `file=${path("disk.img")},if=none,id=d,format=raw,readonly=on`;
  const { stdout } = await runPeer("qemu-system-riscv64", [
    ...["-M", "virt", "-m", "64M", "-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-kernel", path("hello.elf"), "-drive", drive],
    ...["-device", "virtio-blk-device,drive=d", "-global", "virtio-mmio.force-legacy=false"],
  ]);
  const ours = await runHello();
  assertEquals(lines(new TextDecoder().decode(stdout)), lines(ours.text));
});

Deno.test("a 32-bit ELF file is refused by name", async () => {
  const bytes = new Uint8Array(64);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  await assertRejects(() => readImage(bytes), FormatError, "32-bit");
});
