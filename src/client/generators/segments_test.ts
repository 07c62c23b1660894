import assert from "node:assert/strict";
import fc from "fast-check";
import { SECOND } from "../../core/clock.ts";
import { burstAt, type Bursts, burstyRate, periods, stepValues } from "./segments.ts";

Deno.test("steps go up or down to the end, which is the last value that may be reached", () => {
  const steps = (start: number, end: number, by: number, op: "add" | "mul") =>
    stepValues({ start, end, by, op });
  assert.deepEqual(steps(2, 32, 2, "mul"), [2, 4, 8, 16, 32]);
  assert.deepEqual(steps(2, 31, 2, "mul"), [2, 4, 8, 16]);
  assert.deepEqual(steps(100, 300, 100, "add"), [100, 200, 300]);
  assert.deepEqual(steps(32, 8, 0.5, "mul"), [32, 16, 8]);
  assert.deepEqual(steps(3, 1, -1, "add"), [3, 2, 1]);
  assert.deepEqual(steps(5, 5, 0, "add"), [5]);
  // Ten times 0.1 is less than 1, three times is more than 0.3.
  assert.equal(steps(0.1, 1, 0.1, "add").length, 10);
  assert.equal(steps(0.1, 0.3, 0.1, "add").length, 3);
});

Deno.test("steps that do not lead to the end are refused, with what would", () => {
  const refused = (start: number, end: number, by: number, op: "add" | "mul", message: RegExp) =>
    assert.throws(() => stepValues({ start, end, by, op }), message);
  refused(1, 2, 0, "add", /^RangeError: more than 0, as 1 goes to 2$/);
  refused(1, 2, 1, "mul", /more than 1, as 1 goes to 2/);
  refused(2, 1, 1, "add", /less than 0, as 2 goes to 1/);
  refused(2, 1, 2, "mul", /less than 1, as 2 goes to 1/);
  refused(1, 1e6, 1e-9, "add", /in 1000000 steps/);
  // So small that the sum stays what it was.
  refused(1e6, 1e6 + 1, 1e-12, "add", /more than 0/);
});

Deno.test("a burst's cycle is a burst and a pause, and may start anywhere", () => {
  const bursts: Bursts = { onNs: 10, offNs: 20, phaseNs: 25 };
  // 5 of the pause are left, then come 10 of burst.
  assert.deepEqual(burstAt(bursts, 0), { on: false, endNs: 5 });
  assert.deepEqual(burstAt(bursts, 4.5), { on: false, endNs: 5 });
  assert.deepEqual(burstAt(bursts, 5), { on: true, endNs: 15 });
  assert.deepEqual(burstAt(bursts, 15), { on: false, endNs: 35 });
  assert.deepEqual(burstAt({ ...bursts, phaseNs: 0 }, 0), { on: true, endNs: 10 });
  const rates = burstyRate(7, bursts, null);
  const seen = [rates.next(), rates.next(), rates.next()].map(({ value }) => {
    assert.ok(value);
    return [value.rate, value.endNs];
  });
  assert.deepEqual(seen, [[0, 5], [7, 15], [0, 35]]);
});

Deno.test("periods give each value its time", () => {
  const segments = [...periods([3, 5], SECOND, (value) => 10 * value)];
  assert.deepEqual(segments, [
    { rate: 30, endNs: SECOND, value: 3 },
    { rate: 50, endNs: 2 * SECOND, value: 5 },
  ]);
});

Deno.test("bursts and pauses take turns, wherever in a cycle the run starts", () => {
  fc.assert(fc.property(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (part) => {
    const bursts = { onNs: 10 * SECOND, offNs: 20 * SECOND, phaseNs: part * 30 * SECOND };
    let { on, endNs } = burstAt(bursts, 0);
    for (let i = 0; i < 1000; i++) {
      const next = burstAt(bursts, endNs);
      assert.equal(next.on, !on);
      assert.equal(next.endNs - endNs, next.on ? bursts.onNs : bursts.offNs);
      ({ on, endNs } = next);
    }
  }));
});
