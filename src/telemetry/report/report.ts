/**
 * The contents of `clockwork report`, from a controller's logs, which are read in one pass and in bounded
 * memory.
 */
import { SECOND } from "../../core/clock.ts";
import { ActionStats, FAILURE_TYPE, type GpuStats, MAX_GPUS } from "./action_stats.ts";
import { COARSE_BITS, FINE_BITS, type Histogram, relativeError } from "./histogram.ts";
import { MAX_MODELS, type ModelStats, RequestStats } from "./request_stats.ts";
import {
  actionStatusName,
  actionTypeName,
  EVICT_WEIGHTS,
  LOAD_WEIGHTS,
  requestStatusName,
} from "./status_names.ts";
import { TimeOrigin } from "./tsv_parser.ts";

/** One file of a log. Its pieces may share a buffer: each is used before the next is asked for. */
export interface LogFile {
  readonly name: string;
  readonly chunks: Iterable<Uint8Array>;
}

/** The files of each log, oldest first. */
export interface Logs {
  readonly requests: readonly LogFile[];
  readonly actions: readonly LogFile[];
}

/** Everything that was read, to be told in one way or another. */
export interface LogStats {
  readonly requests: RequestStats;
  readonly actions: ActionStats;
  readonly origin: TimeOrigin;
  /** What the reader should know about the logs. */
  readonly notes: readonly string[];
}

export interface LatencyReport {
  readonly count: number;
  readonly meanNs: number;
  readonly minNs: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
  readonly p9999Ns: number;
  readonly maxNs: number;
}

export interface StatusCount {
  readonly status: number;
  readonly name: string;
  readonly count: number;
}

export interface ModelReport {
  readonly modelId: number;
  readonly requests: number;
  readonly inTime: number;
  readonly coldStarts: number;
  /** Of results; null when there are none. */
  readonly p50Ns: number | null;
  readonly p99Ns: number | null;
  readonly maxNs: number | null;
}

export interface GpuReport {
  readonly workerId: number;
  readonly gpuId: number;
  /** The part of the time in which it ran inferences, and in which it loaded weights. */
  readonly inferUtilization: number;
  readonly loadUtilization: number;
  readonly infers: number;
  readonly inferredRequests: number;
  readonly loads: number;
  readonly evictions: number;
  readonly failedActions: number;
}

/** What was, less what was expected: above 0, it took longer or ended later. */
export interface PredictionReport {
  readonly action: string;
  readonly what: "duration" | "completion";
  readonly count: number;
  readonly minNs: number;
  readonly p1Ns: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
  readonly maxNs: number;
}

/** The report's numbers; with `--json`, this is what is printed. */
export interface Report {
  /** When the first request came or the first action was sent; null when there is none. */
  readonly begin: string | null;
  /** From then to the last answer or result. */
  readonly durationS: number;
  readonly notes: readonly string[];
  /** The most by which quantiles can be wrong, as a part of their value. */
  readonly quantileError: { readonly total: number; readonly perModel: number };
  readonly requests: {
    readonly count: number;
    /** Answered with a result, in time or not. */
    readonly succeeded: number;
    readonly inTime: number;
    readonly late: number;
    readonly coldStarts: number;
    readonly offeredPerS: number;
    readonly goodputPerS: number;
    readonly byStatus: readonly StatusCount[];
    readonly latency: LatencyReport | null;
    readonly coldLatency: LatencyReport | null;
  };
  /** Those with the smallest part answered in time come first. */
  readonly models: {
    readonly count: number;
    readonly worst: readonly ModelReport[];
    /** Requests of models beyond the limit, which are not told apart. */
    readonly otherRequests: number;
  };
  readonly actions: {
    readonly count: number;
    readonly loads: number;
    readonly evictions: number;
    readonly byType: readonly {
      readonly type: number;
      readonly name: string;
      readonly count: number;
      readonly failed: number;
    }[];
    readonly failures: readonly (StatusCount & { readonly action: string })[];
  };
  readonly predictionErrors: readonly PredictionReport[];
  readonly gpus: readonly GpuReport[];
}

/** Models in the report. */
const WORST_MODELS = 20;

/** Reads the logs. @throws {LogError} when one of them is not what it should be. */
export function readLogs(logs: Logs): LogStats {
  const stats = { requests: new RequestStats(), actions: new ActionStats() };
  const origin = new TimeOrigin();
  const notes: string[] = [];
  for (const kind of ["requests", "actions"] as const) {
    if (logs[kind].length === 0) notes.push(`there is no log of ${kind}`);
    for (const { name, chunks } of logs[kind]) {
      const parser = stats[kind].parser(name, origin);
      for (const chunk of chunks) parser.push(chunk);
      if (parser.end()) notes.push(`the last line of ${name} is cut short, and left out`);
    }
  }
  const { requests, actions } = stats;
  if (logs.requests.length > 0 && requests.requests === 0) notes.push("no request was logged");
  if (logs.actions.length > 0 && actions.actions === 0) notes.push("no action was logged");
  if (requests.otherModels.requests > 0) {
    notes.push(`only the first ${MAX_MODELS} models that were used are told apart`);
  }
  if (actions.gpus.size >= MAX_GPUS) notes.push(`at most ${MAX_GPUS} GPUs are told apart`);
  return { ...stats, origin, notes };
}

/** When the logs begin and how long they go on, in nanoseconds from the time origin. */
export function extent({ requests, actions }: LogStats): { beginNs: number; durationNs: number } {
  const beginNs = Math.min(requests.beginNs, actions.beginNs);
  const endNs = Math.max(requests.endNs, actions.endNs);
  return endNs >= beginNs
    ? { beginNs, durationNs: endNs - beginNs }
    : { beginNs: 0, durationNs: 0 };
}

