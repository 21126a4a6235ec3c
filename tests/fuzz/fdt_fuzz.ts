/**
 * Fuzz target for flattened device trees: a blob, read back by a second, naive reader of the format
 * (Devicetree Specification, chapter 5), has the nodes and properties it was made from, in order.
 */
import { assert } from "../../kernel/base/assert.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { flatten, type PropertyValue, type TreeNode } from "../../kernel/machine/fdt.ts";
import type { FuzzTarget } from "./engine.ts";
import { edge32 } from "./support.ts";

function drawValue(random: Prng): PropertyValue {
  const word = () => random.pick(["okay", "simple-bus", "", "riscv,sv39"]);
  switch (random.below(5)) {
    case 0:
      return word();
    case 1:
      return Array.from({ length: 1 + random.below(3) }, word);
    case 2:
      return Array.from({ length: random.below(5) }, () => edge32(random));
    case 3:
      return random.bytes(random.below(9));
    default:
      return true;
  }
}

function drawNode(random: Prng, depth: number): TreeNode {
  const names = ["reg", "compatible", "status", "#address-cells", "interrupts"];
  const chosen = names.filter(() => random.below(2) === 0);
  return {
    name: depth === 0 ? "" : random.pick(["cpus", "cpu@0", "soc", "a"]),
    properties: Object.fromEntries(chosen.map((name) => [name, drawValue(random)])),
    children: Array.from(
      { length: depth < 3 ? random.below(4) : 0 },
      () => drawNode(random, depth + 1),
    ),
  };
}

/** Bytes of a value, in the model's own words. */
function model(value: PropertyValue): number[] {
  if (value === true) return [];
  if (value instanceof Uint8Array) return [...value];
  const items = typeof value === "string" ? [value] : value;
  return items.flatMap((item) =>
    typeof item === "number"
      ? [item >>> 24, item >>> 16 & 255, item >>> 8 & 255, item & 255]
      : [...item].map((letter) => letter.charCodeAt(0)).concat(0)
  );
}

/** One line for each node's begin and end and for each property. */
function outline(node: TreeNode): string[] {
  return [
    `begin ${node.name}`,
    ...Object.entries(node.properties).map(([name, value]) => `${name}=${model(value)}`),
    ...(node.children ?? []).flatMap(outline),
    "end",
  ];
}

function readOutline(blob: Uint8Array): string[] {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  const strings = view.getUint32(12);
  const text = (at: number) => {
    const end = blob.indexOf(0, at);
    return new TextDecoder().decode(blob.subarray(at, end));
  };
  const lines: string[] = [];
  let at = view.getUint32(8);
  for (;;) {
    const token = view.getUint32(at);
    at += 4;
    if (token === 9) return lines;
    if (token === 2) lines.push("end");
    if (token === 1) {
      const name = text(at);
      lines.push(`begin ${name}`);
      at = at + name.length + 4 & ~3;
    }
    if (token === 3) {
      const length = view.getUint32(at);
      const name = text(strings + view.getUint32(at + 4));
      lines.push(`${name}=${[...blob.subarray(at + 8, at + 8 + length)]}`);
      at = at + 8 + length + 3 & ~3;
    }
  }
}

const target: FuzzTarget = {
  name: "fdt",
  step(random) {
    const tree = drawNode(random, 0);
    const hart = random.below(8);
    const blob = flatten(tree, hart);
    const view = new DataView(blob.buffer);
    assert(view.getUint32(4) === blob.length && view.getUint32(28) === hart, "the header is true");
    // The naive model sees "end" where the format has its end-of-node token.
    assert(readOutline(blob).join("\n") === outline(tree).join("\n"), "the tree returns");
  },
};

export default target;
