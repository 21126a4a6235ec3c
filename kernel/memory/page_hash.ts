/**
 * Hashes of stretches of VM memory, by a small generated WebAssembly module: eight lanes of 64-bit
 * multiply, add and rotate (state digests, issue 4 "verify"). They find accidents and divergences, not forgeries.
 *
 * Invariants: a hash depends on the bytes alone, not on where they lie; each step of a lane is a bijection
 * for a given word, so that one word that differs always gives another 64-bit hash.
 */
import { assert, unreachable } from "../base/assert.ts";
import {
  call,
  type Expression,
  type FunctionBuilder,
  type FunctionReference,
  i32,
  i64,
  type Local,
  ModuleBuilder,
} from "../wasm/mod.ts";
import type { MemoryPlan } from "./memory_plan.ts";
import type { PageFlags } from "./page_flags.ts";

const PAGE_BYTES = 4096;
const LANES = 8;
/** Bytes of one round: a word for each lane. */
const ROUND_BYTES = 8 * LANES;
const ROTATION = 31;
const PRIME_A = 0x9e37_79b1_85eb_ca87n;
const PRIME_B = 0xc2b2_ae3d_27d4_eb4fn;
/** What lanes begin with: fraction digits of pi. */
const SEEDS = [
  0x243f_6a88_85a3_08d3n,
  0x1319_8a2e_0370_7344n,
  0xa409_3822_299f_31d0n,
  0x082e_fa98_ec4e_6c89n,
  0x4528_21e6_38d0_1377n,
  0xbe54_66cf_34e9_0c6cn,
  0xc0ac_29b7_c97c_50ddn,
  0x3f84_d5b5_b547_0917n,
];

interface HashExports {
  /** (address, bytes) → 32-bit hash. */
  hash32(address: number, bytes: number): number;
  /** (address, bytes) → 64-bit hash. */
  hash64(address: number, bytes: number): bigint;
  /** (address, pages) → 64-bit hash of the pages that are not zero, and of where they are. */
  hashPages(address: number, pages: number): bigint;
  /** (address) → whether a page holds zeros alone. */
  isZeroPage(address: number): number;
}

type Hash64 = FunctionReference<readonly ["i32", "i32"], "i64">;

/** One step of a lane, a round of XXH64: a bit of a word spreads before the next word comes. */
function mix(lane: Expression<"i64">, word: Expression<"i64">): Expression<"i64"> {
  return i64.mul(i64.rotl(i64.add(lane, i64.mul(word, PRIME_B)), ROTATION), PRIME_A);
}

/** Runs `body` while `at` is below `end`. */
function whileBelow(
  f: FunctionBuilder,
  at: Local<"i32">,
  end: Expression<"i32">,
  step: number,
  body: () => void,
): void {
  f.block((done) => {
    f.loop((next) => {
      f.brIf(done, i32.geU(at, end));
      body();
      f.set(at, i32.add(at, step));
      f.br(next);
    });
  });
}

function emitHash64(module: ModuleBuilder): Hash64 {
  return module.function("hash64", ["i32", "i32"], "i64", (f) => {
    const [address, bytes] = f.parameters;
    const lanes = SEEDS.map((seed) => f.let(i64.const(seed)));
    const at = f.let(address);
    const end = f.let(i32.add(address, bytes));
    const rounds = f.let(i32.add(address, i32.and(bytes, -ROUND_BYTES)));
    whileBelow(f, at, rounds, ROUND_BYTES, () => {
      lanes.forEach((lane, i) => f.set(lane, mix(lane, i64.load(at, 8 * i))));
    });
    whileBelow(f, at, end, 8, () => f.set(lanes[0]!, mix(lanes[0]!, i64.load(at))));
    const hash = f.let(i64.extendI32U(bytes));
    for (const lane of lanes) f.set(hash, i64.add(mix(hash, lane), PRIME_B));
    f.set(hash, i64.mul(i64.xor(hash, i64.shrU(hash, 33)), PRIME_B));
    f.return(i64.xor(hash, i64.shrU(hash, 29)));
  }, true);
}

