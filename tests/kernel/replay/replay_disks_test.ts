/** Claims about the disks of a replay, held to a naive model: arrays of bytes that are copied whole. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Broken } from "../../../kernel/base/assert.ts";
import { Prng } from "../../../kernel/base/prng.ts";
import type { DiskRequest } from "../../../kernel/driver/mod.ts";
import { SECTOR_BYTES } from "../../../kernel/limits.ts";
import { type DiskOutcome, ReplayDisks } from "../../../kernel/replay/replay_disks.ts";

const DISKS = 2;
const SECTORS = 12;

/** Bytes of the sectors of a disk as they were when the recording began. */
const base = (disk: number) =>
  Uint8Array.from({ length: SECTORS * SECTOR_BYTES }, (_, i) => 100 * disk + (i >> 9));

/** What the model knows of a request that is under way: how it will end. */
interface Expected {
  readonly disk: number;
  readonly tag: number;
  readonly data: Uint8Array | undefined;
}

interface ModelState {
  readonly disks: readonly Uint8Array[];
  readonly underway: readonly Expected[];
}

/** Disks that are copied whole at each interval. */
class Model {
  state: ModelState = { disks: [base(0), base(1)], underway: [] };
  readonly intervals: ModelState[] = [];

  submit(disk: number, { kind, tag, sector, length, data }: DiskRequest): void {
    const disks = this.state.disks.map((bytes) => bytes.slice());
    const from = sector * SECTOR_BYTES;
    if (kind === "write") disks[disk]!.set(data!, from);
    if (kind === "zero") disks[disk]!.fill(0, from, from + length);
    const got = kind === "read" ? disks[disk]!.slice(from, from + length) : undefined;
    this.state = { disks, underway: [...this.state.underway, { disk, tag, data: got }] };
  }

  end(disk: number, tag: number): Expected {
    const isIt = (one: Expected) => one.disk === disk && one.tag === tag;
    const ended = this.state.underway.find(isIt)!;
    this.state = { ...this.state, underway: this.state.underway.filter((one) => !isIt(one)) };
    return ended;
  }
}

/** The real disks, whose base answers when it is told to. */
class Real {
  readonly waiting: (() => void)[] = [];
  readonly disks = new ReplayDisks((disk, sector, bytes, arrived) => {
    const from = sector * SECTOR_BYTES;
    this.waiting.push(() => arrived(base(disk).slice(from, from + bytes)));
  });

  arriveAll(): void {
    for (const arrive of this.waiting.splice(0)) arrive();
  }
}

const STEPS = [
  "submit",
  "submit",
  "submit",
  "arrive",
  "finish",
  "fail",
  "begin",
  "undo",
  "merge",
  "drop",
  "forget",
] as const;

/** One random history of both; checks after each step. */
function runHistory(seed: number, length: number): void {
  const random = new Prng(seed);
  const [model, real] = [new Model(), new Real()];
  let tag = 0;
  for (let i = 0; i < length; i++) {
    switch (random.pick(STEPS)) {
      case "submit": {
        const disk = random.below(DISKS);
        const request = drawRequest(random, tag++);
        model.submit(disk, request);
        real.disks.submit(disk, request);
        break;
      }
      case "arrive": {
        const [arrive] = real.waiting.splice(random.below(real.waiting.length), 1);
        arrive?.();
        break;
      }
      case "finish":
        finishOne(random, model, real);
        break;
      case "fail": {
        const [first] = model.state.underway;
        if (first === undefined) break;
        model.end(first.disk, first.tag);
        real.disks.fail(first.disk, first.tag);
        break;
      }
      case "begin":
        assertEquals(real.disks.begin(), model.intervals.length);
        model.intervals.push(model.state);
        break;
      case "undo": {
        if (model.intervals.length === 0) break;
        const to = random.below(model.intervals.length);
        real.disks.undoTo(to);
        model.intervals.length = to + 1;
        model.state = model.intervals[to]!;
        break;
      }
      case "merge": {
        if (model.intervals.length < 2) break;
        const at = random.below(model.intervals.length - 1);
        real.disks.merge(at);
        model.intervals.splice(at + 1, 1);
        break;
      }
      case "drop":
        if (model.intervals.length === 0) break;
        real.disks.dropOldest();
        model.intervals.shift();
        break;
      case "forget":
        real.disks.forgetIntervals();
        model.intervals.length = 0;
    }
    checkComplete(model, real);
  }
  checkEnd(model, real);
}