export function makeReport(stats: LogStats): Report {
  const { requests, actions, origin, notes } = stats;
  const { beginNs, durationNs } = extent(stats);
  const seconds = durationNs / SECOND;
  const rate = (count: number) => seconds > 0 ? count / seconds : 0;
  const failed = (type: number) =>
    actions.failures.entries().reduce(
      (sum, [key, count]) => Math.floor(key / FAILURE_TYPE) === type ? sum + count : sum,
      0,
    );
  const done = (type: number) => actions.types.get(type) - failed(type);
  return {
    begin: origin.seconds === null ? null : isoTime(origin.seconds * 1000 + beginNs / 1e6),
    durationS: seconds,
    notes,
    quantileError: { total: relativeError(FINE_BITS), perModel: relativeError(COARSE_BITS) },
    requests: {
      count: requests.requests,
      succeeded: requests.succeeded,
      inTime: requests.inTime,
      late: requests.succeeded - requests.inTime,
      coldStarts: requests.coldStarts,
      offeredPerS: rate(requests.requests),
      goodputPerS: rate(requests.inTime),
      byStatus: requests.statuses.entries().map(([status, count]) => ({
        status,
        name: requestStatusName(status),
        count,
      })),
      latency: latencyReport(requests.latencyNs),
      coldLatency: latencyReport(requests.coldLatencyNs),
    },
    models: {
      count: requests.models.size,
      worst: [...requests.models.values()].sort(worseFirst).slice(0, WORST_MODELS).map(modelReport),
      otherRequests: requests.otherModels.requests,
    },
    actions: {
      count: actions.actions,
      loads: done(LOAD_WEIGHTS),
      evictions: done(EVICT_WEIGHTS),
      byType: actions.types.entries().map(([type, count]) => ({
        type,
        name: actionTypeName(type),
        count,
        failed: failed(type),
      })),
      failures: actions.failures.entries().map(([key, count]) => ({
        action: actionTypeName(Math.floor(key / FAILURE_TYPE)),
        status: key % FAILURE_TYPE,
        name: actionStatusName(key % FAILURE_TYPE),
        count,
      })),
    },
    predictionErrors: predictionReports(stats),
    gpus: sortedGpus(actions).map((gpu) => ({
      workerId: gpu.workerId,
      gpuId: gpu.gpuId,
      inferUtilization: durationNs > 0 ? gpu.inferNs / durationNs : 0,
      loadUtilization: durationNs > 0 ? gpu.loadNs / durationNs : 0,
      infers: gpu.infers,
      inferredRequests: gpu.inferred,
      loads: gpu.loads,
      evictions: gpu.evictions,
      failedActions: gpu.failed,
    })),
  };
}

/** By worker, then by GPU. */
export function sortedGpus({ gpus }: ActionStats): GpuStats[] {
  return [...gpus.values()].sort((a, b) => a.workerId - b.workerId || a.gpuId - b.gpuId);
}

function latencyReport(histogram: Histogram): LatencyReport | null {
  if (histogram.count === 0) return null;
  const [p50Ns, p99Ns, p999Ns, p9999Ns] = histogram.quantiles([0.5, 0.99, 0.999, 0.9999]);
  return {
    count: histogram.count,
    meanNs: histogram.mean,
    minNs: histogram.min,
    p50Ns: p50Ns!,
    p99Ns: p99Ns!,
    p999Ns: p999Ns!,
    p9999Ns: p9999Ns!,
    maxNs: histogram.max,
  };
}

function predictionReports({ actions }: LogStats): PredictionReport[] {
  const errors = [["Infer", actions.infer], ["LoadWeights", actions.load]] as const;
  return errors.flatMap(([action, { durationNs, completionNs }]) =>
    ([["duration", durationNs], ["completion", completionNs]] as const)
      .filter(([, histogram]) => histogram.count > 0)
      .map(([what, histogram]) => {
        const [p1Ns, p50Ns, p99Ns, p999Ns] = histogram.quantiles([0.01, 0.5, 0.99, 0.999]);
        return {
          action,
          what,
          count: histogram.count,
          minNs: histogram.min,
          p1Ns: p1Ns!,
          p50Ns: p50Ns!,
          p99Ns: p99Ns!,
          p999Ns: p999Ns!,
          maxNs: histogram.max,
        };
      })
  );
}

/** The smaller part in time first; of equal ones, that with the larger latency. */
function worseFirst(a: ModelStats, b: ModelStats): number {
  return a.inTime / a.requests - b.inTime / b.requests ||
    tail(b) - tail(a) || a.modelId - b.modelId;
}

function tail({ latencyNs }: ModelStats): number {
  return latencyNs.count === 0 ? 0 : latencyNs.max;
}

function modelReport(
  { modelId, requests, inTime, coldStarts, latencyNs }: ModelStats,
): ModelReport {
  const [p50Ns, p99Ns] = latencyNs.count === 0 ? [null, null] : latencyNs.quantiles([0.5, 0.99]);
  return {
    modelId,
    requests,
    inTime,
    coldStarts,
    p50Ns: p50Ns!,
    p99Ns: p99Ns!,
    maxNs: latencyNs.count === 0 ? null : latencyNs.max,
  };
}

/** A log may hold any number where a time should be. */
function isoTime(epochMs: number): string {
  const date = new Date(epochMs);
  return Number.isNaN(date.getTime()) ? `${epochMs} ms` : date.toISOString();
}
