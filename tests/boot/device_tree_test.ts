/** The device tree, read by the device tree compiler. */
import { assert, assertEquals } from "@std/assert";
import { buildDeviceTree } from "../../kernel/machine/device_tree.ts";
import { testMachine } from "../_support/machine.ts";
import { peerTest } from "../_support/peers.ts";

function treeOfBoard(harts: number): Uint8Array {
  const kernel = { kind: "raw", bytes: new Uint8Array(4) } as const;
  const machine = testMachine({ kernel, harts, disks: [{ sectors: 8, readOnly: false }] });
  return buildDeviceTree({
    harts,
    ramBytes: 64 << 20,
    append: "console=ttyS0",
    initrd: { start: 0x8400_0000, end: 0x8401_0000 },
    rngSeed: new Uint8Array(32).fill(7),
    devices: machine.devices.map(({ declaration, base, irq }) => ({
      driver: declaration.name,
      compatible: declaration.compatible,
      window: declaration.window,
      base,
      irq,
    })),
  });
}

peerTest("dtc reads the tree without an error and shows the board", ["dtc"], async () => {
  const file = await Deno.makeTempFile({ suffix: ".dtb" });
  try {
    await Deno.writeFile(file, treeOfBoard(4));
    const command = new Deno.Command("dtc", { args: ["-I", "dtb", "-O", "dts", file] });
    const { success, stdout, stderr } = await command.output();
    const text = new TextDecoder().decode(stdout);
    const complaints = new TextDecoder().decode(stderr);
    assertEquals(success, true, complaints);
    assertEquals(/ERROR|FATAL/.test(complaints), false, complaints);
    assertEquals(text.match(/cpu@\d/g)?.length, 4);
    for (
      const node of ["serial@10000000", "plic@c000000", "clint@2000000", "virtio_mmio@10001000"]
    ) {
      assert(text.includes(node), `${node} is missing`);
    }
    assert(text.includes('bootargs = "console=ttyS0"'));
  } finally {
    await Deno.remove(file);
  }
});
