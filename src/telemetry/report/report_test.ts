/** The report's numbers, against a computation from the whole log as anybody would do it. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { MS } from "../../core/clock.ts";
import type { ActionRecord, RequestRecord } from "../records.ts";
import { generateLoad } from "./generate.ts";
import { COARSE_BITS, FINE_BITS, relativeError } from "./histogram.ts";
import { makeReport, readLogs, type Report } from "./report.ts";
import { reportLines } from "./table.ts";
import { actionLog, EPOCH_S, memoryFile, requestLog } from "./testing.ts";

const request: fc.Arbitrary<RequestRecord> = fc.record({
  requestId: fc.nat(),
  userId: fc.nat(3),
  modelId: fc.nat(4),
  sloFactor: fc.constantFrom(0, 2.5),
  arrivalNs: fc.integer({ min: 1, max: 1e12 }),
  latencyNs: fc.nat(2e9),
  status: fc.constantFrom(0, 0, 0, 1, 4, 7),
  arrivalCount: fc.nat(1),
  departureCount: fc.nat(3),
  cold: fc.boolean(),
}).map(({ latencyNs, ...rest }) => ({
  ...rest,
  departureNs: rest.arrivalNs + latencyNs,
  deadlineNs: rest.arrivalNs + 1e9,
}));

const action: fc.Arbitrary<ActionRecord> = fc.record({
  actionId: fc.nat(),
  type: fc.constantFrom("LoadWeights" as const, "Infer" as const, "EvictWeights" as const),
  gpu: fc.record({ workerId: fc.nat(2), gpuId: fc.nat(2) }),
  modelId: fc.nat(4),
  batchSize: fc.integer({ min: 1, max: 16 }),
  status: fc.constantFrom(0, 0, 0, 11, 81),
  sentNs: fc.integer({ min: 1, max: 1e12 }),
  waitNs: fc.nat(1e7),
  durationNs: fc.nat(1e8),
  expectedNs: fc.nat(1e8),
  lateNs: fc.integer({ min: -1e6, max: 1e6 }),
}).map(({ type, sentNs, waitNs, durationNs, lateNs, ...rest }) => {
  const { status, actionId, batchSize, ...decided } = rest;
  const ok = status === 0;
  const endNs = ok ? sentNs + waitNs + durationNs : 0;
  return {
    actionId,
    type: { LoadWeights: 1, Infer: 2, EvictWeights: 3 }[type],
    status,
    sentNs,
    action: {
      ...decided,
      ...(type === "Infer" ? { type, batchSize } : { type }),
      expectedEndNs: sentNs + waitNs + durationNs - lateNs,
      queued: 0,
      copiesLoaded: 0,
    },
    beginNs: ok ? endNs - durationNs : 0,
    endNs,
    copyOutputEndNs: endNs,
    receivedByWorkerNs: sentNs + 1,
    sentByWorkerNs: sentNs + waitNs + durationNs,
    enqueuedNs: sentNs + waitNs + durationNs + 100,
    gpuClockBefore: 0,
    gpuClock: 0,
    goodput: 1,
  };
});

/** Files of a log, as rotation leaves them. */
function split<Row>(rows: readonly Row[], name: string, toText: (rows: readonly Row[]) => string) {
  const middle = Math.floor(rows.length / 2);
  return [
    memoryFile(`${name}.1`, toText(rows.slice(0, middle)), 777),
    memoryFile(name, toText(rows.slice(middle)), 1001),
  ];
}

function reportOf(requests: readonly RequestRecord[], actions: readonly ActionRecord[]): Report {
  return makeReport(readLogs({
    requests: split(requests, "requests", requestLog),
    actions: split(actions, "actions", actionLog),
  }));
}

function near(
  found: number | null | undefined,
  values: readonly number[],
  q: number,
  bits = FINE_BITS,
): void {
  const sorted = values.toSorted((a, b) => a - b);
  const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1]!;
  assert.ok(
    Math.abs(found! - exact) <= relativeError(bits) * Math.abs(exact),
    `${found}, not ${exact}`,
  );
}

const count = <T>(values: readonly T[], is: (value: T) => boolean) => values.filter(is).length;