function drawRequest(random: Prng, tag: number): DiskRequest {
  const sector = random.below(SECTORS);
  const length = (1 + random.below(Math.min(4, SECTORS - sector))) * SECTOR_BYTES;
  const kind = random.pick(["read", "read", "write", "write", "zero", "flush", "discard"] as const);
  return { tag, kind, sector, length, ...kind === "write" && { data: random.bytes(length) } };
}

function finishOne(random: Prng, model: Model, real: Real): void {
  const complete = real.disks.complete();
  if (complete.length === 0) return;
  const { disk, tag } = random.pick(complete);
  const outcome = real.disks.finish(disk, tag);
  checkOutcome(outcome, model.end(disk, tag));
}

function checkOutcome(outcome: DiskOutcome | undefined, expected: Expected): void {
  assertEquals(outcome, { status: 0, data: expected.data });
}

/** What is complete is under way in the model too, and nothing is complete that is not. */
function checkComplete(model: Model, real: Real): void {
  const name = (one: { disk: number; tag: number }) => `${one.disk}:${one.tag}`;
  const underway = new Set(model.state.underway.map(name));
  for (const one of real.disks.complete()) assert(underway.has(name(one)), name(one));
}

/** In the end all requests end as the model says, and reading everything gives the model's disks. */
function checkEnd(model: Model, real: Real): void {
  real.arriveAll();
  for (const expected of model.state.underway) {
    checkOutcome(real.disks.finish(expected.disk, expected.tag), expected);
  }
  assertEquals(real.disks.complete(), []);
  model.state.disks.forEach((bytes, disk) => {
    real.disks.submit(disk, { tag: 0xffff, kind: "read", sector: 0, length: bytes.length });
    real.arriveAll();
    assertEquals(real.disks.finish(disk, 0xffff)?.data, bytes);
  });
}

Deno.test("requests, intervals and going back do what whole copies of the disks would", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 60 }), runHistory),
    { numRuns: 300 },
  );
});

Deno.test("a read that the base cannot answer fails, and so does one that it answers in part", () => {
  for (const answer of [undefined, new Uint8Array(SECTOR_BYTES)]) {
    const disks = new ReplayDisks((_disk, _sector, _bytes, arrived) => arrived(answer));
    disks.submit(0, { tag: 1, kind: "read", sector: 0, length: 2 * SECTOR_BYTES });
    assertEquals(disks.finish(0, 1), { status: 1, data: undefined });
  }
});

Deno.test("going back costs what was overwritten, once for each interval", () => {
  const disks = new ReplayDisks(() => {});
  const write = (sector: number) =>
    disks.submit(0, {
      tag: 0,
      kind: "write",
      sector,
      length: SECTOR_BYTES,
      data: new Uint8Array(SECTOR_BYTES),
    });
  write(0);
  assertEquals(disks.heldBytes, 0);
  disks.begin();
  for (const sector of [0, 0, 1]) write(sector);
  assertEquals(disks.heldBytes, 2 * SECTOR_BYTES);
  disks.begin();
  write(1);
  assertEquals(disks.heldBytes, 3 * SECTOR_BYTES);
  disks.merge(0);
  assertEquals(disks.heldBytes, 2 * SECTOR_BYTES);
  disks.dropOldest();
  assertEquals(disks.heldBytes, 0);
  assertThrows(() => disks.undoTo(0), Broken);
});
