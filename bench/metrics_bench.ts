/**
 * Measures what metrics cost per request and action, and per scrape; and what the live state costs, with
 * and without somebody watching. A request that is served alone costs a round: the request, its inference
 * sent, and its result.
 */
import { clusterState } from "../src/controller/cluster_state.ts";
import { type ModelGroup, ModelGroups } from "../src/controller/models/groups.ts";
import { VirtualClock } from "../src/core/virtual_clock.ts";
import { LiveState } from "../src/telemetry/live/live_state.ts";
import {
  ControllerMetrics,
  type ControllerView,
} from "../src/telemetry/metrics/controller_metrics.ts";
import { Exposition } from "../src/telemetry/metrics/exposition.ts";
import type { ActionRecord, RequestRecord } from "../src/telemetry/records.ts";
import { encodeFrame } from "../src/wire/frame.ts";

const MODELS = 4000;
const PATHS = 60;
const GPUS = 12;
const USERS = 1000;

function makeView(gpus: number): ControllerView {
  return {
    workers: [{
      id: 0,
      address: "127.0.0.1:12345",
      clockOffsetNs: 0,
      roundTripNs: 0,
      gpus: Array.from({ length: gpus }, (_, i) => ({
        name: `GPU ${i}`,
        pages: 1376,
        usedPages: 700,
        models: 100,
      })),
    }],
    models: MODELS,
    unanswered: 0,
    unansweredByModel: () => new Map(),
  };
}

const metrics = new ControllerMetrics(
  () => makeView(GPUS),
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

function round(observer: Pick<ControllerMetrics, "onSent" | "onAction" | "onRequest">) {
  let i = 0;
  return () => {
    i = (i + 1) & 4095;
    const action = actions[i]!;
    observer.onSent(action);
    observer.onAction(action);
    observer.onRequest(requests[i]!);
  };
}

const unwatched = new LiveState(new VirtualClock(), () => "");
const watched = new LiveState(new VirtualClock(), (id) => `model${id % PATHS}/model`);
watched.poll(0);

Deno.bench("metrics: a request and its inference", round(metrics));
Deno.bench("live state, not watched: the same", round(unwatched));
Deno.bench("live state, watched: the same", round(watched));

const exposition = new Exposition(metrics.metrics());
Deno.bench(`metrics: a scrape of ${PATHS} models, ${GPUS} GPUs and 201 users`, async () => {
  await exposition.read();
});

// What a gateway is answered while pages are open, twice a second.
const groups = new ModelGroups();
for (let id = 0; id < MODELS; id++) {
  const path = `model${id % PATHS}/model`;
  groups.add({ firstId: id, copies: 1, path } as ModelGroup);
}
const view = makeView(100);
let cursor = 0;
Deno.bench("live state, watched: an answer, with 500 actions, 100 GPUs and 4000 models", () => {
  for (let k = 0; k < 500; k++) watched.onAction(actions[k]!);
  const state = clusterState(watched, view, groups, "serving", 0, cursor);
  cursor = state.cursor;
  encodeFrame("ClusterStateResponse", 1, state, 0, 0, 0);
});
