import assert from "node:assert/strict";
import { Random } from "./random.ts";

Deno.test("the same seed gives the same numbers, another seed others", () => {
  const draw = (seed: number) => {
    const random = new Random(seed);
    return Array.from({ length: 100 }, () => random.uint32());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
  // Pinned: experiments name seeds, so a change of the generator must not go unnoticed.
  assert.deepEqual(draw(1).slice(0, 3), [393288148, 2174103013, 3814759091]);
});

Deno.test("float, below and exponential have the right range and mean", () => {
  const random = new Random(3);
  const n = 100_000;
  let floats = 0, gaps = 0;
  const counts = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const x = random.float();
    assert.ok(x >= 0 && x < 1);
    floats += x;
    gaps += random.exponential(5);
    counts[random.below(3)]!++;
  }
  // Four standard errors each.
  assert.ok(Math.abs(floats / n - 0.5) < 4 * Math.sqrt(1 / 12 / n));
  assert.ok(Math.abs(gaps / n - 5) < 4 * 5 / Math.sqrt(n));
  for (const count of counts) assert.ok(Math.abs(count / n - 1 / 3) < 4 * Math.sqrt(2 / 9 / n));
});
