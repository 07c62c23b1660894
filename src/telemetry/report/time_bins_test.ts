import assert from "node:assert/strict";
import fc from "fast-check";
import { TimeBins } from "./time_bins.ts";

const span = fc.tuple(
  fc.integer({ min: -100_000, max: 100_000 }),
  fc.oneof(fc.nat(10), fc.nat(50_000)),
);

Deno.test("every bin has what happened in it, however the width had to grow", () => {
  fc.assert(fc.property(
    fc.array(span, { minLength: 1, maxLength: 60 }),
    fc.integer({ min: 2, max: 40 }),
    fc.integer({ min: 1, max: 1000 }),
    fc.nat(10),
    (spans, maxBins, width, coarse) => {
      const bins = new TimeBins(maxBins, width);
      const [points, busy] = [bins.addRow(), bins.addRow()];
      for (const [beginNs, durationNs] of spans) {
        bins.add(points, beginNs, 2);
        bins.addSpan(busy, beginNs, beginNs + durationNs);
      }
      bins.coarsen(coarse);
      const { widthNs, beginNs: first, length } = bins;
      assert.ok(length <= maxBins && (coarse === 0 || length <= Math.max(2, coarse)));
      assert.equal(Math.log2(widthNs / width) % 1, 0);
      const within = (bin: number, begin: number, end: number) =>
        Math.max(
          0,
          Math.min(end, first + (bin + 1) * widthNs) - Math.max(begin, first + bin * widthNs),
        );
      for (let bin = 0; bin < length; bin++) {
        const count = spans.filter(([at]) => Math.floor((at - first) / widthNs) === bin).length;
        assert.equal(bins.row(points)[bin], 2 * count);
        const busyNs = spans.reduce(
          (sum, [begin, durationNs]) => sum + within(bin, begin, begin + durationNs),
          0,
        );
        assert.equal(bins.row(busy)[bin], busyNs);
      }
    },
  ));
});

Deno.test("a time that cannot be makes bins wide, not many", () => {
  const bins = new TimeBins(100, 1);
  const row = bins.addRow();
  bins.add(row, 0, 1);
  bins.addSpan(row, 5, 2e18);
  assert.ok(bins.length <= 100);
  assert.ok(Math.abs(bins.row(row).reduce((sum, value) => sum + value) / 2e18 - 1) < 1e-9);
});
