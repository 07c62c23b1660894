import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { LatencyHistogram } from "./latency_histogram.ts";
import { UNDECIDED } from "./result.ts";
import { Statistics } from "./statistics.ts";

function success(latencyNs: number) {
  return { ok: true, value: undefined, latencyNs } as const;
}

function failure(status: number, message: string) {
  return { ok: false, from: "controller", status, message, latencyNs: 1 } as const;
}

Deno.test("an interval has exactly what was recorded since the last", () => {
  const statistics = new Statistics(0);
  for (const ms of [4, 2, 9]) statistics.record(success(ms * MS), Infinity);
  statistics.record(failure(7, "skipped"), Infinity);
  assert.deepEqual(statistics.takeInterval(2 * SECOND), {
    durationNs: 2 * SECOND,
    succeeded: 3,
    failed: 1,
    undecided: 0,
    dropped: 0,
    throughput: 1.5,
    minNs: 2 * MS,
    maxNs: 9 * MS,
    meanNs: 5 * MS,
  });
  const empty = statistics.takeInterval(3 * SECOND);
  assert.equal(empty.durationNs, SECOND);
  assert.equal(empty.succeeded, 0);
  assert.equal(empty.throughput, 0);
  assert.ok(Number.isNaN(empty.minNs) && Number.isNaN(empty.meanNs) && Number.isNaN(empty.maxNs));
});

Deno.test("a summary counts answers after their deadline as successes but not as goodput", () => {
  const statistics = new Statistics(SECOND);
  statistics.record(success(5 * MS), 5 * MS);
  statistics.record(success(6 * MS), 5 * MS);
  statistics.record(success(60 * MS), Infinity);
  statistics.record(failure(4, "late"), 5 * MS);
  statistics.record(failure(7, "first"), 5 * MS);
  statistics.record(failure(7, "second"), 5 * MS);
  const summary = statistics.summary(5 * SECOND);
  assert.equal(summary.requests, 6);
  assert.equal(summary.succeeded, 3);
  assert.equal(summary.inTime, 2);
  assert.equal(summary.goodput, 0.5);
  assert.equal(summary.maxNs, 60 * MS);
  assert.deepEqual(summary.failures, [
    { from: "controller", status: 7, count: 2, example: "first" },
    { from: "controller", status: 4, count: 1, example: "late" },
  ]);
});

Deno.test("undecided requests are neither successes nor failures, and what was never sent is told apart", () => {
  const statistics = new Statistics(0);
  statistics.record(success(4 * MS), Infinity);
  statistics.record({ ...failure(UNDECIDED, "lost"), from: "client" }, Infinity);
  statistics.record({ ...failure(1, "never sent"), from: "client" }, Infinity);
  statistics.record(failure(1, "refused"), Infinity);
  const { succeeded, failed, undecided } = statistics.takeInterval(SECOND);
  assert.deepEqual([succeeded, failed, undecided], [1, 2, 1]);
  const summary = statistics.summary(SECOND);
  assert.deepEqual([summary.requests, summary.undecided], [4, 1]);
  assert.deepEqual(summary.failures, [
    { from: "client", status: 1, count: 1, example: "never sent" },
    { from: "controller", status: 1, count: 1, example: "refused" },
  ]);
});

Deno.test("a run without requests has a summary without latencies", () => {
  const summary = new Statistics(0).summary(0);
  assert.equal(summary.requests, 0);
  assert.equal(summary.goodput, 0);
  assert.ok(Number.isNaN(summary.p50Ns) && Number.isNaN(summary.maxNs));
});

Deno.test("quantiles are those of the sorted values, within a thousandth", () => {
  const random = new Random(1);
  for (const spread of [1e3, 1e6, 1e9, 1e13]) {
    const histogram = new LatencyHistogram();
    const values: number[] = [];
    for (let i = 0; i < 2000; i++) {
      const value = Math.floor(random.exponential(spread));
      values.push(value);
      histogram.add(value);
    }
    values.sort((a, b) => a - b);
    for (const q of [0.0005, 0.25, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = values[Math.ceil(q * values.length) - 1]!;
      const found = histogram.quantile(q);
      assert.ok(found >= exact && found <= exact * 1.001, `${q}: ${found} for ${exact}`);
    }
  }
});

Deno.test("bucket edges: each value from 0 to the largest is found again", () => {
  const edges = [0, 1, 1023, 1024, 2047, 2048];
  // Just below some of these powers, the logarithm is rounded up to the next whole number.
  for (let power = 12; power < 53; power++) edges.push(2 ** power - 1, 2 ** power);
  for (const value of edges) {
    const histogram = new LatencyHistogram();
    histogram.add(value);
    histogram.add(Number.MAX_SAFE_INTEGER);
    const found = histogram.quantile(0.5);
    assert.ok(found >= value && found <= value * 1.001, `${found} for ${value}`);
  }
});

Deno.test("a quantile is the least value that its share does not exceed", () => {
  const histogram = new LatencyHistogram();
  for (const value of [10, 20, 30]) histogram.add(value);
  assert.deepEqual([0.33, 0.34, 0.5, 0.67, 1].map((q) => histogram.quantile(q)), [
    10,
    20,
    20,
    30,
    30,
  ]);
});

Deno.test("drops are counted by reason and not among the requests; lateness is counted from 10 ms on", () => {
  const statistics = new Statistics(0);
  statistics.drop("outstanding");
  statistics.drop("outstanding");
  statistics.drop("late");
  for (const lateMs of [0, 10, 11]) statistics.sentLate(lateMs * MS);
  assert.equal(statistics.takeInterval(SECOND).dropped, 3);
  assert.equal(statistics.takeInterval(2 * SECOND).dropped, 0);
  const { requests, drops, late } = statistics.summary(2 * SECOND);
  assert.equal(requests, 0);
  assert.deepEqual(drops, { outstanding: 2, network: 0, late: 1 });
  assert.equal(late, 1);
});
