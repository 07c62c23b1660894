/**
 * Serving connects clients and workers to the scheduler, which only decides. It holds the inputs of
 * requests, turns decisions into actions and results into answers, and records both.
 */
import { type Clock, SECOND } from "../core/clock.ts";
import { ActionStatus, RequestStatus } from "../core/status.ts";
import type {
  ActionOutcome,
  InferAction,
  ModelSpec,
  Scheduler,
  SchedulerAction,
  SchedulerHost,
} from "../scheduler/scheduler.ts";
import type { ActionRecord, RequestRecord, SentAction } from "../telemetry/records.ts";
import type { Header } from "../wire/messages.ts";
import { payloads } from "../wire/payload_pool.ts";
import { Admission, type UserPolicy } from "./admission.ts";
import type { ClientSession } from "./client_session.ts";
import { GeneratedInputs } from "./generated_inputs.ts";
import { failure, local, ran, split } from "./outcomes.ts";
import { NOT_TRACED, PendingRequest, tracedAmong } from "./pending_request.ts";
import { type GpuUse, Residency } from "./residency.ts";
import type { Result, WorkerPeer } from "./worker_peer.ts";

export { PendingRequest } from "./pending_request.ts";

/** The longest time for a request, whatever it asks for. Numbers are exact for far longer times. */
const MAX_SLO_NS = 24 * 3600 * SECOND;

/** Receives a record of each request and action when it is over, except where stated otherwise. */
export interface Telemetry {
  onRequest(record: RequestRecord): void;
  onAction(record: ActionRecord): void;
  /** An action has been sent. */
  onSent?(sent: SentAction): void;
  /** A request was answered without having been accepted. */
  onRejected?(status: RequestStatus): void;
}

export interface ServingOptions {
  /** Time allowed for a request that does not set one, in nanoseconds. */
  readonly defaultSloNs: number;
  /** Generate inputs for requests that have none. */
  readonly generateInputs: boolean;
  /** Unanswered requests at a time; more are refused. */
  readonly maxRequests: number;
  /** Bytes of their inputs, all together; more are refused. */
  readonly maxInputBytes: number;
  readonly users: UserPolicy;
}

/** A model that clients may use. */
export interface ServedModel {
  readonly id: number;
  readonly path: string;
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Execution time at batch size 1 by its profile, which slo_factor multiplies. */
  readonly execNs: number;
}

/** Counts of a model, for telemetry. */
interface ModelCounts {
  unanswered: number;
}

/** A serving worker, and its state when it began to serve. */
interface ServingWorker {
  readonly peer: WorkerPeer;
  readonly gpuCount: number;
}

/** Who makes the inputs of requests. */
export type InputOrigin = "client" | "controller" | "worker";

export class Serving implements SchedulerHost<PendingRequest> {
  readonly #clock: Clock;
  readonly #options: ServingOptions;
  readonly #telemetry: Telemetry;
  readonly #scheduler: Scheduler<PendingRequest>;
  readonly #admission: Admission;
  readonly #workers = new Map<number, ServingWorker>();
  #gpuCount = 0;
  readonly #models = new Map<number, ServedModel>();
  /** The workers that can run each model; copies share one. */
  readonly #runnersOf = new Map<number, ReadonlyMap<number, ModelSpec>>();
  readonly #counts = new Map<number, ModelCounts>();
  /** Models that are being unloaded: their requests are finished, and no new ones accepted. */
  readonly #retired = new Set<number>();
  readonly #residency = new Residency();
  readonly #generated = new GeneratedInputs();
  /** Outputs of the action that is being answered, for `succeed`. */
  #outputs: readonly Uint8Array[] = [];
  #succeeded = 0;
  #unanswered = 0;
  /** Bytes of inputs that unanswered requests brought. */
  #inputBytes = 0;
  #nextRequestId = 0;
  #inputOrigins = new Set<InputOrigin>();
  /** Why new requests are refused while accepted ones are being finished; null while they are accepted. */
  #draining: string | null = null;
  /** Why serving has ended; null while it has not. */
  #closedBecause: string | null = null;

  constructor(
    clock: Clock,
    options: ServingOptions,
    telemetry: Telemetry,
    makeScheduler: (host: SchedulerHost<PendingRequest>) => Scheduler<PendingRequest>,
  ) {
    this.#clock = clock;
    this.#options = options;
    this.#telemetry = telemetry;
    this.#admission = new Admission(options.users);
    this.#scheduler = makeScheduler(this);
  }

  /** Who made the inputs of requests since the last call. */
  takeInputOrigins(): ReadonlySet<InputOrigin> {
    const origins = this.#inputOrigins;
    this.#inputOrigins = new Set();
    return origins;
  }

