import assert from "node:assert/strict";
import { SECOND } from "../../core/clock.ts";
import { Random } from "../../core/random.ts";
import { Arrivals, fixedGaps, poissonGaps } from "./arrivals.ts";
import { burstyRate, constantRate, periods } from "./segments.ts";
import { exponentialCdf, gapsOf, KS_LIMIT, ksStatistic } from "./testing.ts";

function timesUntil<T>(arrivals: Arrivals<T>, endNs: number): number[] {
  const times: number[] = [];
  for (let time = arrivals.next(); time < endNs; time = arrivals.next()) times.push(time);
  return times;
}

Deno.test("a Poisson process has its rate and exponential gaps, by seed", () => {
  for (const seed of [1, 2, 3]) {
    const draw = () =>
      timesUntil(
        new Arrivals(poissonGaps(new Random(seed)), constantRate(2000, null)),
        10 * SECOND,
      );
    const times = draw();
    assert.deepEqual(draw(), times);
    // A standard deviation is 0.7 %.
    assert.ok(Math.abs(times.length / 20_000 - 1) < 0.02, `${times.length}`);
    assert.ok(ksStatistic(gapsOf(times), exponentialCdf(SECOND / 2000)) < KS_LIMIT);
  }
});

Deno.test("the test of gaps tells other distributions from the exponential one", () => {
  const random = new Random(1);
  const uniform = Array.from({ length: 20_000 }, () => 2 * random.float());
  assert.ok(ksStatistic(uniform, exponentialCdf(1)) > 10);
  const slower = Array.from({ length: 20_000 }, () => random.exponential(1.05));
  assert.ok(ksStatistic(slower, exponentialCdf(1)) > KS_LIMIT);
});

Deno.test("a fixed rate has equal gaps and begins at a random moment of the first", () => {
  const times = (seed: number) =>
    timesUntil(
      new Arrivals(fixedGaps(new Random(seed)), constantRate(50, null)),
      10 * SECOND,
    );
  assert.equal(times(1).length, 500);
  for (const gap of gapsOf(times(1))) assert.ok(Math.abs(gap - SECOND / 50) < 2);
  assert.notEqual(times(1)[0], times(2)[0]);
  assert.ok(times(1)[0]! < SECOND / 50);
});

Deno.test("the rate follows the segments, and each arrival knows its own", () => {
  const rates = [1000, 0, 4000, 2000];
  const arrivals = new Arrivals(
    poissonGaps(new Random(4)),
    periods(rates, 5 * SECOND, (rate) => rate),
  );
  const counts = rates.map(() => 0);
  for (let time = arrivals.next(); time < Infinity; time = arrivals.next()) {
    const index = Math.floor(time / (5 * SECOND));
    assert.equal(arrivals.segment.value, rates[index]);
    counts[index]!++;
  }
  assert.equal(arrivals.endNs, 20 * SECOND);
  assert.equal(arrivals.next(), Infinity);
  counts.forEach((count, i) => {
    // Four standard deviations.
    assert.ok(Math.abs(count - 5 * rates[i]!) <= 4 * Math.sqrt(5 * rates[i]!), `${counts}`);
  });
});

Deno.test("a fixed rate loses nothing where segments meet", () => {
  // A gap is 0.4 s, segments are 0.25 s: 2.5 a second, with every other segment silent, makes 1.25.
  const halves = periods([1, 0, 1, 0, 1, 0, 1, 0], SECOND / 4, (on) => 2.5 * on);
  const times = timesUntil(new Arrivals(() => 1, halves), Infinity);
  // The first gap ends 0.15 s into the third segment, the second 0.05 s into the seventh.
  assert.deepEqual(times.map((time) => Math.round(time / 1e6)), [650, 1550]);
});

Deno.test("bursts have their rate and pauses are silent", () => {
  const bursts = { onNs: SECOND, offNs: 2 * SECOND, phaseNs: 0.5 * SECOND };
  const arrivals = new Arrivals(poissonGaps(new Random(5)), burstyRate(3000, bursts, null));
  const times = timesUntil(arrivals, 30 * SECOND);
  for (const time of times) assert.ok((time + bursts.phaseNs) % (3 * SECOND) < SECOND);
  assert.ok(Math.abs(times.length / (3000 * 10) - 1) < 0.02, `${times.length}`);
});

Deno.test("a process that is silent for ever has no arrivals", () => {
  const arrivals = new Arrivals(poissonGaps(new Random(1)), constantRate(0, null));
  assert.equal(arrivals.next(), Infinity);
  assert.equal(arrivals.endNs, Infinity);
  assert.throws(() => new Arrivals(() => 1, []).segment, /no arrival/);
});
