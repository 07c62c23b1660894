/**
 * The controller's metrics: outcomes of requests and actions, counted as they happen, and the state of the
 * cluster, read on demand.
 */
import { SECOND } from "../../core/clock.ts";
import { ActionStatus, RequestStatus } from "../../core/status.ts";
import { type ActionRecord, metDeadline, type RequestRecord, type SentAction } from "../records.ts";
import {
  BATCH_BOUNDS,
  counter,
  ERROR_BOUNDS,
  gauge,
  Histogram,
  histogram,
  LATENCY_BOUNDS,
  Limited,
  type Metric,
  only,
  type Sample,
} from "./metric.ts";

/** Models and users that have labels of their own; the others are counted together. */
export const DEFAULT_MAX_LABELS = 200;
/** Ids that are remembered with where they count; beyond that they are looked up anew. */
const MAX_REMEMBERED = 100_000;

/** A worker that serves, as the controller sees it. */
export interface WorkerView {
  readonly id: number;
  readonly address: string;
  /** Our clock less its. */
  readonly clockOffsetNs: number;
  readonly roundTripNs: number;
  readonly gpus: readonly GpuView[];
}

export interface GpuView {
  readonly name: string;
  readonly pages: number;
  readonly usedPages: number;
  /** Models whose weights it holds. */
  readonly models: number;
}

/** What the controller has at the moment. */
export interface ControllerView {
  readonly workers: readonly WorkerView[];
  readonly models: number;
  readonly unanswered: number;
  /** Unanswered requests by model path, where there are any. */
  readonly unansweredByModel: () => ReadonlyMap<string, number>;
}

const requestStatuses = namesOf(RequestStatus);
const actionStatuses = namesOf(ActionStatus);
const ACTION_TYPES = ["", "load_weights", "infer", "evict_weights"] as const;
const INFER = 2;
const LOAD = 1;

class ModelCounts {
  readonly byStatus = new Float64Array(requestStatuses.length);
  readonly latency = new Histogram(LATENCY_BOUNDS);
  misses = 0;
  coldStarts = 0;
}

class GpuCounts {
  inFlight = 0;
  inferNs = 0;
  loadNs = 0;
}

/** Errors of a prediction, those that were too short apart from those that were too long. */
class Errors {
  readonly over = new Histogram(ERROR_BOUNDS);
  readonly under = new Histogram(ERROR_BOUNDS);

  /** `errorNs` is above 0 where it took longer than predicted. */
  add(errorNs: number): void {
    if (errorNs > 0) this.over.observe(errorNs / SECOND);
    else this.under.observe(-errorNs / SECOND);
  }
}

export class ControllerMetrics {
  readonly #view: () => ControllerView;
  readonly #pathOf: (modelId: number) => string;
  readonly #models: Limited<ModelCounts>;
  readonly #users: Limited<Float64Array>;
  /** The same by id, so that a request costs no look-up by name. */
  readonly #ofModel = new Map<number, ModelCounts>();
  readonly #ofUser = new Map<number, Float64Array>();
  /** By worker and GPU. */
  readonly #gpus = new Map<number, Map<number, GpuCounts>>();
  readonly #actions = ACTION_TYPES.map(() => new Float64Array(actionStatuses.length));
  readonly #durations = ACTION_TYPES.map(() => new Histogram(LATENCY_BOUNDS));
  readonly #durationErrors = ACTION_TYPES.map(() => new Errors());
  readonly #endErrors = ACTION_TYPES.map(() => new Errors());
  readonly #batches = new Histogram(BATCH_BOUNDS);
  readonly #rejected = new Float64Array(requestStatuses.length);

  /**
   * @param view of the controller at the moment at which it is called.
   * @param pathOf the path of a model; copies have the same.
   * @param maxLabels models that are told apart, and users.
   */
  constructor(
    view: () => ControllerView,
    pathOf: (modelId: number) => string,
    maxLabels: number = DEFAULT_MAX_LABELS,
  ) {
    this.#view = view;
    this.#pathOf = pathOf;
    this.#models = new Limited(maxLabels, () => new ModelCounts());
    this.#users = new Limited(maxLabels, () => new Float64Array(requestStatuses.length));
  }

