import assert from "node:assert/strict";
import fc from "fast-check";
import { ESTIMATE_WINDOW, Estimator } from "./estimator.ts";

Deno.test("an estimate is the 99th percentile, by nearest rank, of the last ten measurements", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 60, size: "max" }),
    (measured) => {
      const estimator = new Estimator(measured[0]!);
      measured.forEach((ns, i) => {
        if (i > 0) estimator.record(ns);
        const window = measured.slice(0, i + 1).slice(-ESTIMATE_WINDOW).sort((a, b) => a - b);
        const rank = Math.ceil(0.99 * window.length);
        assert.equal(estimator.ns, window[rank - 1]);
      });
    },
  ));
});

Deno.test("the largest measurements can be forgotten, and all but one value go in the end", () => {
  const estimator = new Estimator(3);
  for (const ns of [300, 5, 300, 4]) estimator.record(ns);
  for (const expected of [300, 5, 4, 3, 3]) {
    assert.equal(estimator.ns, expected);
    estimator.forgetLargest();
  }

  const later = new Estimator(3);
  for (const ns of [300, 5, 300, 4]) later.record(ns);
  later.forgetLargest();
  for (let i = 0; i < 2 * ESTIMATE_WINDOW; i++) {
    later.record(2);
    assert.ok(later.ns <= 5, "what was forgotten does not come back");
  }
  assert.equal(later.ns, 2);
});
