/** A worker's metrics: outcomes of actions and of their steps, and the contents of its GPUs. */
import { SECOND } from "../../core/clock.ts";
import { ActionStatus } from "../../core/status.ts";
import type { WorkerActionRecord, WorkerTaskRecord, WorkerTelemetry } from "../worker_records.ts";
import {
  BATCH_BOUNDS,
  counter,
  gauge,
  Histogram,
  histogram,
  LATENCY_BOUNDS,
  type Metric,
  only,
  type Sample,
} from "./metric.ts";

/** What a worker has at the moment. */
export interface WorkerStateView {
  readonly models: number;
  /** Actions that have arrived and not ended. */
  readonly pending: number;
  readonly gpus: readonly WorkerGpuView[];
  readonly controllers: readonly ControllerLinkView[];
}

export interface WorkerGpuView {
  readonly name: string;
  /** It is lost, and nothing runs on it. */
  readonly lost: boolean;
  readonly pages: number;
  readonly usedPages: number;
  readonly loadedModels: number;
  /** Actions that wait for each of its engines. */
  readonly queuedInfers: number;
  readonly queuedTransfers: number;
}

export interface ControllerLinkView {
  /** As in the worker's logs. */
  readonly id: number;
  /** Our clock less its. */
  readonly clockOffsetNs: number;
  readonly roundTripNs: number;
}

/** By the types of actions on the wire. */
const ACTION_TYPES = [
  "load_model",
  "load_weights",
  "infer",
  "evict_weights",
  "clear_cache",
  "get_state",
  "unload_model",
  "begin_upload",
  "upload_chunk",
  "end_upload",
  "read_upload",
  "list_uploads",
  "remove_uploads",
] as const;
const TASKS = [
  "load_model",
  "load_weights",
  "evict_weights",
  "copy_input",
  "exec",
  "copy_output",
] as const;
type Task = typeof TASKS[number];

export class WorkerMetrics implements WorkerTelemetry {
  readonly #view: () => WorkerStateView;
  readonly #actions = ACTION_TYPES.map(() => new Map<number, number>());
  readonly #handling = ACTION_TYPES.map(() => new Histogram(LATENCY_BOUNDS));
  readonly #tasks: Readonly<Record<Task, Histogram>>;
  readonly #batches = new Histogram(BATCH_BOUNDS);
  /** By GPU. */
  readonly #busyNs: Record<Task, number>[] = [];

  /** @param view of the worker at the moment at which it is called. */
  constructor(view: () => WorkerStateView) {
    this.#view = view;
    this.#tasks = byTask(() => new Histogram(LATENCY_BOUNDS));
  }

  readonly onAction = ({ type, status, receivedNs, endedNs, batchSize }: WorkerActionRecord) => {
    const counts = this.#actions[type]!;
    counts.set(status, (counts.get(status) ?? 0) + 1);
    if (status !== ActionStatus.success) return;
    this.#handling[type]!.observe((endedNs - receivedNs) / SECOND);
    if (ACTION_TYPES[type] === "infer") this.#batches.observe(batchSize);
  };

