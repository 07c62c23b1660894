/** Statistics of the action log, accumulated row by row. */
import { MS } from "../../core/clock.ts";
import { actionColumns } from "../records.ts";
import { Counter } from "./counter.ts";
import { FINE_BITS, SignedHistogram } from "./histogram.ts";
import { EVICT_WEIGHTS, INFER, LOAD_WEIGHTS } from "./status_names.ts";
import { TimeBins } from "./time_bins.ts";
import { type ColumnKind, type TimeOrigin, TsvParser } from "./tsv_parser.ts";
import { WindowSample } from "./window_sample.ts";

const KINDS: Readonly<Record<string, ColumnKind>> = {
  t: "time",
  action_id: "count",
  action_type: "count",
  status: "count",
  worker_id: "count",
  gpu_id: "count",
  model_id: "count",
  batch_size: "count",
  expected_exec_duration: "number",
  worker_exec_duration: "count",
  expected_exec_complete: "number",
  worker_exec_complete: "number",
  controller_result_enqueue: "number",
};
const NAMES = actionColumns(String).map(([name]) => name);
const COLUMNS = NAMES.map((name) => [name, KINDS[name] ?? "skip"] as const);
const T = NAMES.indexOf("t");
const ACTION_ID = NAMES.indexOf("action_id");
const ACTION_TYPE = NAMES.indexOf("action_type");
const STATUS = NAMES.indexOf("status");
const WORKER_ID = NAMES.indexOf("worker_id");
const GPU_ID = NAMES.indexOf("gpu_id");
const MODEL_ID = NAMES.indexOf("model_id");
const BATCH_SIZE = NAMES.indexOf("batch_size");
const EXPECTED_DURATION = NAMES.indexOf("expected_exec_duration");
const DURATION = NAMES.indexOf("worker_exec_duration");
const EXPECTED_COMPLETE = NAMES.indexOf("expected_exec_complete");
const COMPLETE = NAMES.indexOf("worker_exec_complete");
const ENQUEUE = NAMES.indexOf("controller_result_enqueue");

/** GPUs that are told apart; actions on those that come later are counted together. */
export const MAX_GPUS = 2000;
/** GPUs in the timeline. */
export const MAX_TIMELINE_GPUS = 64;
/** Actions in the timeline. */
export const MAX_SAMPLE = 30_000;
const WINDOW_NS = 512 * MS;
/** Bins of each GPU's utilization over time. */
const MAX_BINS = 4096;
const BIN_NS = 5 * MS;
const MAX_CODES = 100;
/** Statuses are below this. */
export const FAILURE_TYPE = 1_000_000;

export class GpuStats {
  infers = 0;
  /** Requests in the batches that were run. */
  inferred = 0;
  loads = 0;
  evictions = 0;
  failed = 0;
  inferNs = 0;
  loadNs = 0;
  /** Rows of the utilization over time; null when there are too many GPUs. */
  inferRow: number | null = null;
  loadRow: number | null = null;

  constructor(readonly workerId: number, readonly gpuId: number) {}
}

/** How far predictions were off: what was, less what was expected. */
export class PredictionError {
  readonly durationNs = new SignedHistogram(FINE_BITS);
  readonly completionNs = new SignedHistogram(FINE_BITS);
}

export interface SampledAction {
  readonly beginNs: number;
  readonly durationNs: number;
  readonly gpu: GpuStats;
  readonly actionId: number;
  readonly type: number;
  readonly status: number;
  readonly modelId: number;
  readonly batchSize: number;
  readonly expectedDurationNs: number;
}

export class ActionStats {
  actions = 0;
  beginNs = Infinity;
  endNs = -Infinity;
  readonly types = new Counter(MAX_CODES);
  /** Actions that failed, by FAILURE_TYPE × type + status. */
  readonly failures = new Counter(MAX_CODES);
  readonly infer = new PredictionError();
  readonly load = new PredictionError();
  readonly gpus = new Map<number, GpuStats>();
  readonly otherGpus = new GpuStats(-1, -1);
  /** How busy each GPU's engines were, in nanoseconds of each bin. */
  readonly busy = new TimeBins(MAX_BINS, BIN_NS);
  readonly sample = new WindowSample<SampledAction>(MAX_SAMPLE, WINDOW_NS);

  /** A parser of one file of the log, which feeds this. */
  parser(file: string, origin: TimeOrigin): TsvParser {
    return new TsvParser(file, COLUMNS, origin, (values) => this.#add(values));
  }

  #add(values: Float64Array): void {
    const sentNs = values[T]!;
    const type = values[ACTION_TYPE]!;
    const status = values[STATUS]!;
    const heardNs = sentNs + values[ENQUEUE]!;
    const gpu = this.#gpu(values[WORKER_ID]!, values[GPU_ID]!);
    this.actions++;
    if (sentNs < this.beginNs) this.beginNs = sentNs;
    if (heardNs > this.endNs) this.endNs = heardNs;
    this.types.add(type);
    let beginNs = heardNs;
    let durationNs = 0;
    if (status === 0) {
      durationNs = values[DURATION]!;
      beginNs = sentNs + values[COMPLETE]! - durationNs;
      this.#succeeded(values, type, gpu, beginNs);
    } else {
      gpu.failed++;
      this.failures.add(FAILURE_TYPE * type + status);
    }
    if (gpu.inferRow === null || !this.sample.wants(beginNs)) return;
    this.sample.add({
      beginNs,
      durationNs,
      gpu,
      actionId: values[ACTION_ID]!,
      type,
      status,
      modelId: values[MODEL_ID]!,
      batchSize: values[BATCH_SIZE]!,
      expectedDurationNs: values[EXPECTED_DURATION]!,
    });
  }

  #succeeded(values: Float64Array, type: number, gpu: GpuStats, beginNs: number): void {
    if (type === EVICT_WEIGHTS) gpu.evictions++;
    if (type !== INFER && type !== LOAD_WEIGHTS) return;
    const infer = type === INFER;
    const durationNs = values[DURATION]!;
    const error = infer ? this.infer : this.load;
    error.durationNs.add(durationNs - values[EXPECTED_DURATION]!);
    error.completionNs.add(values[COMPLETE]! - values[EXPECTED_COMPLETE]!);
    if (infer) {
      gpu.infers++;
      gpu.inferred += values[BATCH_SIZE]!;
      gpu.inferNs += durationNs;
    } else {
      gpu.loads++;
      gpu.loadNs += durationNs;
    }
    const row = infer ? gpu.inferRow : gpu.loadRow;
    if (row !== null) this.busy.addSpan(row, beginNs, beginNs + durationNs);
  }

  #gpu(workerId: number, gpuId: number): GpuStats {
    // One number for both: a text would have to be made for each row.
    const key = workerId * 2 ** 20 + gpuId;
    let gpu = this.gpus.get(key);
    if (gpu === undefined) {
      if (this.gpus.size >= MAX_GPUS) return this.otherGpus;
      gpu = new GpuStats(workerId, gpuId);
      if (this.gpus.size < MAX_TIMELINE_GPUS) {
        gpu.inferRow = this.busy.addRow();
        gpu.loadRow = this.busy.addRow();
      }
      this.gpus.set(key, gpu);
    }
    return gpu;
  }
}
