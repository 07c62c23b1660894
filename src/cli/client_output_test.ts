import assert from "node:assert/strict";
import { MS, SECOND } from "../core/clock.ts";
import { UNDECIDED } from "../client/result.ts";
import { Statistics } from "../client/statistics.ts";
import { intervalJson, intervalLine, summaryJson, summaryLines } from "./client_output.ts";

const NEVER_LOST = { reconnects: 0, strayAnswers: 0 };

function measured(failures: number): Statistics {
  const statistics = new Statistics(0);
  for (const ms of [3.82, 4, 7.18]) {
    statistics.record({ ok: true, value: undefined, latencyNs: ms * MS }, Infinity);
  }
  for (let i = 0; i < failures; i++) {
    const refused = { status: 7, message: "cannot be in time", latencyNs: 0 };
    statistics.record({ ok: false, from: "controller", ...refused }, Infinity);
  }
  return statistics;
}

Deno.test("an interval's line is that of the original; failures are added when there are any", () => {
  assert.equal(
    intervalLine(measured(0).takeInterval(2 * SECOND)),
    "throughput=1.50 min=3.82 max=7.18 mean=5.00",
  );
  assert.match(intervalLine(measured(2).takeInterval(SECOND)), / mean=5.00 failed=2$/);
  assert.equal(
    intervalLine(new Statistics(0).takeInterval(SECOND)),
    "throughput=0.00 min=- max=- mean=-",
  );
});

Deno.test("a summary names each way in which requests failed", () => {
  assert.deepEqual(summaryLines(measured(1).summary(2 * SECOND)), [
    "requests=4 success=75.00% p50=4.00 p99=7.18 max=7.18 goodput=1.50 duration=2.0s failed=1",
    "failed 1 × skipped (7): cannot be in time",
  ]);
});

Deno.test("requests that were not sent, or late, are told of with the reason", () => {
  const statistics = measured(0);
  statistics.drop("outstanding");
  statistics.drop("outstanding");
  statistics.drop("network");
  statistics.sentLate(11 * MS);
  assert.match(intervalLine(statistics.takeInterval(SECOND)), / mean=5.00 dropped=3$/);
  const [line, ...more] = summaryLines(statistics.summary(SECOND));
  assert.match(line!, /^requests=3 .* dropped=3$/);
  assert.deepEqual(more, [
    "dropped 2: too many requests were waiting for answers (see --max-outstanding)",
    "dropped 1: the network to the controller was slower than the load",
    "late 1: requests sent more than 10 ms after their time, as this machine was busy",
  ]);
  const summary = JSON.parse(summaryJson(statistics.summary(SECOND), NEVER_LOST));
  assert.deepEqual(summary.drops, { outstanding: 2, network: 1, late: 0 });
  assert.equal(summary.dropped, 3);
});

Deno.test("undecided requests are told of, and are neither successes nor failures", () => {
  const statistics = measured(0);
  const lost = { status: UNDECIDED, message: "the connection was lost", latencyNs: 0 };
  statistics.record({ ok: false, from: "client", ...lost }, Infinity);
  assert.match(intervalLine(statistics.takeInterval(SECOND)), / mean=5.00 undecided=1$/);
  assert.deepEqual(summaryLines(statistics.summary(2 * SECOND)), [
    "requests=4 success=75.00% p50=4.00 p99=7.18 max=7.18 goodput=1.50 duration=2.0s undecided=1",
    "undecided 1: sent, but the connection was lost before the answer: they may or may not have been " +
    "executed",
  ]);
  const counts = { reconnects: 2, strayAnswers: 3 };
  const json = JSON.parse(summaryJson(statistics.summary(2 * SECOND), counts));
  assert.deepEqual([json.undecided, json.reconnects, json.stray_answers], [1, 2, 3]);
});

Deno.test("an answer after its deadline is no success", () => {
  const statistics = new Statistics(0);
  for (const ms of [50, 99, 100, 101]) {
    statistics.record({ ok: true, value: undefined, latencyNs: ms * MS }, 100 * MS);
  }
  assert.deepEqual(summaryLines(statistics.summary(SECOND)), [
    "requests=4 success=75.00% p50=99.02 p99=101.00 max=101.00 goodput=3.00 duration=1.0s",
    "answered 1 after their deadline: they do not count as success",
  ]);
});

Deno.test("JSON lines have numbers, and null for a latency that there is not", () => {
  const interval = JSON.parse(intervalJson(new Statistics(0).takeInterval(SECOND)));
  assert.equal(interval.min_ms, null);
  assert.equal(interval.throughput, 0);
  const summary = JSON.parse(summaryJson(measured(1).summary(2 * SECOND), NEVER_LOST));
  assert.equal(summary.type, "summary");
  assert.equal(summary.succeeded, 3);
  assert.equal(summary.max_ms, 7.18);
  assert.deepEqual(summary.failures, [
    { from: "controller", status: 7, count: 1, example: "cannot be in time" },
  ]);
});