  readonly onTask = ({ task, gpuId, beginNs, endNs }: WorkerTaskRecord) => {
    const ns = endNs - beginNs;
    this.#tasks[task].observe(ns / SECOND);
    if (gpuId !== null) (this.#busyNs[gpuId] ??= byTask(() => 0))[task] += ns;
  };

  metrics(): Metric[] {
    const ofGpus = (value: (gpu: WorkerGpuView) => number) => () =>
      this.#view().gpus.map((gpu, i): Sample => [[String(i)], value(gpu)]);
    const ofControllers = (value: (link: ControllerLinkView) => number) => () =>
      this.#view().controllers.map((link): Sample => [[String(link.id)], value(link)]);
    return [
      counter(
        "clockwork_worker_actions_total",
        "Actions that have ended, by type and status",
        ["type", "status"],
        () => this.#outcomes(),
      ),
      histogram(
        "clockwork_worker_action_latency_seconds",
        "Time from a successful action's arrival to its end, including waiting",
        ["type"],
        () => ACTION_TYPES.map((type, i) => [[type], this.#handling[i]!] as const),
      ),
      histogram(
        "clockwork_worker_task_duration_seconds",
        "Duration of the steps of actions",
        ["task"],
        () => TASKS.map((task) => [[task], this.#tasks[task]] as const),
      ),
      histogram(
        "clockwork_worker_batch_size",
        "Requests per inference",
        [],
        () => only(this.#batches),
      ),
      counter(
        "clockwork_worker_gpu_busy_seconds_total",
        "Time that a GPU spent on each kind of task; its rate is the GPU's utilization",
        ["gpu", "task"],
        () => this.#busy(),
      ),
      gauge(
        "clockwork_worker_pending_actions",
        "Actions that have arrived and have not ended",
        [],
        () => only(this.#view().pending),
      ),
      gauge(
        "clockwork_worker_queued_actions",
        "Actions waiting for an engine of a GPU",
        ["gpu", "engine"],
        () =>
          this.#view().gpus.flatMap(({ queuedInfers, queuedTransfers }, i): Sample[] => [
            [[String(i), "infer"], queuedInfers],
            [[String(i), "transfer"], queuedTransfers],
          ]),
      ),
      gauge(
        "clockwork_worker_gpu_info",
        "1 for each GPU, with its name",
        ["gpu", "name"],
        () => this.#view().gpus.map(({ name }, i): Sample => [[String(i), name], 1]),
      ),
      gauge(
        "clockwork_worker_gpu_up",
        "1 while a GPU works, 0 while it is lost",
        ["gpu"],
        ofGpus(({ lost }) => lost ? 0 : 1),
      ),
      gauge(
        "clockwork_worker_gpu_pages",
        "Pages of a GPU's weights cache",
        ["gpu"],
        ofGpus(({ pages }) => pages),
      ),
      gauge(
        "clockwork_worker_gpu_used_pages",
        "Pages in use",
        ["gpu"],
        ofGpus(({ usedPages }) => usedPages),
      ),
      gauge(
        "clockwork_worker_gpu_loaded_models",
        "Models whose weights a GPU holds",
        ["gpu"],
        ofGpus(({ loadedModels }) => loadedModels),
      ),
      gauge(
        "clockwork_worker_models",
        "Models; each copy counts",
        [],
        () => only(this.#view().models),
      ),
      gauge(
        "clockwork_controller_clock_offset_seconds",
        "The worker's clock minus a controller's; each counts from the start of its process",
        ["controller"],
        ofControllers(({ clockOffsetNs }) => clockOffsetNs / SECOND),
      ),
      gauge(
        "clockwork_controller_round_trip_seconds",
        "Round-trip time of the fastest messages to a controller",
        ["controller"],
        ofControllers(({ roundTripNs }) => roundTripNs / SECOND),
      ),
    ];
  }

  *#outcomes(): Generator<Sample> {
    for (const [type, counts] of this.#actions.entries()) {
      for (const [status, count] of counts) {
        yield [[ACTION_TYPES[type]!, statusName(status)], count];
      }
    }
  }

  *#busy(): Generator<Sample> {
    for (const gpu of this.#view().gpus.keys()) {
      for (const task of TASKS) {
        if (task === "load_model") continue;
        yield [[String(gpu), task], (this.#busyNs[gpu]?.[task] ?? 0) / SECOND];
      }
    }
  }
}

function byTask<T>(make: () => T): Record<Task, T> {
  return Object.fromEntries(TASKS.map((task) => [task, make()])) as Record<Task, T>;
}

function statusName(status: number): string {
  return Object.entries(ActionStatus).find(([, code]) => code === status)?.[0] ?? "unknown";
}
