/** A recording of Debian with network traffic, exported by the command line and read by other tools. */
import { assert, assertEquals } from "@std/assert";
import { VMKernel } from "../../mod.ts";
import { debianTest } from "../_support/debian.ts";
import { hasPeer, runPeer } from "../_support/peers.ts";

const MAIN = new URL("../../tools/cli/main.ts", import.meta.url).pathname;
const ROOT = new URL("../../", import.meta.url).pathname;
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

async function replay(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", MAIN, "replay", ...words],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  return { code, out: text(stdout), err: text(stderr) };
}

/** Records a guest that asks for a neighbour on a network that sends all back; gives what it printed. */
async function recordTraffic(folder: string): Promise<string> {
  await using kernel = await VMKernel.start();
  const vm = await kernel.powerOn({
    guest: "debian",
    memory: "256M",
    clock: "virtual",
    network: "loopback",
    shows: "command",
    record: folder,
  });
  const lines = `ip link set eth0 up; ip address add 10.0.0.1/24 dev eth0
    until [ "$(cat /sys/class/net/eth0/statistics/rx_packets)" -gt 0 ]; do
      ping -c 1 -W 1 10.0.0.2 > /dev/null && echo somebody answered
    done
    echo nobody answered`;
  const { text } = await vm.exec(lines);
  await vm.powerOff();
  return text;
}

/** The direction bits of a packet's flags word (pcapng, section 4.3.1), as tshark prints the field. */
const [INBOUND, OUTBOUND] = ["0x00000001", "0x00000002"];

async function checkCapture(path: string): Promise<void> {
  const fields = ["frame.time_epoch", "frame.packet_flags_direction", "frame.interface_name"];
  const { code, stdout } = await runPeer("tshark", [
    ...["-r", path, "-Y", "arp.dst.proto_ipv4 == 10.0.0.2", "-T", "fields"],
    ...fields.flatMap((field) => ["-e", field]),
  ]);
  assertEquals(code, 0);
  const packets = text(stdout).trim().split("\n").map((line) => line.split("\t"));
  assert(packets.length >= 2, text(stdout));
  // Each goes out and then comes back; idle virtual time may jump to the next before it does.
  let away = 0;
  for (const [time, flags, name] of packets) {
    // The virtual wall clock begins with 2026; it goes on while the guest waits for a busy host.
    const seconds = Number(time) - Date.UTC(2026) / 1000;
    assert(seconds > 0 && seconds < 24 * 3600, time);
    assertEquals(name, "net0");
    away += flags === OUTBOUND ? 1 : flags === INBOUND ? -1 : NaN;
    assert(away >= 0, `more came back than went out:\n${text(stdout)}`);
  }
  assert(packets.some(([, flags]) => flags === INBOUND), text(stdout));
}

debianTest("traffic and output of a recorded command can be read by other tools", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const recording = `${folder}/recording`;
    const printed = await recordTraffic(recording);
    assertEquals(printed, "nobody answered\n");
    const [pcap, events] = [`${folder}/net.pcapng`, `${folder}/events.jsonl`];
    const { code, out, err } = await replay(
      ...["export", recording, "--pcap", pcap, "--events", events, "--console", "-"],
    );
    assertEquals({ code, out, err }, { code: 0, out: printed, err: "" });
    const lines = (await Deno.readTextFile(events)).trimEnd().split("\n")
      .map((line) => JSON.parse(line));
    const places = lines.map(({ icount }) => icount as number);
    assertEquals(places, places.toSorted((a, b) => a - b));
    assertEquals(lines.at(-1), { ...lines.at(-1), kind: "end", why: "stopped" });
    if (hasPeer("tshark")) await checkCapture(pcap);

    const nothing = await replay("export", recording);
    assertEquals(nothing.code, 2);
    assert(nothing.err.includes("expected --pcap FILE, --console FILE, --events FILE"));
    const twice = await replay("export", recording, "--pcap", "-", "--console", "-");
    assert(twice.err.includes('"-" was given twice'), twice.err);
    const missing = await replay("export", recording, "--pcap", `${folder}/none/x`);
    assertEquals(missing.code, 1);
    assert(missing.err.startsWith(`chronovisor: Cannot write "${folder}/none/x": `), missing.err);

    const log = `${recording}/outputs-000000.log`;
    const { size } = await Deno.stat(log);
    await Deno.truncate(log, size - 1);
    const cut = await replay("export", recording, "--pcap", pcap);
    assertEquals(cut.code, 0);
    const warning =
      "chronovisor: the log of outputs is cut, and so is the export: a frame is cut\n";
    assertEquals(cut.err, warning);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
