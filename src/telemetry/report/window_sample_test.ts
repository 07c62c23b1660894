import assert from "node:assert/strict";
import fc from "fast-check";
import { WindowSample } from "./window_sample.ts";

Deno.test("a sample is all that began in its windows, and as much as there is room for", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: -1000, max: 100_000 }), { maxLength: 400 }),
    fc.integer({ min: 1, max: 100 }),
    fc.constantFrom(16, 128, 4096),
    (times, maxItems, windowNs) => {
      const sample = new WindowSample<{ beginNs: number }>(maxItems, windowNs);
      for (const beginNs of times) if (sample.wants(beginNs)) sample.add({ beginNs });
      assert.ok(sample.items.length <= maxItems);
      const expected = times.filter((ns) => sample.wants(ns));
      if (sample.windowNs > 1) {
        assert.deepEqual(sample.items.map(({ beginNs }) => beginNs), expected);
      } else assert.ok(sample.items.every(({ beginNs }) => expected.includes(beginNs)));
      if (times.length <= maxItems) assert.equal(sample.items.length, times.length);
    },
  ));
});

Deno.test("a long run is sampled all over, and about as much as there is room for", () => {
  const sample = new WindowSample<{ beginNs: number }>(1000, 512);
  for (let ns = 0; ns < 1_000_000; ns++) if (sample.wants(ns)) sample.add({ beginNs: ns });
  assert.ok(sample.items.length > 400, `${sample.items.length}`);
  const windows = new Set(sample.items.map(({ beginNs }) => Math.floor(beginNs / sample.periodNs)));
  assert.ok(windows.size >= 4, `${windows.size}`);
  assert.ok(sample.items.at(-1)!.beginNs > 800_000);
});

Deno.test("what happens all at once is cut off", () => {
  const sample = new WindowSample<{ beginNs: number }>(10, 512);
  for (let i = 0; i < 100; i++) sample.add({ beginNs: 0 });
  assert.equal(sample.items.length, 10);
});
