import assert from "node:assert/strict";
import { MS } from "../../core/clock.ts";
import type { ActionRecord, RequestRecord } from "../records.ts";
import { ControllerMetrics } from "./controller_metrics.ts";
import { scrape } from "./testing.ts";

const nothing = {
  workers: [],
  models: 0,
  unanswered: 0,
  unansweredByModel: () => new Map<string, number>(),
};

/** An inference that was to begin at 10 ms and to take 3 ms. */
function inference(beginNs: number, endNs: number): ActionRecord {
  return {
    actionId: 1,
    type: 2,
    action: {
      type: "Infer",
      batchSize: 4,
      gpu: { workerId: 0, gpuId: 0 },
      modelId: 5,
      expectedNs: 3 * MS,
      expectedEndNs: 13 * MS,
      queued: 0,
      copiesLoaded: 1,
    },
    status: 0,
    sentNs: 9 * MS,
    beginNs,
    endNs,
    copyOutputEndNs: endNs,
    receivedByWorkerNs: 0,
    sentByWorkerNs: 0,
    enqueuedNs: endNs,
    gpuClockBefore: 0,
    gpuClock: 0,
    goodput: 1,
  };
}

Deno.test("errors of predictions are told by their direction", async () => {
  const metrics = new ControllerMetrics(() => nothing, () => "m");
  // Begins 2 ms late and takes 1 ms less; begins 4 ms early and takes 2 ms more.
  metrics.onAction(inference(12 * MS, 14 * MS));
  metrics.onAction(inference(6 * MS, 11 * MS));
  const found = await scrape(metrics.metrics());
  const sums = (name: string) =>
    ["over", "under"].map((direction) => {
      const seconds = found.get(
        `clockwork_${name}_seconds_sum{type="infer",direction="${direction}"}`,
      );
      return Math.round(1e6 * seconds!);
    });
  assert.deepEqual(sums("prediction_error"), [2000, 1000]);
  assert.deepEqual(sums("completion_error"), [1000, 2000]);
});

Deno.test("a start is cold for the first of those that wait only", async () => {
  const metrics = new ControllerMetrics(() => nothing, () => "m");
  const request: RequestRecord = {
    requestId: 0,
    userId: 0,
    modelId: 5,
    sloFactor: 0,
    arrivalNs: 0,
    deadlineNs: 100 * MS,
    departureNs: 20 * MS,
    status: 0,
    arrivalCount: 0,
    departureCount: 0,
    cold: true,
  };
  metrics.onRequest(request);
  metrics.onRequest({ ...request, arrivalCount: 1 });
  metrics.onRequest({ ...request, cold: false });
  const found = await scrape(metrics.metrics());
  assert.equal(found.get('clockwork_cold_starts_total{model="m"}'), 1);
});
