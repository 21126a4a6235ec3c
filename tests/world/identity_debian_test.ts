/**
 * A real Debian that is told that it is a copy, and what time it is: its name, its card's address, its clocks,
 * its random numbers; and the same again from a recording.
 */
import { assert, assertEquals } from "@std/assert";
import { seededIdentity } from "../../kernel/base/identity.ts";
import { type VM, VMKernel } from "../../mod.ts";
import { debianTest } from "../_support/debian.ts";

const HOUR = 3_600_000_000_000n;

/** Runs shell lines that must succeed; gives the lines that they print. */
async function shell(vm: VM, lines: string): Promise<string[]> {
  const { status, text, stderr } = await vm.exec(["sh", "-ec", lines]);
  assertEquals(status, 0, `${text}${new TextDecoder().decode(stderr)}`);
  return text.trim().split("\n");
}

const WHO =
  "hostname; cat /sys/class/net/eth0/address; date +%s; cat /sys/class/rtc/rtc0/since_epoch";
const LOST = "dmesg | grep -c 'reseeded due to virtual machine fork' || true";

debianTest("a Debian becomes another one: name, address, clocks, entropy", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using kernel = await VMKernel.start();
    const record = `${folder}/recording`;
    const vm = await kernel.powerOn({ guest: "debian", memory: "256M", clock: "host", record });
    const first = await shell(vm, `${WHO}; ${LOST}`);
    assertEquals([first[0], first[1], first[4]], ["debian", vm.identity!.mac, "0"]);
    await shell(vm, "ip address add 10.0.0.1/24 dev eth0; ip link set eth0 up");
    const identity = kernel.identities.newIdentity({ name: "web 2", parent: vm.identity });
    const wallNanoseconds = BigInt(Date.now()) * 1_000_000n + HOUR;
    const outcome = await vm.announceIdentity({
      identity,
      isClone: true,
      wallNanoseconds,
      answerMilliseconds: 60_000,
    });
    assertEquals(outcome, { agent: "told", refused: [] });
    assertEquals(vm.agent?.version, 2);
    const [name, mac, date, rtc] = await shell(vm, WHO);
    assertEquals([name, mac], ["web-2", identity.mac]);
    const moment = Number(wallNanoseconds / 1_000_000_000n);
    for (const seconds of [date, rtc]) {
      const behind = Number(seconds) - moment;
      assert(behind >= -1 && behind < 600, `${behind} seconds after the moment that was told`);
    }
    assertEquals(await shell(vm, LOST), ["1"]);
    const link = (await shell(vm, "ip -o address show dev eth0; ip link show eth0")).join("\n");
    assert(link.includes("10.0.0.1/24") && /[<,]UP[,>]/.test(link), link);
    // It goes on as it is: the time alone is told.
    const later = await vm.announceIdentity({
      identity,
      isClone: false,
      wallNanoseconds: wallNanoseconds + HOUR,
      answerMilliseconds: 60_000,
    });
    assertEquals(later, { agent: "told", refused: [] });
    const [sameName, sameMac, laterDate] = await shell(vm, WHO);
    assertEquals([sameName, sameMac], ["web-2", identity.mac]);
    assert(Number(laterDate) - moment >= 3599);
    await vm.powerOff();
    const replayed = await kernel.replay(record, { verify: true });
    const { replay } = await replayed.waitForExit();
    assert(replay?.kind === "end" && replay.epochs > 0, JSON.stringify(replay));
    assertEquals(replayed.identity?.hostname, "debian");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

debianTest(
  "a Debian without a card has nothing to change, and draws from what it is given",
  async () => {
    await using kernel = await VMKernel.start();
    const vm = await kernel.powerOn({ guest: "debian", memory: "256M", clock: "virtual", seed: 4 });
    const unbind = "/sys/bus/virtio/drivers/virtio_net/unbind";
    await shell(vm, `basename $(readlink /sys/class/net/eth0/device) > ${unbind}`);
    assertEquals(await shell(vm, "[ -e /sys/class/net/eth0 ] && echo card || echo none"), ["none"]);
    const identity = seededIdentity(9, "quiet");
    const outcome = await vm.announceIdentity({
      identity,
      isClone: true,
      entropy: kernel.identities.entropyFor(identity, 64, 4),
      answerMilliseconds: 60_000,
    });
    assertEquals(outcome, { agent: "told", refused: [] });
    assertEquals(await shell(vm, "hostname; date +%Y"), ["quiet", "2026"]);
    await vm.powerOff();
  },
);