  addWorker(peer: WorkerPeer, gpuPages: readonly number[]): void {
    // It may have been admitted with the others while it was still loading models.
    if (this.#workers.has(peer.id)) return;
    this.#workers.set(peer.id, { peer, gpuCount: gpuPages.length });
    this.#gpuCount += gpuPages.length;
    gpuPages.forEach((pages, gpuId) => this.#scheduler.addGpu({ workerId: peer.id, gpuId, pages }));
  }

  removeWorker(workerId: number): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    for (let gpuId = 0; gpuId < worker.gpuCount; gpuId++) {
      this.#residency.lost({ workerId, gpuId });
      this.#scheduler.removeGpu({ workerId, gpuId, pages: 0 });
    }
    // Only now, because requests of one of its GPUs may have gone to the next, which still had to be
    // removed.
    this.#workers.delete(workerId);
    this.#gpuCount -= worker.gpuCount;
  }

  /** Serves a model, or tells which workers can run it now: `specs` has it as each of them reported it. */
  setModel(model: ServedModel, specs: ReadonlyMap<number, ModelSpec>): void {
    this.#models.set(model.id, model);
    if (!this.#counts.has(model.id)) {
      this.#counts.set(model.id, { unanswered: 0 });
    }
    this.#runnersOf.set(model.id, specs);
    this.#scheduler.setModel(model.id, specs);
  }

  /** Refuses new requests for a model; accepted ones continue. */
  retireModel(modelId: number): void {
    if (this.#models.has(modelId)) this.#retired.add(modelId);
  }

  /** Unanswered requests for a model. */
  unansweredOf(modelId: number): number {
    return this.#counts.get(modelId)?.unanswered ?? 0;
  }

  /** Removes a model: its waiting requests are refused, running ones are answered with their result. */
  removeModel(modelId: number): void {
    if (!this.#models.has(modelId)) return;
    this.#retired.add(modelId);
    this.#scheduler.removeModel(modelId);
    this.#runnersOf.delete(modelId);
    this.#forgetIfDone(modelId);
  }

  infer(
    session: ClientSession,
    clientRequestId: number,
    header: Header<"InferRequest">,
    input: Uint8Array,
  ): void {
    const { model_id: modelId, user_id: userId, slo_factor: sloFactor } = header;
    const model = this.#models.get(modelId);
    const problem = this.#problem(header, model, input);
    if (model === undefined || problem !== null) {
      const [status, message] = problem!;
      this.#telemetry.onRejected?.(status);
      session.sendError(clientRequestId, "InferRequest", status, message);
      return;
    }
    const arrivalNs = this.#clock.now();
    const askedNs = sloFactor > 0
      ? sloFactor * model.execNs
      : header.deadline_ns > 0
      ? header.deadline_ns
      : this.#options.defaultSloNs;
    const allowedNs = Math.min(askedNs, MAX_SLO_NS);
    const counts = this.#counts.get(modelId)!;
    const generated = input.length === 0 && this.#options.generateInputs;
    this.#inputOrigins.add(input.length > 0 ? "client" : generated ? "controller" : "worker");
    const request = new PendingRequest(
      this.#nextRequestId++,
      session,
      clientRequestId,
      userId,
      modelId,
      sloFactor,
      arrivalNs,
      arrivalNs + allowedNs,
      generated ? this.#generated.of(model.inputBytes) : input,
      counts.unanswered,
      this.#residency.isCold(modelId),
      model.execNs,
      header.trace,
    );
    counts.unanswered++;
    this.#unanswered++;
    if (!generated) request.broughtBytes = input.length;
    this.#inputBytes += request.broughtBytes;
    const refusal = this.#refusal(request);
    if (refusal === null) this.#scheduler.submit(request);
    else this.refuse(request, ...refusal);
  }

  /** Accepted, unanswered requests. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** Models whose weights are on a GPU, and the pages that they take. */
  gpuUse(workerId: number, gpuId: number): GpuUse {
    return this.#residency.use({ workerId, gpuId });
  }

  /** Unanswered requests by path of their model, without zeros. */
  unansweredByPath(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [id, { unanswered }] of this.#counts) {
      if (unanswered === 0) continue;
      const { path } = this.#models.get(id)!;
      counts.set(path, (counts.get(path) ?? 0) + unanswered);
    }
    return counts;
  }

  /** The path of a model; "" if there is no longer one with that id. */
  pathOf(modelId: number): string {
    return this.#models.get(modelId)?.path ?? "";
  }

  /** Refuses every new request with `message`; accepted ones continue. */
  drain(message: string): void {
    this.#draining = message;
  }

  /** Refuses all waiting and running requests, and all later ones, with `message`. */
  close(message: string): void {
    this.#closedBecause = message;
    this.#scheduler.close(RequestStatus.unavailable, message);
    // The scheduler answers the requests on a GPU that it loses.
    for (const workerId of [...this.#workers.keys()]) this.removeWorker(workerId);
  }

  // The interface for the scheduler.

  transferNs(workerId: number, bytes: number): number {
    return this.#workers.get(workerId)?.peer.transferNs(bytes) ?? 0;
  }

  send(action: SchedulerAction<PendingRequest>): void {
    const peer = this.#workers.get(action.gpu.workerId)?.peer;
    // The scheduler knows that the GPU is lost: the action has no outcome.
    if (peer === undefined) return;
    const sentNs = this.#clock.now();
    let id: number;
    const onResult = (result: Result) => this.#onResult(action, id, sentNs, peer, result);
    const header = {
      model_id: action.modelId,
      gpu_id: action.gpu.gpuId,
      earliest_ns: action.earliestNs,
      latest_ns: action.latestNs,
    };
    switch (action.type) {
      case "Infer": {
        const bytes = this.#models.get(action.modelId)?.inputBytes ?? 0;
        const inputs = this.#generated.complete(action.requests.map(({ input }) => input), bytes);
        id = peer.sendInfer(
          {
            ...header,
            expected_duration_ns: action.expectedNs,
            batch_size: action.batchSize,
            // An action without requests is run for its own sake: the worker makes up the inputs.
            input_sizes: inputs.length > 0
              ? inputs.map((input) => input.length)
              : new Array<number>(action.batchSize).fill(0),
          },
          inputs,
          onResult,
        );
        break;
      }
      case "LoadWeights":
        id = peer.send(
          "LoadWeights",
          { ...header, expected_duration_ns: action.expectedNs },
          onResult,
        );
        break;
      case "EvictWeights":
        this.#residency.evicted(action.gpu, action.modelId);
        id = peer.send("EvictWeights", header, onResult);
    }
    this.#telemetry.onSent?.({ actionId: id, action, sentNs });
  }

  refuse(request: PendingRequest, status: Exclude<RequestStatus, 0>, message: string): void {
    const reason = this.#closedBecause ?? message;
    request.session.sendError(request.clientRequestId, "InferRequest", status, reason);
    this.#record(request, status);
  }

  succeed(action: InferAction<PendingRequest>): void {
    const nowNs = this.#clock.now();
    for (let i = 0; i < action.requests.length; i++) {
      const request = action.requests[i]!;
      const output = this.#outputs[i] ?? this.#zeros(request.modelId);
      request.session.sendOutput(request.clientRequestId, output);
      // The worker has received everything, so the input is no longer needed.
      payloads.release(request.input);
      if (nowNs <= request.deadlineNs) this.#succeeded++;
      this.#record(request, RequestStatus.success);
    }
  }

  #problem(
    { batch_size, model_id }: Header<"InferRequest">,
    model: ServedModel | undefined,
    input: Uint8Array,
  ): [Exclude<RequestStatus, 0>, string] | null {
    if (model === undefined || this.#retired.has(model_id)) {
      return [
        RequestStatus.invalidRequest,
        `unknown model ${model_id}: load it first, or list the models with LS`,
      ];
    }
    if (batch_size !== 1) {
      return [
        RequestStatus.invalidRequest,
        `batch_size must be 1, got ${batch_size}: the controller forms batches itself`,
      ];
    }
    if (input.length !== 0 && input.length !== model.inputBytes) {
      return [
        RequestStatus.invalidRequest,
        `model ${model_id} takes ${model.inputBytes} bytes of input, got ${input.length}`,
      ];
    }
    return null;
  }

  /** Why a valid request cannot be accepted now; null if it can. It has already been counted. */
  #refusal(request: PendingRequest): [Exclude<RequestStatus, 0>, string] | null {
    const { overloaded, unavailable } = RequestStatus;
    const { maxRequests, maxInputBytes } = this.#options;
    if (this.#draining !== null) return [unavailable, this.#draining];
    if (this.#unanswered > maxRequests) {
      return [
        overloaded,
        `${maxRequests} requests are waiting, the limit of this controller: try again later`,
      ];
    }
    if (this.#inputBytes > maxInputBytes) {
      return [
        overloaded,
        `the inputs of waiting requests take ${maxInputBytes} bytes, the limit of this controller: ` +
        "try again later, or raise --max-inputs",
      ];
    }
    if (this.#workers.size === 0) return [unavailable, "no worker is connected: try again later"];
    const { modelId, userId, arrivalNs, deadlineNs, costNs } = request;
    if (!this.#canRun(modelId)) {
      return [unavailable, `no worker that is connected has model ${modelId}: load it again`];
    }
    const allowedNs = deadlineNs - arrivalNs;
    const refusal = this.#admission.admit(userId, arrivalNs, costNs, allowedNs, this.#gpuCount);
    request.admitted = refusal === null;
    return refusal === null ? null : [overloaded, refusal];
  }

  #canRun(modelId: number): boolean {
    for (const workerId of this.#runnersOf.get(modelId)!.keys()) {
      if (this.#workers.has(workerId)) return true;
    }
    return false;
  }

  #onResult(
    action: SchedulerAction<PendingRequest>,
    actionId: number,
    sentNs: number,
    { link: { sync } }: WorkerPeer,
    { kind, header, payload }: Result,
  ): void {
    const nowNs = this.#clock.now();
    const record = {
      actionId,
      type: ACTION_TYPES[action.type],
      action,
      sentNs,
      receivedByWorkerNs: local(sync, header.action_received_ns),
      sentByWorkerNs: local(sync, header.result_sent_ns),
      enqueuedNs: nowNs,
      gpuClockBefore: 0,
      gpuClock: 0,
    };
    let outcome: ActionOutcome;
    let copyOutputEndNs = 0;
    let outputs: readonly Uint8Array[] | null = [];
    if (kind === "ErrorResult") {
      outcome = failure(header.status, header.message);
    } else if (kind === "InferResult" && action.type === "Infer") {
      outcome = ran(header.exec, sync.offsetNs, sentNs, nowNs);
      copyOutputEndNs = sync.toLocal(header.copy_output.end_ns);
      record.gpuClockBefore = header.gpu_clock_before;
      record.gpuClock = header.gpu_clock;
      // For an unloaded model, only actions that run for their own sake can still be in progress.
      const outputBytes = this.#models.get(action.modelId)?.outputBytes ?? 0;
      outputs = split(payload, header.output_sizes, action.batchSize, outputBytes);
    } else if (
      (kind === "LoadWeightsResult" && action.type === "LoadWeights") ||
      (kind === "EvictWeightsResult" && action.type === "EvictWeights")
    ) {
      outcome = ran(header, sync.offsetNs, sentNs, nowNs);
    } else {
      outcome = failure(ActionStatus.runtimeError, `the worker answered ${action.type} by ${kind}`);
    }
    if (outputs === null) {
      outcome = failure(
        ActionStatus.runtimeError,
        "the worker's outputs are not one of the model's size for each request",
      );
    }
    if (action.type === "LoadWeights" && outcome.status === ActionStatus.success) {
      const { workerId } = action.gpu;
      const pages = this.#runnersOf.get(action.modelId)?.get(workerId)?.weightsPages ?? 0;
      this.#residency.loaded(action.gpu, action.modelId, pages);
    }
    this.#outputs = outputs ?? [];
    this.#succeeded = 0;
    this.#scheduler.onOutcome(action, outcome);
    this.#outputs = [];
    const goodput = action.type === "Infer" && action.requests.length > 0
      ? this.#succeeded / action.requests.length
      : 1;
    const ended: ActionRecord = {
      ...record,
      status: outcome.status,
      beginNs: outcome.beginNs,
      endNs: outcome.endNs,
      copyOutputEndNs,
      goodput,
      message: outcome.message,
    };
    const traced = action.type === "Infer" ? tracedAmong(action.requests) : NOT_TRACED;
    this.#telemetry.onAction(traced.length === 0 ? ended : { ...ended, traced });
  }

  #record(request: PendingRequest, status: number): void {
    const counts = this.#counts.get(request.modelId)!;
    counts.unanswered--;
    this.#unanswered--;
    this.#inputBytes -= request.broughtBytes;
    if (request.admitted) this.#admission.answered(request.userId, request.costNs);
    const { requestId, userId, modelId, sloFactor, arrivalNs, deadlineNs, arrivalCount, cold } =
      request;
    const record: RequestRecord = {
      requestId,
      userId,
      modelId,
      sloFactor,
      arrivalNs,
      deadlineNs,
      departureNs: this.#clock.now(),
      status,
      arrivalCount,
      departureCount: counts.unanswered,
      cold,
    };
    const { trace } = request;
    this.#telemetry.onRequest(trace === undefined ? record : { ...record, trace });
    this.#forgetIfDone(modelId);
  }

  /** A removed model is kept until the last of its requests has been answered. */
  #forgetIfDone(modelId: number): void {
    if (this.#runnersOf.has(modelId) || this.unansweredOf(modelId) > 0) return;
    this.#models.delete(modelId);
    this.#counts.delete(modelId);
    this.#retired.delete(modelId);
  }

  /** The output of a request that was answered without a worker. */
  #zeros(modelId: number): Uint8Array {
    return new Uint8Array(this.#models.get(modelId)!.outputBytes);
  }
}

const ACTION_TYPES = { LoadWeights: 1, Infer: 2, EvictWeights: 3 } as const;
