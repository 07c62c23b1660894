import assert from "node:assert/strict";
import type { Request } from "../scheduler.ts";
import { type Batch, chooseBatch, largestFilled } from "./batch.ts";
import { RequestQueue } from "./request_queue.ts";

const SIZES = [1, 2, 4, 8];
const EXEC = [3, 5, 8, 12];

/** What is chosen at time 0 from requests with these deadlines, and whether the GPU is pressed. */
function choose(deadlines: readonly number[], isPressed = false, execs = EXEC): Batch | null {
  const queue = new RequestQueue<Request>();
  for (const deadlineNs of deadlines) {
    queue.insert({ modelId: 0, arrivalNs: 0, deadlineNs, inputBytes: 0 });
  }
  const times = {
    batchSizes: SIZES,
    execNs: (index: number) => execs[index]!,
    finishNs: (index: number) => execs[index]!,
  };
  return chooseBatch(queue, times, () => isPressed);
}

const late = (count: number) => new Array<number>(count).fill(100);

Deno.test("the largest size that requests fill, if there are any", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 7, 8, 99].map((n) => largestFilled(SIZES, n)), [
    -1,
    0,
    1,
    1,
    2,
    2,
    3,
    3,
  ]);
});

Deno.test("the batch that makes best use of the GPU is chosen, with empty places if that is better", () => {
  assert.deepEqual(choose(late(1)), { from: 0, count: 1, index: 0 });
  assert.deepEqual(choose(late(8)), { from: 0, count: 8, index: 3 });
  assert.deepEqual(choose(late(20)), { from: 0, count: 8, index: 3 });
  // 3 in 8 against 2 in 5; 5 in 12 against 4 in 8; 7 in 12.
  assert.deepEqual(choose(late(3)), { from: 0, count: 2, index: 1 });
  assert.deepEqual(choose(late(5)), { from: 0, count: 4, index: 2 });
  assert.deepEqual(choose(late(7)), { from: 0, count: 7, index: 3 });
  // A size that is slower than its worth is passed over; of two as good, the larger is taken.
  assert.deepEqual(choose(late(8), false, [3, 5, 8, 17]), { from: 0, count: 4, index: 2 });
  // A worker runs two requests as the size for two, even where that for four is faster.
  assert.deepEqual(choose(late(2), false, [3, 5, 4, 12]), { from: 0, count: 2, index: 1 });
  assert.deepEqual(choose(late(2), false, [3, 6, 8, 12]), { from: 0, count: 2, index: 1 });
});

Deno.test("who cannot be in time is left out, and bounds who comes after him no more", () => {
  assert.equal(choose([]), null);
  assert.equal(choose([1, 2]), null);
  assert.deepEqual(choose([3]), { from: 0, count: 1, index: 0 });
  assert.deepEqual(choose([2, ...late(8)]), { from: 1, count: 8, index: 3 });
});

Deno.test("an urgent request is served in a small batch, unless others would be late", () => {
  const deadlines = [6, ...late(8)];
  assert.deepEqual(choose(deadlines), { from: 0, count: 2, index: 1 });
  assert.deepEqual(choose(deadlines, true), { from: 1, count: 8, index: 3 });
  assert.deepEqual(choose([6, 9, 9, 9, 9], true), { from: 1, count: 4, index: 2 });
  // There is no better batch without it.
  assert.deepEqual(choose([12, ...late(7)], true), { from: 0, count: 8, index: 3 });
  assert.deepEqual(choose([6, 7], true), { from: 0, count: 2, index: 1 });
});
