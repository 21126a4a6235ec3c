/**
 * The state digest: harts, machine, clock, devices and RAM. What it covers is what a checkpoint saves.
 * And how much RAM the guest has touched.
 */
import { Digest } from "../base/checksum.ts";
import { HART } from "../memory/hart_layout.ts";
import { PAGE_FLAG } from "../memory/page_flags.ts";
import { CLOCK_FIELDS } from "./clock.ts";
import type { Machine } from "./machine.ts";

/**
 * Bytes of the pages of RAM that were written: by stores that the write TLB answered, or to hold anything.
 * Pages that are absent count: they would not be if they held zeros.
 */
export function touchedBytes({ core: { buffer, plan, hash, flags } }: Machine): number {
  const written = new BigInt64Array(buffer, plan.pageWritable, plan.ramPages);
  let touched = 0;
  for (let page = 0; page < plan.ramPages; page++) {
    const isAbsent = (flags.get(page) & PAGE_FLAG.absent) !== 0;
    if (isAbsent || written[page] !== 0n || !hash.isZero(page)) touched += 4096;
  }
  return touched;
}

/** Sixteen hexadecimal digits. */
export function machineDigest(machine: Machine): string {
  const { core, config } = machine;
  const { plan } = core;
  const digest = new Digest();
  for (let hart = 0; hart < config.harts; hart++) {
    digest.words(new Int32Array(core.buffer, core.hartBlock(hart), HART.byteLength >> 2));
  }
  digest.long(core.hash.long(plan.deviceState, machine.stateBytes));
  for (const field of CLOCK_FIELDS) digest.number(Number(core.control(field)));
  digest.long(core.hash.ram());
  return digest.hex();
}
