/** What the plots show, against a computation from the whole log. */
import assert from "node:assert/strict";
import type { ActionRecord, RequestRecord } from "../records.ts";
import { generateLoad } from "./generate.ts";
import { makePlots } from "./plots.ts";
import { readLogs } from "./report.ts";
import { actionLog, memoryFile, requestLog } from "./testing.ts";

const requests: RequestRecord[] = [];
const actions: ActionRecord[] = [];
generateLoad(
  { seed: 9, requests: 8000, gpus: 2, models: 20, requestsPerS: 300 },
  (record) => requests.push(record),
  (record) => actions.push(record),
);
const plots = makePlots(readLogs({
  requests: [memoryFile("requests", requestLog(requests))],
  actions: [memoryFile("actions", actionLog(actions))],
}));
const beginNs = Math.min(
  ...requests.map(({ arrivalNs }) => arrivalNs),
  ...actions.map(({ sentNs }) => sentNs),
);
const endNs = Math.max(
  ...requests.map(({ departureNs }) => departureNs),
  ...actions.map(({ enqueuedNs }) => enqueuedNs),
);

Deno.test("rates are those of each bin, also of the first and last, which are not full", () => {
  const { beginS, widthS, offered, good, bad } = plots.rates;
  assert.ok(offered.length > 100 && offered.length <= 300, `${offered.length}`);
  const inBin = (timesNs: readonly number[], bin: number) => {
    const from = beginS + bin * widthS;
    const count = timesNs.filter((ns) => {
      const at = (ns - beginNs) / 1e9;
      return at >= from && at < from + widthS;
    }).length;
    const covered = Math.min(from + widthS, (endNs - beginNs) / 1e9) - Math.max(from, 0);
    return count / Math.max(covered, widthS / 4);
  };
  const met = (r: RequestRecord) => r.status === 0 && r.departureNs <= r.deadlineNs;
  const arrivals = requests.map(({ arrivalNs }) => arrivalNs);
  const inTime = requests.filter(met).map(({ departureNs }) => departureNs);
  const others = requests.filter((r) => !met(r)).map(({ departureNs }) => departureNs);
  for (let bin = 0; bin < offered.length; bin++) {
    for (const [found, times] of [[offered, arrivals], [good, inTime], [bad, others]] as const) {
      const exact = inBin(times, bin);
      // Told to six digits.
      assert.ok(Math.abs(found[bin]! - exact) <= 1e-4 * (1 + exact), `${bin}: ${found[bin]}`);
    }
  }
});

Deno.test("a distribution's curve counts the values up to each place, and ends with all", () => {
  const { x, series: [all, cold] } = plots.latency;
  const results = requests.filter(({ status }) => status === 0)
    .map(({ departureNs, arrivalNs }) => (departureNs - arrivalNs) / 1e6);
  assert.equal(all!.count, results.length);
  assert.equal(all!.counts.at(-1), results.length);
  assert.ok(cold!.count < all!.count && cold!.count > 0);
  for (let i = 0; i < x.length; i += 20) {
    const atMost = (ms: number) => results.filter((latency) => latency <= ms).length;
    assert.ok(all!.counts[i]! >= atMost(x[i]! * 0.995) && all!.counts[i]! <= atMost(x[i]! * 1.005));
  }
});

Deno.test("the timeline has every GPU's time, and of a short run every action", () => {
  const { gpus, infer, load, widthS, actions: sampled, windowS, periodS } = plots.timeline;
  assert.deepEqual(gpus, ["W0-GPU0", "W0-GPU1"]);
  assert.equal(windowS, periodS);
  assert.equal(sampled.id.length, actions.length);
  const sorted = actions.toSorted((a, b) => a.beginNs - b.beginNs);
  for (let i = 0; i < sorted.length; i += 97) {
    assert.ok(Math.abs(sampled.beginUs[i]! - (sorted[i]!.beginNs - beginNs) / 1000) < 1);
  }
  for (const gpu of [0, 1]) {
    for (const [percents, type] of [[infer, 2], [load, 1]] as const) {
      const busyS = actions.filter((a) => a.type === type && a.action.gpu.gpuId === gpu)
        .reduce((sum, { beginNs, endNs }) => sum + endNs - beginNs, 0) / 1e9;
      const foundS = percents[gpu]!.reduce((sum, percent) => sum + percent / 100 * widthS, 0);
      assert.ok(Math.abs(foundS / busyS - 1) < 0.05, `${foundS} of ${busyS}`);
    }
  }
});

Deno.test("an action that failed is in the timeline when that was heard", () => {
  const [action] = actions;
  const failed = { ...action!, status: 11, beginNs: 0, endNs: 0, copyOutputEndNs: 0 };
  const { timeline, prediction } = makePlots(readLogs({
    requests: [],
    actions: [memoryFile("actions", actionLog([failed]))],
  }));
  const { beginUs, durationUs, status } = timeline.actions;
  assert.deepEqual([beginUs, durationUs, status], [
    [Math.round((failed.enqueuedNs - failed.sentNs) / 100) / 10],
    [0],
    [11],
  ]);
  assert.deepEqual(prediction.series, []);
});

Deno.test("a latency of nothing has a place in the plot", () => {
  const [request] = requests.filter(({ status }) => status === 0);
  const { latency: { x, series } } = makePlots(readLogs({
    requests: [
      memoryFile("requests", requestLog([{ ...request!, departureNs: request!.arrivalNs }])),
    ],
    actions: [],
  }));
  assert.ok(x.every(Number.isFinite));
  assert.equal(series[0]!.counts.at(-1), 1);
});
