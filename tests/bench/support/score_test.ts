/** Claims about the figures of a comparison: ratios, bars, means, and whose turn it is. */
import { assertEquals } from "@std/assert";
import { inTurn, NATIVE_RIVAL, QEMU_RIVAL, revisionRival, Score } from "./score.ts";
import { MarkScanner } from "./marks.ts";

const before = revisionRival("v1");

Deno.test("Score: a ratio is the rival's median divided by ours", () => {
  const score = new Score();
  const figures = [...score.measure("alu", [3, 1, 2], [
    { rival: before, seconds: [9, 3, 6] },
    { rival: NATIVE_RIVAL, seconds: [1] },
  ])];
  assertEquals(figures, [
    { name: "alu time", value: 2, unit: "s" },
    { name: "alu time at v1", value: 6, unit: "s" },
    { name: "alu ratio to v1", value: 3, unit: "x" },
    { name: "alu time native", value: 1, unit: "s" },
    { name: "alu ratio to native", value: 0.5, unit: "x" },
  ]);
});

Deno.test("Score: means are by rival, and leave out what is apart", () => {
  const score = new Score();
  [...score.measure("a", [1], [{ rival: before, seconds: [2] }])];
  [...score.measure("b", [1], [{ rival: before, seconds: [8] }])];
  [...score.measure("c", [1], [{ rival: before, seconds: [100] }], true)];
  [...score.measure("b", [1], [{ rival: QEMU_RIVAL, seconds: [5] }])];
  const [first, second, ...none] = [...score.means()];
  const rounded = [first!, second!].map(({ name, value }) => [name, value.toFixed(6)]);
  assertEquals(rounded, [["geomean to v1", "4.000000"], ["geomean", "5.000000"]]);
  assertEquals(none, []);
});

Deno.test("Score: bars are about QEMU alone", () => {
  const score = new Score({ leastEach: 0.9, leastMean: 1.4 });
  const theirs = [QEMU_RIVAL, before].map((rival) => ({ rival, seconds: [2] }));
  const judged = [...score.measure("a", [1], theirs), ...score.means()].filter(({ bar }) => bar);
  assertEquals(judged.map(({ name, bar }) => [name, bar]), [
    ["a ratio", { atLeast: 0.9 }],
    ["geomean", { atLeast: 1.4 }],
  ]);
  assertEquals([...score.measure("c", [1], theirs, true)].filter(({ bar }) => bar), []);
});

Deno.test("inTurn(): sides alternate, and each gets its own results", async () => {
  const order: string[] = [];
  const side = (name: string) => () => Promise.resolve(order.push(name));
  assertEquals(await inTurn(2, [side("ours"), side("theirs")]), [[1, 3], [2, 4]]);
  assertEquals(order, ["ours", "theirs", "ours", "theirs"]);
});

Deno.test("MarkScanner: marks are found in whatever pieces they come", () => {
  const marks = new MarkScanner();
  const names = ["boot\n@fo", "rk\r\n@pipe\nx @no\n", "@end\n"].flatMap((piece) => [
    ...marks.scan(piece),
  ]);
  assertEquals(names.map((name) => name.trim()), ["fork", "pipe", "end"]);
});