Deno.test("requests add up as if counted by hand", () => {
  fc.assert(fc.property(fc.array(request, { minLength: 1, maxLength: 80 }), (records) => {
    const { requests, models, durationS, begin } = reportOf(records, []);
    const good = (r: RequestRecord) => r.status === 0 && r.departureNs <= r.deadlineNs;
    const cold = (r: RequestRecord) => r.cold && r.arrivalCount === 0;
    const succeeded = records.filter(({ status }) => status === 0);
    const beginNs = Math.min(...records.map(({ arrivalNs }) => arrivalNs));
    const endNs = Math.max(...records.map(({ departureNs }) => departureNs));
    assert.equal(durationS, (endNs - beginNs) / 1e9);
    assert.equal(Date.parse(begin!), Math.floor(EPOCH_S * 1000 + beginNs / 1e6));
    assert.equal(requests.count, records.length);
    assert.equal(requests.succeeded, succeeded.length);
    assert.equal(requests.inTime, count(records, good));
    assert.equal(requests.late, succeeded.length - count(records, good));
    assert.equal(requests.coldStarts, count(records, cold));
    const rate = (n: number) => durationS > 0 ? n / durationS : 0;
    assert.equal(requests.offeredPerS, rate(records.length));
    assert.equal(requests.goodputPerS, rate(count(records, good)));
    for (const { status, count: found } of requests.byStatus) {
      assert.equal(found, count(records, (r) => r.status === status));
    }
    assert.equal(requests.byStatus.reduce((sum, { count }) => sum + count, 0), records.length);
    const latencies = succeeded.map(({ departureNs, arrivalNs }) => departureNs - arrivalNs);
    if (latencies.length === 0) assert.equal(requests.latency, null);
    else {
      const { p50Ns, p99Ns, p999Ns, p9999Ns, minNs, maxNs, meanNs } = requests.latency!;
      assert.deepEqual([minNs, maxNs], [Math.min(...latencies), Math.max(...latencies)]);
      near(p50Ns, latencies, 0.5);
      near(p99Ns, latencies, 0.99);
      near(p999Ns, latencies, 0.999);
      near(p9999Ns, latencies, 0.9999);
      assert.equal(meanNs, latencies.reduce((sum, ns) => sum + ns, 0) / latencies.length);
    }
    assert.equal(requests.coldLatency?.count ?? 0, count(succeeded, cold));

    assert.equal(models.count, new Set(records.map(({ modelId }) => modelId)).size);
    assert.equal(models.worst.length, models.count);
    let last: [share: number, maxNs: number] = [0, Infinity];
    for (const model of models.worst) {
      const own = records.filter(({ modelId }) => modelId === model.modelId);
      const latencies = own.filter(({ status }) => status === 0)
        .map(({ departureNs, arrivalNs }) => departureNs - arrivalNs);
      assert.equal(model.requests, own.length);
      assert.equal(model.inTime, count(own, good));
      assert.equal(model.coldStarts, count(own, cold));
      assert.equal(model.maxNs, latencies.length === 0 ? null : Math.max(...latencies));
      if (latencies.length > 0) {
        near(model.p50Ns, latencies, 0.5, COARSE_BITS);
        near(model.p99Ns, latencies, 0.99, COARSE_BITS);
      }
      const [share, maxNs] = [model.inTime / model.requests, model.maxNs ?? 0];
      const worse = share > last[0] || (share === last[0] && maxNs <= last[1]);
      assert.ok(worse, "the worst come first");
      last = [share, maxNs];
    }
  }));
});

