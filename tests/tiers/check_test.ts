/**
 * The tier `check`: it finds nothing where there is nothing to find, on guests whose machine it leaves as
 * the interpreter does; and mistakes that a region is given are reported with where they are and what they
 * did. Random programs run in it among the options of the other tests of this folder.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { readImage } from "../../kernel/machine/image.ts";
import type { Machine, MachineConfig } from "../../kernel/machine/machine.ts";
import { RegionMismatch } from "../../kernel/translator/region_check.ts";
import { encode } from "../../tools/asm/encode.ts";
import { wrongCompiler } from "../_support/compilers.ts";
import { debianMachine, debianTest } from "../_support/debian.ts";
import { runToEnd, testMachine } from "../_support/machine.ts";
import { Program } from "../_support/program.ts";

const BASE = 0x8000_0000;
const DATA = 0x8020_0000;
/** Instructions of the slice of the boot, from power-on. */
const BOOT_SLICE = 150_000_000;
/** Iterations of a canary's loop. */
const ROUNDS = 1000;
/** Regions appear between slices. */
const SLICE = 500;
const EAGER = { heat: 20, batch: 1 };
const COUNT = 31;
const POINTER = 20;

function instructionsInRegions({ core }: Machine): number {
  return Number(core.control("statRegionInstructions"));
}

/** A loop over one instruction among others; gives its address too. */
function canary(name: string, operands: Parameters<typeof encode>[1], walks = false) {
  const program = new Program(BASE);
  program.setLong(POINTER, BigInt(DATA));
  program.set(10, 1000);
  program.set(11, 7);
  program.set(COUNT, ROUNDS);
  // A region leaves where the page is not known to be read and written.
  program.op("sd", { rs1: POINTER, imm: 64 });
  program.op("ld", { rs1: POINTER });
  const head = program.place();
  const address = BigInt(program.here);
  program.op("xor", { rd: 12, rs1: 12, rs2: 10 });
  program.op(name, operands);
  if (walks) program.op("addi", { rd: POINTER, rs1: POINTER, imm: 8 });
  // A jump of its own keeps the loop from being one block, which would walk through memory unchecked.
  else program.op("jal", { imm: 4 });
  program.op("addi", { rd: COUNT, rs1: COUNT, imm: -1 });
  program.to("bne", head, { rs1: COUNT, rs2: 0 });
  program.set(5, 0x0010_0000);
  program.set(6, 0x5555);
  program.op("sw", { rs1: 5, rs2: 6 });
  return { kernel: { kind: "raw", bytes: program.bytes() } as const, address };
}

/** What the check says when regions execute one instruction for another. */
function mistake(
  right: readonly [string, Parameters<typeof encode>[1]],
  wrong: readonly [string, Parameters<typeof encode>[1]],
  walks = false,
): { readonly error: RegionMismatch; readonly address: bigint } {
  const { kernel, address } = canary(...right, walks);
  const make = (config: Partial<MachineConfig>) =>
    testMachine({ kernel, memoryBytes: 8 << 20, tier: "check", translator: EAGER, ...config });
  assertEquals(
    runToEnd(make({}), { slice: SLICE }).stop,
    { kind: "off", code: 0 },
    "right regions pass",
  );
  const compiler = wrongCompiler(encode(...right), encode(...wrong));
  const error = assertThrows(() => runToEnd(make({ compiler }), { slice: SLICE }), RegionMismatch);
  return { error, address };
}

Deno.test("a wrong instruction in a region is reported with its register and place", () => {
  const operands = { rd: 10, rs1: 10, rs2: 11 };
  const { error, address } = mistake(["add", operands], ["sub", operands]);
  assertEquals(error.pc, address);
  assertEquals(error.range?.[0], address);
  const wrong = error.differences.map(({ what }) => what);
  assertEquals(wrong.filter((what) => what === "x[10]").length, 1, error.message);
  assert(wrong.every((what) => what === "x[10]" || what === "x[12]"), error.message);
  assert(
    /^region entered at 0x80000\w+ \(code 0x8\w+ to 0x8\w+\) is wrong after \d+ instructions:/
      .test(error.message),
    error.message,
  );
});

Deno.test("wrong stores of a region are reported, whatever kind of store it is", () => {
  const at = { rs1: POINTER, rs2: 10 };
  const { error } = mistake(["sd", at], ["sw", at]);
  assertEquals(error.differences.map(({ what }) => what), ["store 1"]);
  assert(error.message.includes("store 1: region 4 bytes 0x3e8 at guest-physical 0x80200000"));
  assert(error.message.includes("interpreter 8 bytes 0x3e8 at guest-physical 0x80200000"));
  const places = mistake(["sd", at], ["sd", { ...at, imm: 8 }], true).error;
  assertEquals(places.differences.map(({ what }) => what), ["store 1"], places.message);
  const atomic = { rd: 0, rs1: POINTER, rs2: 11 };
  const sums = mistake(["amoadd.d", atomic], ["amoswap.d", atomic]).error;
  assert(sums.differences.some(({ what }) => what.startsWith("store")), sums.message);
});

Deno.test("a store that a region does not make is reported, and one that it makes up", () => {
  const store = ["sb", { rs1: POINTER, rs2: 10, imm: 5 }] as const;
  const load = ["lb", { rd: 0, rs1: POINTER, imm: 5 }] as const;
  assert(mistake(store, load).error.message.includes("store 1: region none, interpreter 1 bytes"));
  assert(mistake(load, store).error.message.includes("interpreter none"));
});

Deno.test("a wrong way through a region is reported", () => {
  const operands = { rs1: 11, rs2: 11, imm: 4 };
  const skips = { rs1: 11, rs2: 11, imm: 8 };
  const { error } = mistake(["beq", operands], ["beq", skips]);
  assert(error.differences.length > 0, error.message);
});

Deno.test("guests pass the check and are the interpreter's machine", async () => {
  const kernel = await readImage(
    await Deno.readFile(new URL("../../guests/bench/bench.elf", import.meta.url)),
  );
  for (const name of ["copy", "sort", "bytecode", "nbody"]) {
    const run = (tier: "interpreter" | "check") => {
      const append = `bench=${name} scale=1`;
      const options = { kernel, bios: "builtin", append, memoryBytes: 48 << 20 } as const;
      const machine = testMachine({ ...options, tier, translator: EAGER });
      runToEnd(machine, { most: 3_000_000 });
      return machine;
    };
    const checked = run("check");
    assertEquals(checked.digest(), run("interpreter").digest(), name);
    assert(instructionsInRegions(checked) > 1_000_000, `${instructionsInRegions(checked)}`);
  }
});

debianTest("a slice of Debian's boot passes the check", async () => {
  const run = async (config: Partial<MachineConfig>) => {
    const machine = await debianMachine(config);
    runToEnd(machine, { most: BOOT_SLICE });
    return machine;
  };
  const checked = await run({ tier: "check", translator: { heat: 200, batch: 8 } });
  assertEquals(checked.digest(), (await run({ tier: "interpreter" })).digest());
  const inRegions = instructionsInRegions(checked);
  assert(inRegions > 0.9 * BOOT_SLICE, `only ${inRegions} instructions were checked`);
});
