/**
 * Messages between the backend and the thread that owns a device. Tensors travel as transferred buffers.
 * Times are readings of the thread's own `performance.now()`, in milliseconds.
 */
import type { ActionStatus } from "../../core/status.ts";
import type { TensorSpec } from "../backend.ts";
import type { InputShapes } from "./plan.ts";

/** What runs the models: Dawn (Chrome's WebGPU), Deno's own WebGPU, or the CPU. */
export type DeviceKind = "dawn" | "deno" | "wasm";

/** A device that has been seen to compute correctly. */
export interface DeviceInfo {
  readonly kind: DeviceKind;
  readonly name: string;
  readonly profileKey: string;
  /** Whether the "GPU" is emulated on the CPU, slower than `wasm` is. */
  readonly software: boolean;
  /** The largest buffer that the device allows, in bytes; 0 for wasm. */
  readonly maxBufferBytes: number;
}

/** When something began and ended, in the thread's milliseconds. */
export interface ThreadSpan {
  readonly beginMs: number;
  readonly endMs: number;
}

export interface LoadRequest {
  /** Names the model from now on. */
  readonly modelId: number;
  /** The ONNX file; transferred. */
  readonly file: ArrayBuffer;
  readonly shapes: InputShapes;
  /** Batch sizes to try, ascending, beginning with 1. */
  readonly batchSizes: readonly number[];
  /** Batch sizes that take longer are not offered. */
  readonly maxExecMs: number;
  /** Times of batch sizes (milliseconds) that need no measuring. */
  readonly knownExecMs: Readonly<Record<string, number>>;
  /** Whether the time of making the weights resident is known too. */
  readonly knownLoadWeightsMs: number | null;
  /** About how long warming and measuring may take. */
  readonly budgetMs: number;
}

export interface LoadReply {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly weightsBytes: number;
  readonly hoisted: boolean;
  readonly batchSizes: readonly number[];
  /** In the order of `batchSizes`. */
  readonly execMs: readonly number[];
  readonly loadWeightsMs: number;
  /** Whether anything was measured that the request did not know. */
  readonly measured: boolean;
  readonly notes: readonly string[];
}

export interface InferReply extends ThreadSpan {
  /** One buffer an output, of the whole batch; transferred. */
  readonly outputs: readonly ArrayBuffer[];
}

/** Each operation's request and reply. */
export interface Operations {
  open: { request: { kind: DeviceKind }; reply: DeviceInfo };
  /** Answers with the thread's time and the origin it counts from, in Unix milliseconds. */
  time: { request: Record<never, never>; reply: { nowMs: number; timeOriginMs: number } };
  load: { request: LoadRequest; reply: LoadReply };
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
