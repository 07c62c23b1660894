/** The live state of a cluster, as it is sent to clients. */
import type { LiveState } from "../telemetry/live/live_state.ts";
import type { RecentAction } from "../telemetry/live/recent_actions.ts";
import type { ControllerView } from "../telemetry/metrics/controller_metrics.ts";
import {
  type ClusterState,
  MAX_STATE_GPUS,
  MAX_STATE_MESSAGE,
  MAX_STATE_MODELS,
  MAX_STATE_NAME,
  MAX_STATE_WORKERS,
} from "../wire/cluster_state.ts";
import type { ModelGroups } from "./models/groups.ts";

/**
 * What is new since `cursor`, and what is.
 *
 * @param state what the controller is doing.
 */
export function clusterState(
  live: LiveState,
  view: ControllerView,
  groups: ModelGroups,
  state: string,
  nowNs: number,
  cursor: number,
): ClusterState {
  const update = live.poll(cursor);
  const gpus = view.workers.flatMap(({ id, gpus }) =>
    gpus.map((gpu, gpuId) => ({ workerId: id, gpuId, gpu }))
  );
  return {
    cursor: update.cursor,
    state,
    now_ns: nowNs,
    unanswered: view.unanswered,
    no_of_models: view.models,
    no_of_workers: view.workers.length,
    no_of_gpus: gpus.length,
    workers: view.workers.slice(0, MAX_STATE_WORKERS).map((worker) => ({
      worker_id: worker.id,
      address: worker.address.slice(0, MAX_STATE_NAME),
      clock_offset_ns: worker.clockOffsetNs,
      round_trip_ns: worker.roundTripNs,
    })),
    gpus: gpus.slice(0, MAX_STATE_GPUS).map(({ workerId, gpuId, gpu }) => {
      const { inFlight, inferNs, loadNs } = live.gpu(workerId, gpuId);
      return {
        worker_id: workerId,
        gpu_id: gpuId,
        name: gpu.name.slice(0, MAX_STATE_NAME),
        pages: gpu.pages,
        used_pages: gpu.usedPages,
        loaded_models: gpu.models,
        in_flight: inFlight,
        infer_ns: inferNs,
        load_ns: loadNs,
      };
    }),
    model_figures: modelFigures(update.models, groups),
    seconds: update.seconds.map((second) => ({
      second: second.second,
      in_time: second.inTime,
      late: second.late,
      refused: second.refused,
      cold_starts: second.coldStarts,
      p50_ns: second.p50Ns,
      p99_ns: second.p99Ns,
    })),
    actions: columns(update.actions),
    planned_actions: columns(update.planned),
    events: update.events.map(({ atNs, count, message }) => ({
      at_ns: atNs,
      count,
      message: message.slice(0, MAX_STATE_MESSAGE),
    })),
  };
}

/** Those with requests first, then others as far as there is room. */
function modelFigures(
  used: ReturnType<LiveState["poll"]>["models"],
  groups: ModelGroups,
): ClusterState["model_figures"] {
  const copiesOf = new Map<string, number>();
  for (const { path, copies } of groups) copiesOf.set(path, (copiesOf.get(path) ?? 0) + copies);
  const figures = used.slice(0, MAX_STATE_MODELS).map((model) => ({
    model_path: model.path.slice(0, MAX_STATE_NAME),
    no_of_copies: copiesOf.get(model.path) ?? 0,
    answered: model.answered,
    in_time: model.inTime,
    cold_starts: model.coldStarts,
    p50_ns: model.p50Ns,
    p99_ns: model.p99Ns,
  }));
  for (const { path } of used) copiesOf.delete(path);
  for (const [path, copies] of copiesOf) {
    if (figures.length >= MAX_STATE_MODELS) break;
    figures.push({
      model_path: path.slice(0, MAX_STATE_NAME),
      no_of_copies: copies,
      answered: 0,
      in_time: 0,
      cold_starts: 0,
      p50_ns: 0,
      p99_ns: 0,
    });
  }
  return figures;
}

function columns(actions: readonly RecentAction[]): ClusterState["actions"] {
  return {
    action_id: actions.map(({ actionId }) => actionId),
    action_type: actions.map(({ type }) => type),
    worker_id: actions.map(({ workerId }) => workerId),
    gpu_id: actions.map(({ gpuId }) => gpuId),
    model_id: actions.map(({ modelId }) => modelId),
    batch_size: actions.map(({ batchSize }) => batchSize),
    planned_begin_ns: actions.map(({ plannedBeginNs }) => plannedBeginNs),
    planned_end_ns: actions.map(({ plannedEndNs }) => plannedEndNs),
    status: actions.map(({ status }) => status),
    begin_ns: actions.map(({ beginNs }) => beginNs),
    end_ns: actions.map(({ endNs }) => endNs),
  };
}
