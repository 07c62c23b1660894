/**
 * A backend runs models. The executors above decide whether and when an action runs; the backend only runs
 * it. There are two: `emulated/` sleeps for the profiled time, `onnx/` computes.
 *
 * Calls report through callbacks rather than promises, because the same code runs on the virtual clock,
 * where each event must be complete when its call returns.
 */
import type { ActionStatus } from "../core/status.ts";

/** When something began and ended, in nanoseconds of the worker's clock. */
export interface Span {
  readonly beginNs: number;
  readonly endNs: number;
}

/** An action that could not be done. `message` is for people: what was wrong, expected, to do. */
export interface Failure {
  readonly status: Exclude<ActionStatus, 0>;
  readonly message: string;
}

/** One GPU (or what stands in for one) of this worker. */
export interface GpuInfo {
  /** For people, e.g. "NVIDIA L4 (dawn, Vulkan)". */
  readonly name: string;
  /** Key of the profiles measured on this device in model.json; stable across restarts. */
  readonly profileKey: string;
  /** Device memory that weights may take, in bytes. */
  readonly weightsCacheBytes: number;
}

export type DataType =
  | "float32"
  | "float16"
  | "int64"
  | "int32"
  | "int8"
  | "uint64"
  | "uint32"
  | "uint8"
  | "bool";

/**
 * One input or output of a model, per request: `shape` has no batch dimension unless the model has
 * none to batch over (`batched` false), in which case it is the whole shape.
 */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly batched: boolean;
  /** Bytes of one request's share of this tensor. */
  readonly bytes: number;
}

/** Times predicted for one model on one GPU: measured before, or read from its profile. */
export interface ModelProfile {
  /** Nanoseconds to make the weights resident. */
  readonly loadWeightsNs: number;
  /** Nanoseconds of one execution, for each of the model's `batchSizes`, in the same order. */
  readonly execNs: readonly number[];
}

/** A model that the backend has read: its graph is ready, its weights are in host memory. */
export interface BackendModel {
  /** The file or folder it came from, absolute. */
  readonly source: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Sum of `inputs[i].bytes`: one request's input blob, tensors concatenated in declared order. */
  readonly inputBytes: number;
  /** Sum of `outputs[i].bytes`, likewise. */
  readonly outputBytes: number;
  readonly weightsBytes: number;
  /** Device memory that one copy takes, where the backend knows better than `weightsBytes` does. */
  readonly pagedBytes?: number;
  /** Supported batch sizes, ascending, beginning with 1. */
  readonly batchSizes: readonly number[];
  /** One profile a GPU of the backend, in the order of {@link Backend.gpus}. */
  readonly profiles: readonly ModelProfile[];
  /** What a person should know, e.g. that the weights could not be hoisted and why. */
  readonly notes: readonly string[];
}

export interface LoadModelOptions {
  /** Larger batch sizes are not prepared. */
  readonly maxBatchSize: number;
  /** A batch size whose execution takes longer than this is not offered. */
  readonly maxExecNs: number;
}

/** Spans of one inference and its result. */
export interface InferOutcome {
  readonly copyInput: Span;
  readonly exec: Span;
  readonly copyOutput: Span;
  /** One output blob a request, in the order of the inputs; empty blobs when no output is made. */
  readonly outputs: readonly Uint8Array[];
}

/** What becomes of GPUs while a backend runs. */
export interface GpuEvents {
  /** The GPU is gone with all weights on it; calls fail until it is back. */
  onLost(gpuId: number, reason: string): void;
  /** The GPU is back, knows all models, and has no weights. */
  onRestored(gpuId: number): void;
}

/** Called once with what came of an action. */
export type Done<T> = (result: T | Failure) => void;

export function isFailure<T extends object>(result: T | Failure): result is Failure {
  return "status" in result && "message" in result;
}

/**
 * Runs models on the GPUs of this worker.
 *
 * The executors keep these rules, so a backend need not check them: at most one `infer` at a time on
 * a GPU; no `infer` before `loadWeights` of that model has ended well there; no `evictWeights` during
 * either; `unloadModel` only once its weights are on no GPU.
 */
export interface Backend {
  readonly gpus: readonly GpuInfo[];
  /** Reads a model from disk and measures what its profile lacks. Copies share one load. */
  loadModel(path: string, options: LoadModelOptions, done: Done<BackendModel>): void;
  unloadModel(model: BackendModel): void;
  /**
   * Makes one copy's weights resident on a GPU. `copyId` names the copy: copies of a model have the
   * same weights, yet each takes its own device memory, as models of different tenants would.
   */
  loadWeights(gpuId: number, model: BackendModel, copyId: number, done: Done<Span>): void;
  evictWeights(gpuId: number, model: BackendModel, copyId: number, done: Done<Span>): void;
  /**
   * Runs one batch. `inputs` has one blob a request, each of `model.inputBytes` bytes, or is null: then
   * the backend makes a seeded input itself. `batchSize` is one of `model.batchSizes` and at least
   * `inputs.length`.
   */
  infer(
    gpuId: number,
    model: BackendModel,
    copyId: number,
    batchSize: number,
    inputs: readonly Uint8Array[] | null,
    done: Done<InferOutcome>,
  ): void;
  /** Tells what becomes of GPUs from now on, if anything ever does. */
  watch?(events: GpuEvents): void;
  /** Frees devices and threads. Outstanding calls end with a failure. */
  close(): void;
}
