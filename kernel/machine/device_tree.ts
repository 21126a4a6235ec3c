/**
 * The device tree that guests boot with: made from the memory map and the devices on the bus (as QEMU's
 * virt board describes itself; bindings of the Linux kernel's Documentation/devicetree).
 */
import { RAM_START } from "../limits.ts";
import { cells64, flatten, type PropertyValue, type TreeNode } from "./fdt.ts";
import { INTERRUPT_SOURCES, TIMEBASE_HZ, UART_CLOCK_HZ } from "./memory_map.ts";

/** A device as the tree shows it. */
export interface TreeDevice {
  /** Driver name. */
  readonly driver: string;
  readonly compatible: readonly string[];
  readonly base: number;
  readonly window: number;
  readonly irq: number;
}

/** What the tree is made of. */
export interface TreeOptions {
  readonly harts: number;
  readonly ramBytes: number;
  /** Kernel command line. */
  readonly append: string;
  readonly initrd?: { readonly start: number; readonly end: number };
  readonly devices: readonly TreeDevice[];
  /** Seed for the guest's random number generator. */
  readonly rngSeed?: Uint8Array;
}

/** Extensions that the tree announces (canonical order, unprivileged ISA "ISA Extension Naming"). */
export const ISA_EXTENSIONS = [
  "i",
  "m",
  "a",
  "f",
  "d",
  "c",
  "zicbom",
  "zicboz",
  "zicntr",
  "zicsr",
  "zifencei",
  "zihpm",
  "zba",
  "zbb",
  "zbs",
  "sstc",
  "svadu",
  "svinval",
] as const;

const ISA_STRING = `rv64imafdc_${ISA_EXTENSIONS.slice(6).join("_")}`;

const PLIC_PHANDLE = 0x100;
const TEST_PHANDLE = 0x101;
const cpuPhandle = (hart: number) => 1 + hart;
/** Interrupt numbers of a hart's local controller. */
const LOCAL = { software: 3, timer: 7, machineExternal: 11, supervisorExternal: 9 } as const;

const hex = (value: number) => value.toString(16);
const region = (base: number, bytes: number): number[] => [...cells64(base), ...cells64(bytes)];

function cpuNode(hart: number): TreeNode {
  return {
    name: `cpu@${hex(hart)}`,
    properties: {
      device_type: "cpu",
      reg: [hart],
      status: "okay",
      compatible: "riscv",
      "riscv,isa": ISA_STRING,
      "riscv,isa-base": "rv64i",
      "riscv,isa-extensions": ISA_EXTENSIONS,
      "riscv,cbom-block-size": [64],
      "riscv,cboz-block-size": [64],
      "mmu-type": "riscv,sv57",
    },
    children: [{
      name: "interrupt-controller",
      properties: {
        "#interrupt-cells": [1],
        "interrupt-controller": true,
        compatible: "riscv,cpu-intc",
        phandle: [cpuPhandle(hart)],
      },
    }],
  };
}

/** Properties that a driver's node has beyond register window and interrupt. */
function extra(device: TreeDevice, harts: number): Record<string, PropertyValue> {
  const perHart = (...numbers: number[]) =>
    Array.from({ length: harts }, (_, hart) => numbers.flatMap((n) => [cpuPhandle(hart), n]))
      .flat();
  switch (device.driver) {
    case "plic":
      return {
        "#interrupt-cells": [1],
        "#address-cells": [0],
        "interrupt-controller": true,
        "interrupts-extended": perHart(LOCAL.machineExternal, LOCAL.supervisorExternal),
        "riscv,ndev": [INTERRUPT_SOURCES],
        phandle: [PLIC_PHANDLE],
      };
    case "aclint":
      return { "interrupts-extended": perHart(LOCAL.software, LOCAL.timer) };
    case "uart16550":
      return { "clock-frequency": [UART_CLOCK_HZ] };
    case "syscon":
      return { phandle: [TEST_PHANDLE] };
    default:
      return {};
  }
}

const NODE_NAMES: Readonly<Record<string, string>> = {
  uart16550: "serial",
  aclint: "clint",
  goldfish_rtc: "rtc",
  syscon: "test",
  vmgenid: "rng",
};

/** Name of a device's node. */
function nodeName(device: TreeDevice): string {
  const name = device.driver.startsWith("virtio_") ? "virtio_mmio" : NODE_NAMES[device.driver];
  return `${name ?? device.driver}@${hex(device.base)}`;
}

function deviceNode(device: TreeDevice, harts: number): TreeNode {
  return {
    name: nodeName(device),
    properties: {
      compatible: device.compatible,
      reg: region(device.base, device.window),
      ...(device.irq === 0 ? {} : { "interrupt-parent": [PLIC_PHANDLE], interrupts: [device.irq] }),
      ...extra(device, harts),
    },
  };
}

function powerNode(name: string, value: number): TreeNode {
  return {
    name,
    properties: {
      compatible: `syscon-${name}`,
      regmap: [TEST_PHANDLE],
      offset: [0],
      value: [value],
    },
  };
}

function chosenNode(options: TreeOptions): TreeNode {
  const { initrd, rngSeed, devices } = options;
  const serial = devices.find((device) => device.driver === "uart16550");
  return {
    name: "chosen",
    properties: {
      ...(options.append === "" ? {} : { bootargs: options.append }),
      ...(serial ? { "stdout-path": `/soc/${nodeName(serial)}` } : {}),
      ...(initrd
        ? {
          "linux,initrd-start": cells64(initrd.start),
          "linux,initrd-end": cells64(initrd.end),
        }
        : {}),
      ...(rngSeed ? { "rng-seed": rngSeed } : {}),
    },
  };
}

/** Builds the blob. */
export function buildDeviceTree(options: TreeOptions): Uint8Array {
  const { harts, ramBytes, devices } = options;
  const harts0 = Array.from({ length: harts }, (_, hart) => hart);
  return flatten({
    name: "",
    properties: {
      "#address-cells": [2],
      "#size-cells": [2],
      compatible: "riscv-virtio",
      model: "riscv-virtio,chronovisor",
    },
    children: [
      chosenNode(options),
      {
        name: `memory@${hex(RAM_START)}`,
        properties: { device_type: "memory", reg: region(RAM_START, ramBytes) },
      },
      {
        name: "cpus",
        properties: {
          "#address-cells": [1],
          "#size-cells": [0],
          "timebase-frequency": [TIMEBASE_HZ],
        },
        children: harts0.map(cpuNode),
      },
      powerNode("poweroff", 0x5555),
      powerNode("reboot", 0x7777),
      {
        name: "soc",
        properties: {
          "#address-cells": [2],
          "#size-cells": [2],
          compatible: "simple-bus",
          ranges: true,
        },
        children: devices.map((device) => deviceNode(device, harts)),
      },
    ],
  });
}
