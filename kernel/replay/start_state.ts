/**
 * The state that a recording of a running VM begins from: the machine's image and the pages of its RAM
 * that hold anything, as clusters of a log of its own (issue 4, "Record").
 *
 *     first cluster     msgpack of the image (machine_image.ts)
 *     further clusters  u32 count | u32 guest pages | their bytes
 *
 * Invariant: a machine is changed only when the whole state was read; a state that is cut is refused.
 */
import { decode, encode } from "@std/msgpack";
import { FormatError } from "../base/errors.ts";
import { type MachineImage, restoreImage, saveImage } from "../machine/machine_image.ts";
import type { Machine } from "../machine/machine.ts";
import type { Cluster } from "./log_format.ts";
import type { LogReader } from "./log_reader.ts";
import { checkRecordShape } from "./record_shape.ts";

const PAGE_BYTES = 4096;
/** Pages of one cluster. */
const CLUSTER_PAGES = 240;

/** Clusters with the state of a machine, which stands still, is settled, and whose outputs were taken. */
export function* stateClusters(machine: Machine): Generator<Cluster> {
  const { icount, ticks } = machine.gate.stamp();
  const { core } = machine;
  const { plan } = core;
  yield { icount, ticks, bytes: encode(saveImage(machine)) };
  let pages: number[] = [];
  const cluster = (): Cluster => {
    const bytes = new Uint8Array(4 + pages.length * (4 + PAGE_BYTES));
    const view = new DataView(bytes.buffer);
    view.setUint32(0, pages.length, true);
    pages.forEach((page, i) => {
      view.setUint32(4 + 4 * i, page, true);
      const start = plan.ram + page * PAGE_BYTES;
      const contents = core.bytes.subarray(start, start + PAGE_BYTES);
      bytes.set(contents, 4 + 4 * pages.length + i * PAGE_BYTES);
    });
    return { icount, ticks, bytes };
  };
  for (let page = 0; page < plan.ramPages; page++) {
    if (core.hash.isZero(page)) continue;
    pages.push(page);
    if (pages.length < CLUSTER_PAGES) continue;
    yield cluster();
    pages = [];
  }
  yield cluster();
}

/**
 * Makes a machine, which is at its power-on state, what it was when the recording began. Throws FormatError
 * for a state that is cut, damaged, or of another machine.
 */
export function restoreState(machine: Machine, log: LogReader): void {
  const count = log.frames.length;
  if (log.torn !== undefined || count < 2) throw new FormatError("the recording's start is cut");
  const { core, memory } = machine;
  const { plan } = core;
  const image = readMachineImage(log.cluster(0));
  // Nothing that would be loaded later may land on what is put here.
  core.flags.need(0, plan.ramPages);
  core.bytes.fill(0, plan.ram, plan.ram + plan.ramBytes);
  for (let frame = 1; frame < count; frame++) {
    const bytes = log.cluster(frame);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const pages = bytes.length < 4 ? -1 : view.getUint32(0, true);
    if (bytes.length !== 4 + pages * (4 + PAGE_BYTES)) {
      throw new FormatError("the recording's start has a cluster that makes no sense");
    }
    for (let i = 0; i < pages; i++) {
      const page = view.getUint32(4 + 4 * i, true);
      const from = 4 + 4 * pages + i * PAGE_BYTES;
      if (
        memory.write(plan.ramStart + page * PAGE_BYTES, bytes.subarray(from, from + PAGE_BYTES))
      ) {
        continue;
      }
      throw new FormatError(`the recording's start has page ${page}, which the machine has not`);
    }
  }
  core.decodedPages.clear();
  machine.translator?.clear();
  restoreImage(machine, image);
  machine.forgetStops();
}

/** An image from its bytes; whether it is of this machine is for `restoreImage` to say. */
function readMachineImage(bytes: Uint8Array): MachineImage {
  checkRecordShape(bytes);
  let image: unknown;
  try {
    image = decode(bytes);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError(`the recording's start has no image of a machine: ${why}`, { cause });
  }
  if (typeof image === "object" && image !== null) return image as MachineImage;
  throw new FormatError("the recording's start has no image of a machine");
}
