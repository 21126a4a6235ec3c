/**
 * Guests that mean harm: random programs whose pointers lie in the devices' windows and whose ecalls carry
 * random arguments.
 */
import type { Prng } from "../../kernel/base/prng.ts";
import type { Machine } from "../../kernel/machine/machine.ts";
import { PRIVILEGE } from "../../kernel/memory/hart_layout.ts";
import { encode } from "../../tools/asm/encode.ts";
import { ProgramMaker } from "../isa/random_program.ts";
import { offerBytes } from "./machine.ts";

const RAM = 0x8000_0000;
/** Windows of devices, and the edges of RAM. */
const TARGETS = [
  0x0010_1000n,
  0x0200_0000n,
  0x0200_bff8n,
  0x0c00_0000n,
  0x0c20_0004n,
  0x1000_0000n,
  0x1000_1000n,
  0x1000_1070n,
  0x1000_2050n,
  0x1000_3100n,
  0x83ff_fff8n,
  0x8400_0000n,
];
const EXTENSIONS = [0x10n, 0x54494d45n, 0x735049n, 0x52464e43n, 0x4442434en, 1n, 2n, 4n];

/** Random instructions with an ecall in every seventh slot. */
export function hostileProgram(rng: Prng): Uint8Array<ArrayBuffer> {
  const words = new ProgramMaker(rng, { slots: 300, float: false }).make();
  for (let i = 0; i < words.length; i += 7) words[i] = encode("ecall");
  return new Uint8Array(words.buffer as ArrayBuffer);
}

function randomValue(rng: Prng): bigint {
  const choice = rng.below(4);
  if (choice === 0) return rng.pick(TARGETS) + BigInt(rng.below(64));
  if (choice === 1) return rng.u64();
  return choice === 2 ? BigInt(rng.below(64)) : BigInt(RAM + rng.below(1 << 20));
}

/** Gives the current hart random registers and sends it somewhere into the program. */
export function startleHart(machine: Machine, rng: Prng): void {
  const { core, plan } = machine;
  const hart = core.current;
  for (const register of [2, 15, 26, 27, 8, 9, 10, 11, 12]) {
    core.setRegister(hart, "x", BigInt.asUintN(64, randomValue(rng)), register);
  }
  core.setRegister(hart, "x", rng.pick(EXTENSIONS), 17);
  core.setRegister(hart, "x", BigInt(rng.below(8)), 16);
  core.setRegister(hart, "pc", BigInt(plan.entry + 4 * rng.below(200)));
  core.setRegister(hart, "stvec", BigInt(plan.entry));
  core.setWord(hart, "privilege", PRIVILEGE.supervisor);
  offerBytes(machine, rng.bytes(3));
  offerBytes(machine, rng.bytes(3), "console0");
}
