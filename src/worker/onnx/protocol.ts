/**
 * Messages between the backend and the thread that owns a device. Tensors travel as transferred buffers.
 * Times are readings of the thread's own `performance.now()`, in milliseconds.
 */
import type { ActionStatus } from "../../core/status.ts";
import type { TensorSpec } from "../backend.ts";
import type { InputFill, InputShapes } from "./plan.ts";

/** What runs the models: Dawn (Chrome's WebGPU), Deno's own WebGPU, or the CPU. */
export type DeviceKind = "dawn" | "deno" | "wasm";

/** A device that has been seen to compute correctly. */
export interface DeviceInfo {
  readonly kind: DeviceKind;
  readonly name: string;
  readonly profileKey: string;
  /** Whether the "GPU" is emulated on the CPU, slower than `wasm` is. */
  readonly software: boolean;
  /** Device memory that weights may take, in bytes. */
  readonly weightsCacheBytes: number;
  /** What computes, with its version: results may change when it does. */
  readonly runtime: string;
}

/** Which device a thread opens. */
export interface DeviceTarget {
  readonly kind: DeviceKind;
  /** The name of Dawn's adapter; null for the one that it prefers. */
  readonly adapter: string | null;
}

export interface OpenRequest {
  readonly target: DeviceTarget;
  /** Size of a page of device memory for weights. */
  readonly pageBytes: number;
  /** Device memory that weights may take; null for what suits the device. */
  readonly weightsCacheBytes: number | null;
}

/** What an adapter says of itself, and how long it takes to answer. */
export interface AdapterSurvey {
  readonly name: string;
  /** Whether the "GPU" is emulated on the CPU. */
  readonly software: boolean;
  readonly vendor: string;
  readonly architecture: string;
  readonly driver: string;
  readonly limits: Readonly<Record<string, number>>;
  readonly features: readonly string[];
  /** From the submission of a copy of four bytes until they can be read, in milliseconds. */
  readonly mapAsyncMs: readonly number[];
}

/** When something began and ended, in the thread's milliseconds. */
export interface ThreadSpan {
  readonly beginMs: number;
  readonly endMs: number;
}

/** A model as it is on disk. */
export interface ModelSource {
  /** Of the ONNX file, absolute. */
  readonly path: string;
  /** Real paths of the directories outside which nothing is read; null when anything may be. */
  readonly realDirs: readonly string[] | null;
  /** The ONNX file; transferred. */
  readonly file: ArrayBuffer;
  /** The largest sum of its file and those that it takes weights from. */
  readonly maxBytes: number;
  /** Sizes given for this model. */
  readonly shapes: InputShapes;
  /** Sizes given for whatever model they fit, which go before its own. */
  readonly generalShapes: InputShapes;
  /** Values of inputs that nobody sends and that cannot be any number. */
  readonly fill: InputFill;
}

/** Times that need no measuring, as long as the model's other files and its shapes are the same. */
export interface KnownTimes {
  /** Whole shapes of the inputs at batch size 1; null when they are not known. */
  readonly inputDims: InputShapes | null;
  readonly dataSha256: string | null;
  /** Milliseconds, by batch size. */
  readonly execMs: Readonly<Record<string, number>>;
  readonly loadWeightsMs: number;
}

export interface LoadRequest {
  /** Names the model from now on. */
  readonly modelId: number;
  readonly source: ModelSource;
  /** Batch sizes to try, ascending, beginning with 1. */
  readonly batchSizes: readonly number[];
  /** Batch sizes that take longer are not offered. */
  readonly maxExecMs: number;
  readonly known: KnownTimes | null;
  /** About how long warming and measuring may take. */
  readonly budgetMs: number;
}

export interface LoadReply {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly weightsBytes: number;
  /** Whether any weights are float16. */
  readonly halfPrecision: boolean;
  /** Device memory that a copy's weights take; 0 when the session holds them for all copies. */
  readonly pagedBytes: number;
  readonly batchSizes: readonly number[];
  /** In the order of `batchSizes`. */
  readonly execMs: readonly number[];
  readonly loadWeightsMs: number;
  /** Whether anything was measured that the request did not know. */
  readonly measured: boolean;
  readonly dataSha256: string | null;
  /** The sizes that were given and of use. */
  readonly shapes: InputShapes;
  readonly notes: readonly string[];
  /** What the seeded input of one request gave; transferred. */
  readonly buffers: readonly ArrayBuffer[];
}

export interface InferReply extends ThreadSpan {
  /** One buffer an output, of the whole batch; transferred. */
  readonly buffers: readonly ArrayBuffer[];
}

/** Device memory for weights, in bytes. */
export interface WeightsMemory {
  readonly usedBytes: number;
  /** Of buffers that are kept to be used again. */
  readonly freeBytes: number;
}

/** Each operation's request and reply. */
export interface Operations {
  /** Names of the adapters that Dawn finds; the thread cannot open a device afterwards. */
  adapters: { request: Record<never, never>; reply: { names: readonly string[] } };
  /** What an adapter can do; the thread cannot open a device afterwards. */
  survey: { request: { target: DeviceTarget }; reply: AdapterSurvey };
  open: { request: OpenRequest; reply: DeviceInfo };
  /** Answers with the thread's time and the origin it counts from, in Unix milliseconds. */
  time: { request: Record<never, never>; reply: { nowMs: number; timeOriginMs: number } };
  load: { request: LoadRequest; reply: LoadReply };
  /** What a model makes of the seeded input of one request, without keeping the model. */
  reference: { request: { source: ModelSource }; reply: { buffers: readonly ArrayBuffer[] } };
  /** Device memory for weights: in use, and kept for later. */
  memory: { request: Record<never, never>; reply: WeightsMemory };
  unload: { request: { modelId: number }; reply: Record<never, never> };
  loadWeights: { request: { modelId: number; copyId: number }; reply: ThreadSpan };
  evictWeights: { request: { modelId: number; copyId: number }; reply: ThreadSpan };
  infer: {
    request: {
      modelId: number;
      copyId: number;
      batchSize: number;
      /** One buffer an input, of the whole batch, transferred; null for a seeded input. */
      inputs: readonly ArrayBuffer[] | null;
    };
    reply: InferReply;
  };
}

export type OperationName = keyof Operations;

/** From the backend to the thread. */
export type ToThread = {
  [K in OperationName]: { readonly seq: number; readonly op: K } & Operations[K]["request"];
}[OperationName];

/** From the thread to the backend. */
export type FromThread =
  | { readonly seq: number; readonly reply: Operations[OperationName]["reply"] }
  | { readonly seq: number; readonly status: Exclude<ActionStatus, 0>; readonly message: string }
  /** The device is gone; every later operation fails. Sent at most once. */
  | { readonly lost: string };

/** A failure whose status the thread knows. */
export class OperationError extends Error {
  override readonly name = "OperationError";
  readonly status: Exclude<ActionStatus, 0>;

  constructor(status: Exclude<ActionStatus, 0>, message: string) {
    super(message);
    this.status = status;
  }
}
