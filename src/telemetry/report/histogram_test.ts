import assert from "node:assert/strict";
import fc from "fast-check";
import { COARSE_BITS, FINE_BITS, Histogram, relativeError, SignedHistogram } from "./histogram.ts";

const QS = [0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1];

/** The nearest rank, as a report would be checked by hand. */
function exactQuantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1]!;
}

/** Values of every magnitude, with repetitions. */
const magnitude = fc.oneof(
  fc.nat(3),
  fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  fc.tuple(fc.integer({ min: 0, max: 52 }), fc.double({ min: 1, max: 2, noNaN: true }))
    .map(([exponent, fraction]) => Math.floor(fraction * 2 ** exponent)),
);

Deno.test("a quantile is within the stated error of the exact one; the ends are exact", () => {
  fc.assert(fc.property(
    fc.array(magnitude, { minLength: 1, maxLength: 300 }),
    fc.constantFrom(COARSE_BITS, FINE_BITS),
    (values, bits) => {
      const histogram = new Histogram(bits);
      for (const value of values) histogram.add(value);
      const sorted = values.toSorted((a, b) => a - b);
      const found = histogram.quantiles(QS);
      QS.forEach((q, i) => {
        const exact = exactQuantile(sorted, q);
        const error = Math.abs(found[i]! - exact);
        assert.ok(error <= relativeError(bits) * exact, `q=${q}: ${found[i]}, not ${exact}`);
        assert.equal(histogram.quantile(q), found[i]);
      });
      assert.equal(found[0], sorted[0]);
      assert.equal(found.at(-1), sorted.at(-1));
      assert.deepEqual([histogram.min, histogram.max], [sorted[0], sorted.at(-1)]);
      assert.equal(histogram.count, values.length);
    },
  ));
});

Deno.test("quantiles of values of either sign are within the error of their magnitude", () => {
  const signed = fc.tuple(magnitude, fc.boolean()).map(([value, negative]) =>
    negative ? 0 - value : value
  );
  fc.assert(fc.property(fc.array(signed, { minLength: 1, maxLength: 300 }), (values) => {
    const histogram = new SignedHistogram(FINE_BITS);
    for (const value of values) histogram.add(value);
    const sorted = values.toSorted((a, b) => a - b);
    histogram.quantiles(QS).forEach((found, i) => {
      const exact = exactQuantile(sorted, QS[i]!);
      const error = Math.abs(found - exact);
      assert.ok(error <= relativeError(FINE_BITS) * Math.abs(exact), `${found}, not ${exact}`);
    });
    assert.deepEqual([histogram.min, histogram.max], [sorted[0], sorted.at(-1)]);
  }));
});

Deno.test("how many values are below a limit is right, but for those that are all but equal to it", () => {
  const limits = fc.array(magnitude, { maxLength: 20 }).map((all) => all.sort((a, b) => a - b));
  fc.assert(fc.property(fc.array(magnitude, { maxLength: 100 }), limits, (values, limits) => {
    const histogram = new Histogram(FINE_BITS);
    const signed = new SignedHistogram(FINE_BITS);
    for (const [i, value] of values.entries()) {
      histogram.add(value);
      signed.add(i % 2 === 0 ? value : -value);
    }
    const atMost = (limit: number) => values.filter((value) => value <= limit).length;
    const error = relativeError(FINE_BITS);
    for (const counts of [histogram.countsUpTo(limits), signed.countsWithin(limits)]) {
      limits.forEach((limit, i) => {
        assert.ok(counts[i]! >= atMost(limit * (1 - 2 * error) - 1), `${counts[i]} <= ${limit}`);
        assert.ok(counts[i]! <= atMost(limit * (1 + 2 * error)), `${counts[i]} <= ${limit}`);
      });
    }
  }));
});

Deno.test("below the smallest value there is none, even in its bucket", () => {
  const histogram = new Histogram(FINE_BITS);
  const place = (part: number) => 2 ** 20 * (1 + part / 2 ** FINE_BITS);
  histogram.add(place(0.9));
  assert.deepEqual(histogram.countsUpTo([place(0.6), place(0.95)]), [0, 1]);
});

Deno.test("without values there are no quantiles", () => {
  assert.deepEqual(new Histogram(FINE_BITS).quantiles([0.5, 1]), [NaN, NaN]);
  assert.deepEqual(new SignedHistogram(FINE_BITS).quantiles([0.5]), [NaN]);
});
