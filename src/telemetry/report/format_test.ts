import assert from "node:assert/strict";
import { formatCount, formatMs, formatPerBatch, formatShare } from "./format.ts";

Deno.test("100 % is said of all only, and of nothing there are no shares", () => {
  assert.equal(formatShare(99_999, 100_000), "99.99 %");
  assert.equal(formatShare(100_000, 100_000), "100.00 %");
  assert.equal(formatShare(0, 0), "–");
  assert.equal(formatPerBatch(3, 2), "1.50");
  assert.equal(formatPerBatch(0, 0), "–");
});

Deno.test("times are in milliseconds, and what rounds to nothing has no sign", () => {
  assert.equal(formatMs(1_234_567), "1.23");
  assert.equal(formatMs(-1_234_567, 3), "-1.235");
  assert.equal(formatMs(-4_000), "0.00");
  assert.equal(formatMs(-4_000, 3), "-0.004");
  assert.equal(formatMs(null), "–");
  assert.equal(formatCount(1_234_567), "1,234,567");
});
