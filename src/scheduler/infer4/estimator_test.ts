import assert from "node:assert/strict";
import fc from "fast-check";
import { ESTIMATE_WINDOW, Estimator } from "./estimator.ts";

Deno.test("an estimate is the 99th percentile, by nearest rank, of the last ten measurements", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 60 }),
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
