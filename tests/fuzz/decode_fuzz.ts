/**
 * Fuzz target for instructions: any bits decode to a row or are illegal, and what decodes has text and
 * operands that exist.
 */
import { assert } from "../../kernel/base/assert.ts";
import { decode, ILLEGAL, newDecoded } from "../../kernel/cpu/isa/decode.ts";
import { disassemble } from "../../kernel/cpu/isa/disassemble.ts";
import { ROWS } from "../../kernel/cpu/isa/table.ts";
import type { FuzzTarget } from "./engine.ts";

const INSTRUCTIONS_OF_A_STEP = 200;

const target: FuzzTarget = {
  name: "decode",
  step(random) {
    const out = newDecoded();
    for (let i = 0; i < INSTRUCTIONS_OF_A_STEP; i++) {
      const row = random.pick(ROWS);
      // Half of the words are a row's own with other bits at random, so that all rows are met.
      const free = random.u32();
      const bits = (random.below(2) === 0 ? free : free & ~row.mask | row.match) >>> 0;
      const found = decode(bits, out);
      assert(out.length === ((bits & 3) === 3 ? 4 : 2), "the length follows from the low bits");
      assert(found === out.row && (found === ILLEGAL || ROWS[found] !== undefined), "a row exists");
      assert(disassemble(out, 0x8000_0000n).length > 0, "every word has a text");
      if (found === ILLEGAL) continue;
      for (const register of [out.rd, out.rs1, out.rs2, out.rs3]) {
        assert(register >= 0 && register < 32, "a register exists");
      }
      assert(out.imm === (out.imm | 0) || out.imm === out.imm >>> 0, "an immediate has 32 bits");
    }
  },
};

export default target;
