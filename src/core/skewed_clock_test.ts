import assert from "node:assert/strict";
import fc from "fast-check";
import { SECOND } from "./clock.ts";
import { SkewedClock } from "./skewed_clock.ts";
import { VirtualClock } from "./virtual_clock.ts";

Deno.test("a skewed clock never calls early, and late by at most a few nanoseconds", () => {
  fc.assert(fc.property(
    fc.integer({ min: -1e12, max: 1e12 }),
    fc.integer({ min: -500, max: 500 }),
    fc.array(fc.nat(10 * SECOND)),
    (offsetNs, driftPpm, delaysNs) => {
      const base = new VirtualClock();
      const clock = new SkewedClock(base, offsetNs, driftPpm);
      let calls = 0;
      for (const delayNs of delaysNs) {
        const dueNs = clock.now() + delayNs;
        clock.at(dueNs, () => {
          calls++;
          assert.ok(clock.now() >= dueNs && clock.now() <= dueNs + 4);
        });
      }
      base.run(11 * SECOND);
      assert.equal(calls, delaysNs.length);
    },
  ));
});

Deno.test("two clocks differ by their offset, and more with time", () => {
  const base = new VirtualClock();
  const clock = new SkewedClock(base, 500, 100);
  assert.equal(clock.now(), 500);
  base.run(SECOND);
  assert.equal(clock.now(), SECOND + 500 + 100_000);
});
