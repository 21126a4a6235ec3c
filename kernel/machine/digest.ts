/**
 * The state digest: harts, machine, clock, devices and RAM. What it covers is what a checkpoint saves.
 * And how much RAM the guest has touched.
 */
import { Digest, isZero } from "../base/checksum.ts";
import { HART } from "../memory/hart_layout.ts";
import type { Machine } from "./machine.ts";

/** Bytes of the pages of RAM that were written: by stores that the write TLB answered, or to hold anything. */
export function touchedBytes({ core: { buffer, plan } }: Machine): number {
  const written = new BigInt64Array(buffer, plan.pageWritable, plan.ramPages);
  let touched = 0;
  for (let page = 0; page < plan.ramPages; page++) {
    if (written[page] !== 0n || !isZero(new Int32Array(buffer, plan.ram + page * 4096, 1024))) {
      touched += 4096;
    }
  }
  return touched;
}

/** Sixteen hexadecimal digits. */
export function machineDigest(machine: Machine): string {
  const { core, config } = machine;
  const { plan } = core;
  const digest = new Digest();
  const area = (start: number, bytes: number) =>
    digest.words(new Int32Array(core.buffer, start, bytes >> 2));
  for (let hart = 0; hart < config.harts; hart++) {
    area(core.hartBlock(hart), HART.byteLength);
  }
  area(plan.deviceState, plan.deviceStateBytes);
  for (const field of ["timeAnchorTicks", "timeAnchorIcount", "timeRate"] as const) {
    digest.number(Number(core.control(field)));
  }
  for (let page = 0; page < plan.ramPages; page++) {
    const words = new Int32Array(core.buffer, plan.ram + page * 4096, 1024);
    if (words[0] === 0 && isZero(words)) continue;
    digest.number(page);
    digest.words(words);
  }
  return digest.hex();
}
