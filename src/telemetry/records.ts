/** The controller's records of requests and actions, and the columns of its two logs. */

/** An answered request. Times in nanoseconds of the controller's clock. */
export interface RequestRecord {
  readonly requestId: number;
  readonly userId: number;
  readonly modelId: number;
  readonly sloFactor: number;
  readonly arrivalNs: number;
  readonly deadlineNs: number;
  readonly departureNs: number;
  readonly status: number;
  /** Requests of this model that were unanswered when it arrived, and when it left. */
  readonly arrivalCount: number;
  readonly departureCount: number;
  /** No GPU held the model's weights when it arrived. */
  readonly cold: boolean;
  /** Its W3C trace context, where it is traced. */
  readonly trace?: string;
}

/** Whether a request got its result, and by its deadline. */
export function metDeadline({ status, departureNs, deadlineNs }: RequestRecord): boolean {
  return status === 0 && departureNs <= deadlineNs;
}

/** What the scheduler decided, as far as the log tells it. A scheduler's own actions have this shape. */
export type DecidedAction =
  & {
    readonly gpu: { readonly workerId: number; readonly gpuId: number };
    readonly modelId: number;
    readonly expectedNs: number;
    readonly expectedEndNs: number;
    /** Requests waiting for this model, and GPUs that hold it, when this was decided. */
    readonly queued: number;
    readonly copiesLoaded: number;
  }
  & (
    | { readonly type: "Infer"; readonly batchSize: number }
    | { readonly type: "LoadWeights" | "EvictWeights" }
  );

/** An action that has been sent, and has not ended. */
export interface SentAction {
  readonly actionId: number;
  readonly action: DecidedAction;
  /** In nanoseconds of the controller's clock. */
  readonly sentNs: number;
}

/** A request of an action, and its W3C trace context. */
export interface TracedRequest {
  readonly requestId: number;
  readonly trace: string;
}

/** An action and what came of it. Times in nanoseconds of the controller's clock. */
export interface ActionRecord {
  readonly actionId: number;
  /** 1 LoadWeights, 2 Infer, 3 EvictWeights. */
  readonly type: number;
  readonly action: DecidedAction;
  readonly status: number;
  readonly sentNs: number;
  readonly beginNs: number;
  readonly endNs: number;
  readonly copyOutputEndNs: number;
  readonly receivedByWorkerNs: number;
  readonly sentByWorkerNs: number;
  readonly enqueuedNs: number;
  readonly gpuClockBefore: number;
  readonly gpuClock: number;
  /** Fraction of the batch answered in time; 1 for actions without requests. */
  readonly goodput: number;
  /** What was wrong, where it failed. */
  readonly message?: string;
  /** Its requests that are traced, where there are any. */
  readonly traced?: readonly TracedRequest[];
}

/** The names of a log's columns in their order, each with how to read it from a row. */
export type Columns<Row> = readonly (readonly [string, (row: Row) => string | number])[];

const bit = (value: boolean) => value ? 1 : 0;

/** `epochNs` turns a time of the controller's clock into nanoseconds since 1970, as text. */
export function requestColumns(epochNs: (ns: number) => string): Columns<RequestRecord> {
  return [
    ["t", (r) => epochNs(r.arrivalNs)],
    ["request_id", (r) => r.requestId],
    ["result", (r) => r.status],
    ["user_id", (r) => r.userId],
    ["model_id", (r) => r.modelId],
    ["slo_factor", (r) => r.sloFactor],
    ["latency", (r) => Math.round(r.departureNs - r.arrivalNs)],
    ["deadline", (r) => Math.round(r.deadlineNs - r.arrivalNs)],
    ["deadline_met", (r) => bit(metDeadline(r))],
    ["arrival_count", (r) => r.arrivalCount],
    ["departure_count", (r) => r.departureCount],
    ["is_coldstart", (r) => bit(r.cold && r.arrivalCount === 0)],
  ];
}

/** Times in this log are relative to `t`, the moment the action was sent. */
export function actionColumns(epochNs: (ns: number) => string): Columns<ActionRecord> {
  const since = (at: (r: ActionRecord) => number) => (r: ActionRecord) =>
    at(r) === 0 ? 0 : Math.round(at(r) - r.sentNs);
  return [
    ["t", (r) => epochNs(r.sentNs)],
    ["action_id", (r) => r.actionId],
    ["action_type", (r) => r.type],
    ["status", (r) => r.status],
    ["worker_id", (r) => r.action.gpu.workerId],
    ["gpu_id", (r) => r.action.gpu.gpuId],
    ["model_id", (r) => r.action.modelId],
    ["batch_size", (r) => r.action.type === "Infer" ? r.action.batchSize : 0],
    ["expected_exec_duration", (r) => Math.round(r.action.expectedNs)],
    ["worker_exec_duration", (r) => Math.round(r.endNs - r.beginNs)],
    ["expected_exec_complete", since((r) => r.action.expectedEndNs)],
    ["worker_exec_complete", since((r) => r.endNs)],
    ["expected_gpu_clock", (r) => r.gpuClockBefore],
    ["worker_gpu_clock_before", (r) => r.gpuClockBefore],
    ["worker_gpu_clock", (r) => r.gpuClock],
    ["worker_copy_output_complete", since((r) => r.copyOutputEndNs)],
    ["worker_action_received", since((r) => r.receivedByWorkerNs)],
    ["worker_result_sent", since((r) => r.sentByWorkerNs)],
    ["controller_result_enqueue", since((r) => r.enqueuedNs)],
    ["controller_action_duration", since((r) => r.enqueuedNs)],
    ["goodput", (r) => r.goodput],
    ["requests_queued", (r) => r.action.queued],
    ["copies_loaded", (r) => r.action.copiesLoaded],
  ];
}