  onRequest(record: RequestRecord): void {
    const { modelId, userId, status, cold, arrivalCount, arrivalNs, departureNs } = record;
    let model = this.#ofModel.get(modelId);
    if (model === undefined) {
      model = this.#models.of(this.#pathOf(modelId));
      remember(this.#ofModel, modelId, model);
    }
    let user = this.#ofUser.get(userId);
    if (user === undefined) {
      user = this.#users.of(String(userId));
      remember(this.#ofUser, userId, user);
    }
    model.byStatus[status]!++;
    user[status]!++;
    if (status === RequestStatus.success) {
      model.latency.observe((departureNs - arrivalNs) / SECOND);
    }
    if (!metDeadline(record)) model.misses++;
    if (cold && arrivalCount === 0) model.coldStarts++;
  }

  /** A request was answered without having been taken. */
  onRejected(status: RequestStatus): void {
    this.#rejected[status]!++;
  }

  onSent({ action: { gpu } }: SentAction): void {
    this.#gpu(gpu.workerId, gpu.gpuId).inFlight++;
  }

  onAction({ type, action, status, beginNs, endNs }: ActionRecord): void {
    const gpu = this.#gpu(action.gpu.workerId, action.gpu.gpuId);
    gpu.inFlight--;
    this.#actions[type]![status]!++;
    if (status !== ActionStatus.success) return;
    const durationNs = endNs - beginNs;
    if (type === INFER) gpu.inferNs += durationNs;
    if (type === LOAD) gpu.loadNs += durationNs;
    this.#durations[type]!.observe(durationNs / SECOND);
    if (action.type === "Infer") this.#batches.observe(action.batchSize);
    this.#durationErrors[type]!.add(durationNs - action.expectedNs);
    this.#endErrors[type]!.add(endNs - action.expectedEndNs);
  }

  metrics(): Metric[] {
    const statuses = (labels: string[], counts: Float64Array) =>
      samples(labels, counts, requestStatuses);
    const ofModels = (value: (model: ModelCounts) => number) => () =>
      Array.from(this.#models, ([path, model]): Sample => [[path], value(model)]);
    return [
      counter(
        "clockwork_requests_total",
        "Accepted requests that have been answered, by model and status",
        ["model", "status"],
        () => [...this.#models].flatMap(([path, model]) => statuses([path], model.byStatus)),
      ),
      counter(
        "clockwork_user_requests_total",
        "The same requests by user and status",
        ["user", "status"],
        () => [...this.#users].flatMap(([user, counts]) => statuses([user], counts)),
      ),
      counter(
        "clockwork_rejected_requests_total",
        "Requests refused without being accepted: invalid, or the controller was starting",
        ["status"],
        () => statuses([], this.#rejected),
      ),
      histogram(
        "clockwork_request_latency_seconds",
        "Time from a request's arrival at the controller to its result, if it got one",
        ["model"],
        () => Array.from(this.#models, ([path, { latency }]) => [[path], latency] as const),
      ),
      counter(
        "clockwork_deadline_misses_total",
        "Requests without a result by their deadline, for any reason",
        ["model"],
        ofModels(({ misses }) => misses),
      ),
      counter(
        "clockwork_cold_starts_total",
        "Requests that arrived when no GPU held the model's weights and no other request was waiting for them",
        ["model"],
        ofModels(({ coldStarts }) => coldStarts),
      ),
      gauge(
        "clockwork_unanswered_requests",
        "Accepted requests that have not been answered",
        [],
        () => only(this.#view().unanswered),
      ),
      gauge(
        "clockwork_model_unanswered_requests",
        "The same by model",
        ["model"],
        () => this.#unansweredByModel(),
      ),
      gauge(
        "clockwork_models",
        "Models; each copy counts",
        [],
        () => only(this.#view().models),
      ),
      ...this.#actionMetrics(),
      ...this.#clusterMetrics(),
    ];
  }

  #actionMetrics(): Metric[] {
    const types = [1, 2, 3] as const;
    const errors = (of: readonly Errors[]) => () =>
      [LOAD, INFER].flatMap((type): Sample<Histogram>[] => [
        [[ACTION_TYPES[type]!, "over"], of[type]!.over],
        [[ACTION_TYPES[type]!, "under"], of[type]!.under],
      ]);
    return [
      counter(
        "clockwork_actions_total",
        "Actions that have ended on a worker, by type (inferences, loads, evictions) and status",
        ["type", "status"],
        () =>
          types.flatMap((type) =>
            samples([ACTION_TYPES[type]], this.#actions[type]!, actionStatuses)
          ),
      ),
      histogram(
        "clockwork_action_duration_seconds",
        "Duration of actions on their GPU",
        ["type"],
        () => types.map((type) => [[ACTION_TYPES[type]], this.#durations[type]!] as const),
      ),
      histogram("clockwork_batch_size", "Requests per inference", [], () => only(this.#batches)),
      histogram(
        "clockwork_prediction_error_seconds",
        "By how much actions took longer (over) or shorter (under) than predicted",
        ["type", "direction"],
        errors(this.#durationErrors),
      ),
      histogram(
        "clockwork_completion_error_seconds",
        "By how much actions ended later (over) or earlier (under) than predicted",
        ["type", "direction"],
        errors(this.#endErrors),
      ),
    ];
  }

  #clusterMetrics(): Metric[] {
    const ofWorkers = (value: (worker: WorkerView) => number) => () =>
      this.#view().workers.map((worker): Sample => [[String(worker.id)], value(worker)]);
    const ofGpus = (value: (gpu: GpuView, counts: GpuCounts) => number) => () =>
      this.#view().workers.flatMap(({ id, gpus }) =>
        gpus.map((gpu, i): Sample => [[String(id), String(i)], value(gpu, this.#gpu(id, i))])
      );
    const place = ["worker", "gpu"];
    return [
      gauge(
        "clockwork_worker_info",
        "1 for each connected worker, with its address",
        ["worker", "address"],
        () => this.#view().workers.map(({ id, address }): Sample => [[String(id), address], 1]),
      ),
      gauge(
        "clockwork_worker_clock_offset_seconds",
        "The controller's clock minus a worker's; each counts from the start of its process",
        ["worker"],
        ofWorkers(({ clockOffsetNs }) => clockOffsetNs / SECOND),
      ),
      gauge(
        "clockwork_worker_round_trip_seconds",
        "Round-trip time of the fastest messages to a worker",
        ["worker"],
        ofWorkers(({ roundTripNs }) => roundTripNs / SECOND),
      ),
      counter(
        "clockwork_gpu_busy_seconds_total",
        "Time that a GPU spent on inferences and on weight loads; its rate is the GPU's utilization",
        ["worker", "gpu", "engine"],
        () => this.#busy(),
      ),
      gauge(
        "clockwork_gpu_actions_in_flight",
        "Actions sent for a GPU that have not ended",
        place,
        ofGpus((_, { inFlight }) => inFlight),
      ),
      gauge("clockwork_gpu_pages", "Pages of a GPU's weights cache", place, ofGpus((g) => g.pages)),
      gauge("clockwork_gpu_used_pages", "Pages in use", place, ofGpus((g) => g.usedPages)),
      gauge(
        "clockwork_gpu_loaded_models",
        "Models whose weights a GPU holds",
        place,
        ofGpus(({ models }) => models),
      ),
    ];
  }

  #unansweredByModel(): Sample[] {
    const counts = new Map(Array.from(this.#models, ([label]) => [label, 0]));
    for (const [path, count] of this.#view().unansweredByModel()) {
      const label = this.#models.labelOf(path);
      counts.set(label, (counts.get(label) ?? 0) + count);
    }
    return Array.from(counts, ([label, count]): Sample => [[label], count]);
  }

  *#busy(): Generator<Sample> {
    for (const { id, gpus } of this.#view().workers) {
      for (let i = 0; i < gpus.length; i++) {
        const { inferNs, loadNs } = this.#gpu(id, i);
        yield [[String(id), String(i), "infer"], inferNs / SECOND];
        yield [[String(id), String(i), "load"], loadNs / SECOND];
      }
    }
  }

  #gpu(workerId: number, gpuId: number): GpuCounts {
    let gpus = this.#gpus.get(workerId);
    if (gpus === undefined) {
      this.#forgetLostWorkers();
      this.#gpus.set(workerId, gpus = new Map());
    }
    let gpu = gpus.get(gpuId);
    if (gpu === undefined) gpus.set(gpuId, gpu = new GpuCounts());
    return gpu;
  }

  /** A worker that comes back has another id. */
  #forgetLostWorkers(): void {
    const connected = new Set(this.#view().workers.map(({ id }) => id));
    for (const id of this.#gpus.keys()) if (!connected.has(id)) this.#gpus.delete(id);
  }
}

/** Names of status codes, by code; "" where there is none. */
function namesOf(statuses: Readonly<Record<string, number>>): string[] {
  const names: string[] = new Array(Math.max(...Object.values(statuses)) + 1).fill("");
  for (const [name, code] of Object.entries(statuses)) names[code] = name;
  return names;
}

/** A sample for each status that has occurred. */
function samples(
  labels: readonly string[],
  counts: Float64Array,
  names: readonly string[],
): Sample[] {
  const found: Sample[] = [];
  counts.forEach((count, status) => {
    if (count > 0) found.push([[...labels, names[status]!], count]);
  });
  return found;
}

function remember<V>(values: Map<number, V>, id: number, value: V): void {
  if (values.size >= MAX_REMEMBERED) values.clear();
  values.set(id, value);
}
