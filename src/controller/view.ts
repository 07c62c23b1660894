/** The cluster's present state, for metrics and for the dashboard. */
import type { ControllerView, WorkerView } from "../telemetry/metrics/controller_metrics.ts";
import type { ModelGroups } from "./models/groups.ts";
import type { Serving } from "./serving.ts";
import type { WorkerPeer } from "./worker_peer.ts";
import type { WorkerState } from "./worker_query.ts";

/** A worker that has reported its state. */
interface ViewedWorker {
  readonly peer: WorkerPeer;
  readonly state: WorkerState;
}

export function viewOf(
  workers: readonly ViewedWorker[],
  groups: ModelGroups,
  serving: Serving,
): ControllerView {
  return {
    workers: workers.map((worker) => viewOfWorker(worker, serving)),
    models: groups.copies,
    unanswered: serving.unanswered,
    unansweredByModel: () => serving.unansweredByPath(),
  };
}

function viewOfWorker({ peer, state }: ViewedWorker, serving: Serving): WorkerView {
  const { id, link: { peer: address, sync } } = peer;
  return {
    id,
    address,
    clockOffsetNs: sync.offsetNs,
    roundTripNs: sync.rttNs,
    gpus: state.gpus.map(({ name, weights_cache_pages: pages }, gpuId) => {
      const { pages: usedPages, models } = serving.gpuUse(id, gpuId);
      return { name, pages, usedPages, models };
    }),
  };
}