Deno.test("actions add up as if counted by hand", () => {
  fc.assert(fc.property(fc.array(action, { minLength: 1, maxLength: 80 }), (records) => {
    const { actions, gpus, predictionErrors, durationS } = reportOf([], records);
    const of = (type: number) => records.filter((r) => r.type === type && r.status === 0);
    assert.equal(actions.count, records.length);
    assert.equal(actions.loads, of(1).length);
    assert.equal(actions.evictions, of(3).length);
    for (const { type, count: all, failed } of actions.byType) {
      assert.equal(all, count(records, (r) => r.type === type));
      assert.equal(failed, count(records, (r) => r.type === type && r.status !== 0));
    }
    for (const { action, status, count: found } of actions.failures) {
      assert.equal(found, count(records, (r) => r.action.type === action && r.status === status));
    }
    for (const [type, name] of [[2, "Infer"], [1, "LoadWeights"]] as const) {
      const errors = {
        duration: of(type).map((r) => r.endNs - r.beginNs - r.action.expectedNs),
        completion: of(type).map((r) => r.endNs - r.action.expectedEndNs),
      };
      for (const what of ["duration", "completion"] as const) {
        const found = predictionErrors.find((e) => e.action === name && e.what === what);
        assert.equal(found?.count ?? 0, errors[what].length);
        if (found === undefined) continue;
        assert.deepEqual(
          [found.minNs, found.maxNs],
          [Math.min(...errors[what]), Math.max(...errors[what])],
        );
        near(found.p1Ns, errors[what], 0.01);
        near(found.p50Ns, errors[what], 0.5);
        near(found.p99Ns, errors[what], 0.99);
        near(found.p999Ns, errors[what], 0.999);
      }
    }
    const places = records.map(({ action: { gpu } }) => `${gpu.workerId}/${gpu.gpuId}`);
    assert.deepEqual(
      gpus.map(({ workerId, gpuId }) => `${workerId}/${gpuId}`),
      [...new Set(places)].sort(),
    );
    for (const gpu of gpus) {
      const own = (r: ActionRecord) =>
        r.action.gpu.workerId === gpu.workerId && r.action.gpu.gpuId === gpu.gpuId;
      const busy = (type: number) =>
        of(type).filter(own).reduce((sum, { beginNs, endNs }) => sum + endNs - beginNs, 0);
      assert.equal(gpu.infers, count(of(2), own));
      assert.equal(
        gpu.inferredRequests,
        of(2).filter(own).reduce(
          (sum, { action }) => sum + (action.type === "Infer" ? action.batchSize : 0),
          0,
        ),
      );
      assert.equal(gpu.loads, count(of(1), own));
      assert.equal(gpu.evictions, count(of(3), own));
      assert.equal(gpu.failedActions, count(records, (r) => own(r) && r.status !== 0));
      assert.ok(Math.abs(gpu.inferUtilization * durationS * 1e9 - busy(2)) < 1);
      assert.ok(Math.abs(gpu.loadUtilization * durationS * 1e9 - busy(1)) < 1);
    }
  }));
});

Deno.test("empty logs, and logs of which one is missing, make a report that says so", () => {
  const empty = reportOf([], []);
  assert.deepEqual(empty.notes, ["no request was logged", "no action was logged"]);
  assert.equal(empty.begin, null);
  assert.deepEqual([empty.durationS, empty.requests.count, empty.gpus], [0, 0, []]);
  assert.ok(reportLines(empty).includes("Note: no request was logged."));
  // A crash before the header was on disk.
  const nothing = { requests: [memoryFile("r", "")], actions: [memoryFile("a", "t\tacti")] };
  assert.deepEqual(makeReport(readLogs(nothing)).notes, [
    "the last line of a is cut short, and left out",
    "no request was logged",
    "no action was logged",
  ]);
  assert.deepEqual(
    makeReport(readLogs({ ...nothing, requests: [] })).notes[0],
    "there is no log of requests",
  );
});

Deno.test("statuses have names, known or not", () => {
  const [record] = fc.sample(request, { numRuns: 1, seed: 1 });
  const records = [0, 7, 8, 99].map((status) => ({ ...record!, status }));
  assert.deepEqual(
    reportOf(records, []).requests.byStatus.map(({ status, name }) => [status, name]),
    [[0, "success"], [7, "skipped"], [8, "could not start in time"], [99, "unknown status"]],
  );
});

Deno.test("the terminal's report shows every part of the numbers, in aligned columns", () => {
  const requests: RequestRecord[] = [];
  const actions: ActionRecord[] = [];
  generateLoad(
    { seed: 3, requests: 5000, gpus: 3, models: 30, requestsPerS: 600 },
    (record) => requests.push(record),
    (record) => actions.push(record),
  );
  const report = reportOf(requests, actions);
  const lines = reportLines(report);
  const line = (begin: string) => lines.find((line) => line.startsWith(begin)) ?? begin;
  assert.match(line("Requests "), /^Requests +5,000 \(\d+\.\d per second\)$/);
  const { inTime, latency } = report.requests;
  assert.ok(line("Answered in time").includes(`${inTime.toLocaleString("en-US")} (`));
  assert.ok(line("Results").endsWith((latency!.maxNs / MS).toFixed(2)));
  assert.match(line("Latency, ms"), / min +mean +p50 +p99 +p99\.9 +p99\.99 +max$/);
  assert.match(line("LoadWeights  "), /^LoadWeights +\d+ +0$/);
  assert.match(line("Infer completion"), /^Infer completion( +-?\d+\.\d{3}){6}$/);
  assert.match(line("W0-GPU2"), /^W0-GPU2( +\d+\.\d\d %){2}( +[\d,]+){2} +\d\.\d\d( +[\d,]+){3}$/);
  assert.match(line("Worst of"), /^Worst of 30 models/);
  const table = lines.slice(lines.indexOf(line("GPU ")));
  assert.equal(new Set(table.map(({ length }) => length)).size, 1);
});
