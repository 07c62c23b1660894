/**
 * The interface of schedulers. A scheduler is a deterministic state machine that is told what happens
 * (models, GPUs, requests, results) and tells its host what to do (actions, answers). It does no I/O; its
 * only other dependency is a Clock. All times are in nanoseconds of the controller's clock.
 */
import type { ActionStatus, RequestStatus } from "../core/status.ts";

/** A request as the scheduler sees it; the controller adds who asked. */
export interface Request {
  readonly modelId: number;
  readonly arrivalNs: number;
  /** The controller should have the answer by then. */
  readonly deadlineNs: number;
  /** Bytes to send to the worker. */
  readonly inputBytes: number;
}

/** A GPU of a worker. */
export interface GpuSpec {
  readonly workerId: number;
  /** Its number on the worker. */
  readonly gpuId: number;
  /** Pages of its weights cache. */
  readonly pages: number;
}

/** A model as one worker reported it. */
export interface ModelSpec {
  readonly weightsPages: number;
  /** Ascending, starting with 1. */
  readonly batchSizes: readonly number[];
  /** Execution time of each batch size. */
  readonly execNs: readonly number[];
  readonly loadWeightsNs: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
}

interface Action {
  readonly gpu: GpuSpec;
  readonly modelId: number;
  /** The window in which it must start. */
  readonly earliestNs: number;
  readonly latestNs: number;
  /** Predicted duration. */
  readonly expectedNs: number;
  /** Predicted end. */
  readonly expectedEndNs: number;
  /**
   * For telemetry: requests waiting for this model, and GPUs that held it, at the time of the decision.
   */
  readonly queued: number;
  readonly copiesLoaded: number;
}

export interface InferAction<R extends Request> extends Action {
  readonly type: "Infer";
  readonly batchSize: number;
  readonly requests: readonly R[];
}

export interface WeightsAction extends Action {
  readonly type: "LoadWeights" | "EvictWeights";
}

export type SchedulerAction<R extends Request> = InferAction<R> | WeightsAction;

/** How an action ended. The times are meaningful on success only. */
export interface ActionOutcome {
  readonly status: ActionStatus;
  readonly message: string;
  readonly beginNs: number;
  readonly endNs: number;
}

/** What a scheduler may do. None of these calls back into the scheduler before it returns. */
export interface SchedulerHost<R extends Request> {
  /** Sends an action; its outcome comes back through `onOutcome` with the same object. */
  send(action: SchedulerAction<R>): void;
  /** Answers a request that got no result. */
  refuse(request: R, status: Exclude<RequestStatus, 0>, message: string): void;
  /** Answers the requests of a successful action. */
  succeed(action: InferAction<R>): void;
  /**
   * Estimated time, from measurements, for sending `bytes` to the worker; with 0 bytes, for a message in
   * either direction.
   */
  transferNs(workerId: number, bytes: number): number;
}

/** A policy. Every request submitted is answered exactly once, whatever happens to GPUs and models. */
export interface Scheduler<R extends Request> {
  addGpu(gpu: GpuSpec): void;
  /** The GPU is lost: its actions will have no outcome. */
  removeGpu(gpu: GpuSpec): void;
  /**
   * Says which workers can run a model, replacing what was said before. Copies of a model should share one
   * map, which must not change afterwards.
   */
  setModel(modelId: number, specs: ReadonlyMap<number, ModelSpec>): void;
  /** The model has been unloaded: its waiting requests are refused, and its weights are evicted. */
  removeModel(modelId: number): void;
  submit(request: R): void;
  onOutcome(action: SchedulerAction<R>, outcome: ActionOutcome): void;
  /** Refuses all waiting requests with `status`, and all later ones. */
  close(status: Exclude<RequestStatus, 0>, message: string): void;
}
