import assert from "node:assert/strict";
import { threadOffsetNs } from "./thread_time.ts";

// The thread's zero is at 5 ms of the clock; each question and answer takes a different time.
const samples = [
  { sentNs: 10e6, threadMs: 5.04, receivedNs: 10.09e6 },
  { sentNs: 11e6, threadMs: 6.01, receivedNs: 11.05e6 },
];

Deno.test("the difference of origins is taken where messages allow it", () => {
  assert.equal(threadOffsetNs(samples, 5.003e6), 5.003e6);
});

Deno.test("a wall clock that was set is overruled by the nearest bound", () => {
  assert.equal(threadOffsetNs(samples, 3600e9), Math.round(11.05e6 - 6.01e6));
  assert.equal(threadOffsetNs(samples, -3600e9), Math.round(11e6 - 6.01e6));
  // Whichever came first.
  assert.equal(threadOffsetNs(samples.toReversed(), 3600e9), Math.round(11.05e6 - 6.01e6));
  assert.equal(threadOffsetNs(samples.toReversed(), -3600e9), Math.round(11e6 - 6.01e6));
});
