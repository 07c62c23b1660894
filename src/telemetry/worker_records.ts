/** A worker's optional records of its actions and of the tasks that they consist of. */
import type { Columns } from "./records.ts";

/** An action that has ended at a worker. Times in nanoseconds of the worker's clock. */
export interface WorkerActionRecord {
  /** Controllers are numbered from 0 in the order in which they came; each has action ids of its own. */
  readonly controllerId: number;
  readonly actionId: number;
  /** Its type on the wire: 1 LoadWeights, 2 Infer, and so on. */
  readonly type: number;
  readonly status: number;
  /** null where an action has none. */
  readonly gpuId: number | null;
  readonly modelId: number | null;
  readonly batchSize: number;
  readonly receivedNs: number;
  /** The window in which it was to start; null where it has none. */
  readonly window: { readonly earliestNs: number; readonly latestNs: number } | null;
  readonly endedNs: number;
}

/** A part of an action that ended well: what a GPU's engine, or the reader of models, did at a time. */
export interface WorkerTaskRecord {
  readonly controllerId: number;
  readonly actionId: number;
  readonly task:
    | "load_model"
    | "load_weights"
    | "evict_weights"
    | "copy_input"
    | "exec"
    | "copy_output";
  readonly gpuId: number | null;
  readonly modelId: number | null;
  readonly batchSize: number;
  readonly beginNs: number;
  readonly endNs: number;
}

/** Takes the records. */
export interface WorkerTelemetry {
  /** Absent when not wanted. */
  readonly onAction?: (record: WorkerActionRecord) => void;
  readonly onTask?: (record: WorkerTaskRecord) => void;
}

/** `epochNs` turns a time of the worker's clock into nanoseconds since 1970, as text. */
export function workerActionColumns(epochNs: (ns: number) => string): Columns<WorkerActionRecord> {
  const offset = (r: WorkerActionRecord, ns: number | undefined) =>
    ns === undefined ? 0 : Math.round(ns - r.receivedNs);
  return [
    ["t", (r) => epochNs(r.receivedNs)],
    ["controller_id", (r) => r.controllerId],
    ["action_id", (r) => r.actionId],
    ["action_type", (r) => r.type],
    ["status", (r) => r.status],
    ["gpu_id", (r) => r.gpuId ?? -1],
    ["model_id", (r) => r.modelId ?? -1],
    ["batch_size", (r) => r.batchSize],
    ["earliest", (r) => offset(r, r.window?.earliestNs)],
    ["latest", (r) => offset(r, r.window?.latestNs)],
    ["ended", (r) => offset(r, r.endedNs)],
  ];
}

export function workerTaskColumns(epochNs: (ns: number) => string): Columns<WorkerTaskRecord> {
  return [
    ["t", (r) => epochNs(r.beginNs)],
    ["controller_id", (r) => r.controllerId],
    ["action_id", (r) => r.actionId],
    ["task", (r) => r.task],
    ["gpu_id", (r) => r.gpuId ?? -1],
    ["model_id", (r) => r.modelId ?? -1],
    ["batch_size", (r) => r.batchSize],
    ["duration", (r) => Math.round(r.endNs - r.beginNs)],
  ];
}
