/**
 * Fuzz targets for files that a user hands in: boot images, anything given to `inspect`, sizes and
 * power-on options.
 */
import { ConfigError, FormatError } from "../../kernel/base/errors.ts";
import { assert } from "../../kernel/base/assert.ts";
import type { Prng } from "../../kernel/base/prng.ts";
import { formatSize, parseSize } from "../../kernel/base/units.ts";
import { parsePowerOn, type PowerOnOptions } from "../../kernel/config.ts";
import { GUEST_MEMORY_MAXIMUM, GUEST_MEMORY_MINIMUM, HARTS_MAXIMUM } from "../../kernel/limits.ts";
import { readElf } from "../../kernel/machine/elf.ts";
import { readImage } from "../../kernel/machine/image.ts";
import { describeImage } from "../../tools/cli/inspect_image.ts";
import { smallElf } from "../_support/small_elf.ts";
import type { FuzzTarget } from "./engine.ts";
import { damaged, edge64, orRefused } from "./support.ts";

const elf: FuzzTarget = {
  name: "elf",
  step(random) {
    const good = smallElf(random.bytes(16));
    assert(readElf(good).symbols[0]?.name === "tohost", "the good executable is read");
    const bytes = damaged(random, good);
    const image = orRefused(() => readElf(bytes), FormatError);
    for (const segment of image?.segments ?? []) {
      assert(segment.bytes.length <= bytes.length, "a segment lies in its file");
      assert(segment.memoryBytes >= segment.bytes.length, "a segment is no larger in the file");
      assert(Number.isSafeInteger(segment.address) && segment.address >= 0, "an address is one");
    }
  },
};

/** Bytes that start as one of the formats told by their first bytes. */
function likeAFile(random: Prng): Uint8Array {
  const bytes = random.bytes(random.below(700));
  const magics: [number, readonly number[]][] = [
    [0, [0x51, 0x46, 0x49, 0xfb]],
    [0, [0xd0, 0x0d, 0xfe, 0xed]],
    [0, [0x30, 0x37, 0x30, 0x37, 0x30, 0x31]],
    [0, [0x1f, 0x8b]],
    [56, [0x52, 0x53, 0x43, 0x05]],
    [510, [0x55, 0xaa]],
  ];
  const [at, magic] = random.pick(magics);
  if (bytes.length >= at + magic.length) bytes.set(magic, at);
  return random.below(3) === 0 ? damaged(random, smallElf(random.bytes(16))) : bytes;
}

const image: FuzzTarget = {
  name: "image",
  async step(random) {
    const bytes = likeAFile(random);
    try {
      const found = await readImage(bytes);
      if (found.kind === "linux") {
        assert(found.imageBytes >= found.bytes.length, "no image shrinks");
      }
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
    }
  },
};

const inspect: FuzzTarget = {
  name: "inspect",
  async step(random) {
    const facts = await describeImage(likeAFile(random));
    assert(facts[0]?.[0] === "kind", "a description begins with what the file is");
    assert(!facts.flat().some((text) => text.includes("undefined")), "a description has no holes");
  },
};

const SIZE_ALPHABET = [..."0123456789KMGkmgiB .-+x"];

const size: FuzzTarget = {
  name: "size",
  step(random) {
    const text = Array.from({ length: random.below(8) }, () => random.pick(SIZE_ALPHABET)).join("");
    const bytes = orRefused(() => parseSize(text), ConfigError);
    if (bytes === undefined) return;
    assert(Number.isSafeInteger(bytes) && bytes >= 0, `"${text}" is no size`);
    if (!formatSize(bytes).includes(".")) assert(parseSize(formatSize(bytes)) === bytes, text);
  },
};

const powerOn: FuzzTarget = {
  name: "power-on",
  step(random) {
    const number = () => Number(BigInt.asIntN(64, edge64(random))) / random.pick([1, 1, 4096, 3]);
    const options = {
      kernel: "Image",
      memory: random.pick([number(), "512M", `${random.below(5000)}M`, "3G", "4G"]),
      harts: random.pick([number(), random.below(12)]),
      seed: number(),
      drives: Array.from({ length: random.below(8) }, () => "disk.raw"),
      clock: random.pick(["virtual", "host", "sun"]),
    } as PowerOnOptions;
    const spec = orRefused(() => parsePowerOn(options, {}, "vm"), ConfigError);
    if (spec === undefined) return;
    assert(spec.harts >= 1 && spec.harts <= HARTS_MAXIMUM, "harts are within their limit");
    assert(
      spec.memoryBytes >= GUEST_MEMORY_MINIMUM && spec.memoryBytes <= GUEST_MEMORY_MAXIMUM,
      "memory is within its limit",
    );
    assert(Number.isSafeInteger(spec.seed) && spec.seed! >= 0, "a seed is a whole number");
  },
};

/** The targets of this file. */
export const IMAGE_TARGETS: readonly FuzzTarget[] = [elf, image, inspect, size, powerOn];