function emitIsZeroPage(module: ModuleBuilder): FunctionReference<readonly ["i32"], "i32"> {
  return module.function("isZeroPage", ["i32"], "i32", (f) => {
    const [address] = f.parameters;
    const at = f.let(address);
    const end = f.let(i32.add(address, PAGE_BYTES));
    whileBelow(f, at, end, ROUND_BYTES, () => {
      const words = Array.from({ length: LANES }, (_, i) => i64.load(at, 8 * i));
      const any = words.reduce((a, b) => i64.or(a, b));
      f.if(i32.eqz(i64.eqz(any)), () => f.return(0), undefined, "unlikely");
    });
    f.return(1);
  }, true);
}

/** Generates the module. */
function generate(plan: MemoryPlan): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({
    minimum: plan.wasmPages,
    maximum: plan.wasmPages,
    shared: true,
  });
  module.named = true;
  const hash64 = emitHash64(module);
  const isZeroPage = emitIsZeroPage(module);
  module.function("hash32", ["i32", "i32"], "i32", (f) => {
    const hash = f.let(call(hash64, ...f.parameters));
    f.return(i32.wrap(i64.xor(hash, i64.shrU(hash, 32))));
  }, true);
  module.function("hashPages", ["i32", "i32"], "i64", (f) => {
    const [address, pages] = f.parameters;
    const page = f.let(i32.const(0));
    const hash = f.let(i64.const(SEEDS[0]!));
    whileBelow(f, page, pages, 1, () => {
      const at = f.let(i32.add(address, i32.mul(page, PAGE_BYTES)));
      f.if(i32.eqz(call(isZeroPage, at)), () => {
        f.set(hash, mix(hash, i64.extendI32U(page)));
        f.set(hash, mix(hash, call(hash64, at, PAGE_BYTES)));
      });
    });
    f.return(hash);
  }, true);
  return module.build();
}

/** Hashes parts of one VM's memory. */
export class PageHash {
  readonly #exports: HashExports;

  /** @param memory the VM's memory @param plan how it is laid out @param flags its traces, if it has any */
  constructor(
    memory: WebAssembly.Memory,
    private readonly plan: MemoryPlan,
    private readonly flags?: PageFlags,
  ) {
    const module = new WebAssembly.Module(generate(plan));
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    this.#exports = exports as unknown as HashExports;
  }

  /** 32-bit hash of a guest page. */
  page(page: number): number {
    const { plan } = this;
    if (page < 0 || page >= plan.ramPages) unreachable(`guest page ${page} does not exist`);
    this.flags?.need(page);
    return this.#exports.hash32(plan.ram + page * PAGE_BYTES, PAGE_BYTES) >>> 0;
  }

  /** Whether a guest page holds zeros alone. */
  isZero(page: number): boolean {
    this.flags?.need(page);
    return this.#exports.isZeroPage(this.plan.ram + page * PAGE_BYTES) !== 0;
  }

  /** 32-bit hash of bytes of VM memory, a multiple of 8. */
  bytes(address: number, length: number): number {
    assert(length % 8 === 0, "whole words are hashed");
    return this.#exports.hash32(address, length) >>> 0;
  }

  /** 64-bit hash of bytes of VM memory, a multiple of 8. */
  long(address: number, length: number): bigint {
    assert(length % 8 === 0, "whole words are hashed");
    return BigInt.asUintN(64, this.#exports.hash64(address, length));
  }

  /** 64-bit hash of all RAM; pages that hold zeros alone do not count. */
  ram(): bigint {
    this.flags?.need(0, this.plan.ramPages);
    return BigInt.asUintN(64, this.#exports.hashPages(this.plan.ram, this.plan.ramPages));
  }
}
