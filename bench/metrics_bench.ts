/**
 * What metrics cost: of each request and action while they happen, and of a scrape. A request that is
 * served alone costs a round of the first: the request, its inference sent, and its result.
 */
import { ControllerMetrics } from "../src/telemetry/metrics/controller_metrics.ts";
import { Exposition } from "../src/telemetry/metrics/exposition.ts";
import type { ActionRecord, RequestRecord } from "../src/telemetry/records.ts";

const MODELS = 4000;
const PATHS = 60;
const GPUS = 12;
const USERS = 1000;

const metrics = new ControllerMetrics(
  () => ({
    workers: [{
      id: 0,
      address: "127.0.0.1:12345",
      clockOffsetNs: 0,
      roundTripNs: 0,
      gpus: Array.from({ length: GPUS }, (_, i) => ({
        name: `GPU ${i}`,
        pages: 1376,
        usedPages: 700,
        models: 100,
      })),
    }],
    models: MODELS,
    unanswered: 0,
    unansweredByModel: () => new Map(),
  }),
  (id) => `model${id % PATHS}/model`,
);

const requests = Array.from({ length: 4096 }, (_, i): RequestRecord => ({
  requestId: i,
  userId: (i * 7919) % USERS,
  modelId: (i * 104_729) % MODELS,
  sloFactor: 0,
  arrivalNs: i,
  deadlineNs: 100e6 + i,
  departureNs: i + 1e6 * (1 + i % 50),
  status: i % 50 === 0 ? 8 : 0,
  arrivalCount: 0,
  departureCount: 0,
  cold: false,
}));
const actions = requests.map((request, i): ActionRecord => ({
  actionId: i,
  type: 2,
  action: {
    type: "Infer",
    batchSize: 1 + i % 8,
    gpu: { workerId: 0, gpuId: i % GPUS },
    modelId: request.modelId,
    expectedNs: 3.3e6,
    expectedEndNs: 4e6 + i,
    queued: 0,
    copiesLoaded: 1,
  },
  status: 0,
  sentNs: i,
  beginNs: i + 1e6,
  endNs: i + 4.3e6 + 1000 * (i % 300),
  copyOutputEndNs: 0,
  receivedByWorkerNs: 0,
  sentByWorkerNs: 0,
  enqueuedNs: 0,
  gpuClockBefore: 0,
  gpuClock: 0,
  goodput: 1,
}));

let i = 0;
Deno.bench("a request and its inference", () => {
  i = (i + 1) & 4095;
  const action = actions[i]!;
  metrics.onSent(action);
  metrics.onAction(action);
  metrics.onRequest(requests[i]!);
});

const exposition = new Exposition(metrics.metrics());
Deno.bench(`a scrape of ${PATHS} models, ${GPUS} GPUs and 201 users`, async () => {
  await exposition.read();
});
