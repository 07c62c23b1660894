import assert from "node:assert/strict";
import { Random } from "../../src/core/random.ts";
import { type Point, trendOf } from "./trend.ts";

/** 40 minutes of a heap whose floor is as given, in MB, with garbage above it, every 10 s. */
function heap(seed: number, floor: (part: number) => number, garbage: (part: number) => number) {
  const random = new Random(seed);
  return Array.from({ length: 240 }, (_, i): Point => ({
    hours: (1200 + 10 * i) / 3600,
    value: floor(i / 240) + garbage(i / 240) * random.float(),
  }));
}

const SEEDS = Array.from({ length: 200 }, (_, seed) => seed);
const grown = (floor: (part: number) => number, garbage: (part: number) => number) =>
  SEEDS.filter((seed) => trendOf(heap(seed, floor, garbage)).grows).length;

Deno.test("a heap with much garbage for a while has not grown, nor one with ever more of it", () => {
  const few = SEEDS.length / 20;
  assert.ok(grown(() => 9, (part) => part > 0.6 && part < 0.75 ? 15 : 3) <= few);
  assert.ok(grown(() => 9, (part) => 2 + 10 * part) <= few);
});

Deno.test("a leak of a third in the time looked at is found below the garbage", () => {
  const most = SEEDS.length * 19 / 20;
  assert.ok(grown((part) => 9 + 3 * part, () => 3) >= most);
  assert.ok(grown((part) => 9 + 3 * part, (part) => part < 0.2 ? 15 : 3) >= most);
});

Deno.test("floors that go up and down have not grown, wherever the last ones are", () => {
  const trends = SEEDS.map((seed) => {
    const random = new Random(seed);
    const floors = Array.from({ length: 12 }, () => 9 + 5 * random.float());
    return trendOf(heap(seed, (part) => floors[Math.floor(12 * part)]!, () => 1));
  });
  assert.ok(trends.filter(({ grows }) => grows).length <= SEEDS.length / 20);
});

Deno.test("growth of less than a tenth is flat, however sure it is", () => {
  const trend = trendOf(heap(1, (part) => 100 + 5 * part, () => 0.1));
  assert.ok(trend.low > 7 && trend.high < 8);
  assert.equal(trend.grows, false);
});

Deno.test("the trend of two points, and of points that are all alike", () => {
  const { perHour, low, high, mean } = trendOf([{ hours: 0, value: 1 }, { hours: 2, value: 3 }]);
  assert.deepEqual({ perHour, low, high, mean }, { perHour: 1, low: 1, high: 1, mean: 2 });
  assert.equal(trendOf(heap(1, () => 9, () => 0)).perHour, 0);
});
