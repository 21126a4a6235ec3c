/** The device tree, read by the device tree compiler. */
import { assert, assertEquals } from "@std/assert";
import { buildDeviceTree } from "../../kernel/machine/device_tree.ts";
import { MACHINE_VERSION } from "../../kernel/machine/version.ts";
import { testMachine } from "../_support/machine.ts";
import { peerTest } from "../_support/peers.ts";

function treeOfBoard(harts: number, machineVersion = MACHINE_VERSION): Uint8Array {
  const kernel = { kind: "raw", bytes: new Uint8Array(4) } as const;
  const machine = testMachine({
    kernel,
    machineVersion,
    harts,
    disks: [{ sectors: 8, readOnly: false }],
  });
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

/** What dtc makes of a tree, without a complaint. */
async function source(tree: Uint8Array): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".dtb" });
  try {
    await Deno.writeFile(file, tree);
    const command = new Deno.Command("dtc", { args: ["-I", "dtb", "-O", "dts", file] });
    const { success, stdout, stderr } = await command.output();
    const complaints = new TextDecoder().decode(stderr);
    assert(success && !/rng|vmgenid/.test(complaints), complaints);
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(file);
  }
}

peerTest("the generation ID is a node by its binding, from version 3 on", ["dtc"], async () => {
  const text = await source(treeOfBoard(1));
  const node = /rng@102000 \{([^}]*)\}/.exec(text)?.[1] ?? "";
  const properties = node.trim().split(/\s*;\s*/).filter((line) => line !== "").sort();
  assertEquals(properties, [
    'compatible = "microsoft,vmgenid"',
    "interrupt-parent = <0x100>",
    "interrupts = <0x0c>",
    "reg = <0x00 0x102000 0x00 0x1000>",
  ]);
  assertEquals((await source(treeOfBoard(1, 2))).includes("rng@"), false);
});

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
