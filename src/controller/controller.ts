/**
 * The controller: takes requests from clients, and plans every action on every GPU of its workers.
 *
 * Start-up goes through phases: (1) inference and LS requests are bounced, (2) the state of the workers
 * is asked for, (3) the first LoadModel of a client is awaited, (4) models are loaded on every worker,
 * (5) once a second passes without that, (6) the loaded models are printed, and serving begins. Models
 * may be loaded later too.
 */
import { type Clock, every, SECOND, type Timer } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { RequestStatus } from "../core/status.ts";
import type { ModelSpec, Scheduler, SchedulerHost } from "../scheduler/scheduler.ts";
import { type NetworkTotals, Summary } from "../telemetry/summary.ts";
import {
  describeAction,
  describeBytes,
  describeModel,
  describeResult,
  type MessageOf,
} from "../wire/describe.ts";
import { DEFAULT_FRAME_LIMITS } from "../wire/frame.ts";
import type { Accept, Link, LinkHandler } from "../wire/link.ts";
import type { Header, ModelFacts } from "../wire/messages.ts";
import { type ClientRequests, ClientSession } from "./client_session.ts";
import {
  type InputOrigin,
  type PendingRequest,
  type ServedModel,
  Serving,
  type Telemetry,
} from "./serving.ts";
import { type Result, WorkerPeer } from "./worker_peer.ts";

export interface ControllerOptions {
  readonly defaultSloNs: number;
  /** Batch sizes that take longer than this are not used, in nanoseconds. */
  readonly maxExecNs: number;
  readonly maxBatchSize: number;
  readonly generateInputs: boolean;
  /** Unanswered requests at a time. */
  readonly maxRequests: number;
  /** Models, copies included. */
  readonly maxModels: number;
  /** A model to load without being asked to, for schedulers that have no clients. */
  readonly preload: { readonly path: string; readonly copies: number } | null;
}

export const DEFAULT_CONTROLLER_OPTIONS: ControllerOptions = {
  defaultSloNs: 100_000_000,
  maxExecNs: 250_000_000,
  maxBatchSize: 8,
  generateInputs: false,
  maxRequests: 100_000,
  maxModels: 1_000_000,
  preload: null,
};

/** The load phase ends when this long has passed without load activity. */
const LOAD_STAGE_IDLE_NS = SECOND;
const SUMMARY_PERIOD_NS = 10 * SECOND;
/** Ids are 32-bit unsigned on the wire. */
const MAX_MODEL_ID = 0xffff_ffff;
/** "No time limit", for actions that may start whenever they can. */
const WHENEVER_NS = Number.MAX_SAFE_INTEGER;

type Phase = "connecting" | "querying" | "awaiting" | "loading" | "serving";
type WorkerState = Header<"GetWorkerStateResult">;

interface Worker {
  readonly peer: WorkerPeer;
  state: WorkerState | null;
}

interface LoadedModel extends ServedModel {
  readonly facts: ModelFacts;
  readonly specs: ReadonlyMap<number, ModelSpec>;
}

export class Controller implements ClientRequests {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: ControllerOptions;
  readonly #serving: Serving;
  readonly #summary: Summary;
  readonly #summaryTimer: Timer;
  readonly #workers: Worker[] = [];
  readonly #sessions = new Set<ClientSession>();
  readonly #models: LoadedModel[] = [];
  /** Traffic of workers that are gone. */
  readonly #pastTraffic = {
    sentBytes: 0,
    sentMessages: 0,
    receivedBytes: 0,
    receivedMessages: 0,
  };
  #phase: Phase = "connecting";
  #nextActionId = 0;
  #nextModelId = 0;
  /** LoadModel requests that have not been answered, and the copies that they ask for. */
  #loading = 0;
  #copiesLoading = 0;
  #loadStageTimer: Timer | null = null;
  #active = false;
  #closed = false;
  #networkStatus = "";

  constructor(
    clock: Clock,
    log: Log,
    options: ControllerOptions,
    telemetry: Telemetry,
    makeScheduler: (host: SchedulerHost<PendingRequest>) => Scheduler<PendingRequest>,
  ) {
    this.#clock = clock;
    // Paths and messages are others' words: nothing that moves a terminal's cursor or fakes a line.
    this.#log = (line) => {
      // That links end once all is over is no news.
      if (!this.#closed) log(line.replaceAll(/\p{Cc}/gu, "?"));
    };
    this.#options = options;
    this.#summary = new Summary(clock.now());
    this.#serving = new Serving(clock, options, {
      onRequest: (record) => {
        this.#active = true;
        this.#summary.addRequest(record);
        telemetry.onRequest(record);
      },
      onAction: (record) => {
        this.#active = true;
        this.#summary.addAction(record);
        telemetry.onAction(record);
      },
    }, makeScheduler);
    this.#summaryTimer = every(clock, SUMMARY_PERIOD_NS, () => this.#printSummary());
  }

  /** Takes a link to a worker. Workers are numbered in the order in which they come. */
  readonly acceptWorker: Accept = (link: Link): LinkHandler => {
    const peer = new WorkerPeer(
      this.#workers.length,
      link,
      this.#clock,
      () => this.#nextActionId++,
      (_, reason) => this.#onWorkerLost(worker, reason),
    );
    const worker: Worker = { peer, state: null };
    this.#workers.push(worker);
    return peer;
  };

  /** Takes a link to a client. */
  readonly acceptClient: Accept = (link: Link): LinkHandler => {
    const session = new ClientSession(link, this, this.#log);
    this.#sessions.add(session);
    return session;
  };

  /** Links to clients and workers that have not ended. */
  get openLinks(): number {
    return this.#sessions.size + this.#workers.filter(({ peer }) => !peer.lost).length;
  }

  /** Begins the start-up, once all workers are connected. */
  start(): void {
    this.#log("(Startup) Running ControllerStartup");
    this.#log("(Startup-1) Bouncing LS and Infer requests until startup is complete");
    this.#log("(Startup-2) Querying current worker state");
    this.#phase = "querying";
    for (const worker of this.#workers) {
      worker.peer.send("GetWorkerState", {}, (result) => this.#onWorkerState(worker, result));
    }
    this.#afterQuery();
  }

  /** Answers all that waits, tells clients and workers, and stops. */
  close(reason: string): void {
    this.#summaryTimer.cancel();
    this.#loadStageTimer?.cancel();
    this.#serving.close(reason);
    this.#closed = true;
    for (const session of this.#sessions) session.close(reason);
    for (const { peer } of this.#workers) if (!peer.lost) peer.link.close(reason);
  }

  // Requests of clients.

  infer(
    session: ClientSession,
    id: number,
    header: Header<"InferRequest">,
    input: Uint8Array,
  ): void {
    if (this.#phase !== "serving") {
      session.sendError(id, "InferRequest", RequestStatus.initializing, "Controller initializing");
      return;
    }
    this.#serving.infer(session, id, header, input);
  }

  ls(session: ClientSession, id: number): void {
    if (this.#phase !== "serving") {
      session.sendError(id, "LsRequest", RequestStatus.initializing, "Controller initializing");
      return;
    }
    session.sendModels(
      id,
      this.#models.map((model) => ({
        model_id: model.id,
        model_path: model.path,
        input_size: model.inputBytes,
        output_size: model.outputBytes,
      })),
    );
  }

  evict(session: ClientSession, id: number): void {
    session.sendError(
      id,
      "EvictRequest",
      RequestStatus.invalidRequest,
      "the scheduler decides what is evicted; models cannot be evicted by request",
    );
  }

  loadModel(session: ClientSession, id: number, header: Header<"LoadModelRequest">): void {
    const { model_path: path, no_of_copies: copies } = header;
    const fail = (status: Exclude<RequestStatus, 0>, message: string) =>
      session.sendError(id, "LoadModelRequest", status, message);
    if (this.#phase === "connecting" || this.#phase === "querying") {
      return fail(RequestStatus.initializing, "Controller initializing");
    }
    if (copies < 1) {
      return fail(RequestStatus.invalidRequest, "no_of_copies must be at least 1, got 0");
    }
    const room = Math.min(
      this.#options.maxModels - this.#models.length - this.#copiesLoading,
      MAX_MODEL_ID + 1 - this.#nextModelId,
    );
    if (copies > room) {
      return fail(
        RequestStatus.invalidRequest,
        `no_of_copies is ${copies}, but this controller has room for ${room} more models`,
      );
    }
    if (this.#live.length === 0) return fail(RequestStatus.error, "no worker is connected");
    this.#load(path, copies, (firstId, facts, problem) => {
      if (facts === null) return fail(RequestStatus.error, problem);
      session.sendLoaded(id, {
        model_id: firstId,
        copies_created: copies,
        input_size: facts.input_size,
        output_size: facts.output_size,
      });
    });
  }

  left(session: ClientSession): void {
    this.#sessions.delete(session);
  }

  // Start-up.

  get #live(): Worker[] {
    return this.#workers.filter(({ peer, state }) => !peer.lost && state !== null);
  }

  #onWorkerState(worker: Worker, result: Result): void {
    // That it is lost has been told already, and what follows from it done.
    if (worker.peer.lost) return;
    if (result.kind !== "GetWorkerStateResult") {
      const why = result.kind === "ErrorResult" ? result.header.message : `it sent ${result.kind}`;
      worker.peer.link.close(`it did not tell its state: ${why}`);
      return;
    }
    const state = result.header;
    // The ids of models that it kept from an earlier controller are not to be given out again.
    for (const { model_id } of state.models) {
      this.#nextModelId = Math.max(this.#nextModelId, model_id + 1);
    }
    const ready = () => {
      worker.state = state;
      this.#afterQuery();
    };
    // The scheduler counts a GPU's pages from none taken, so what is left on it has to go.
    if (state.gpus.some((gpu) => gpu.models.length > 0)) worker.peer.send("ClearCache", {}, ready);
    else ready();
  }

  #afterQuery(): void {
    if (this.#phase !== "querying") return;
    if (this.#workers.some(({ peer, state }) => !peer.lost && state === null)) return;
    this.#printCluster();
    this.#log("(Startup-3) Awaiting LoadModel requests from clients");
    this.#phase = "awaiting";
    // Nothing is under way: the actions that people look for in logs are numbered from here.
    this.#nextActionId = 0;
    const { preload } = this.#options;
    if (preload === null || this.#live.length === 0) return;
    this.#load(preload.path, preload.copies, (_, facts, problem) => {
      if (facts === null) this.#log(`${preload.path} could not be loaded: ${problem}`);
    });
  }

  /** Serving begins when no load is under way and none has been for a while. */
  #awaitLoadStageEnd(): void {
    if (this.#phase !== "loading" || this.#loading > 0) return;
    this.#loadStageTimer?.cancel();
    this.#loadStageTimer = this.#clock.at(this.#clock.now() + LOAD_STAGE_IDLE_NS, () => {
      // A stage in which every load failed has nothing to serve: a client may yet bring a model.
      if (this.#models.length === 0) {
        this.#log(
          "(Startup-3) No model could be loaded.  Awaiting LoadModel requests from clients",
        );
        this.#phase = "awaiting";
      } else {
        this.#beginServing();
      }
    });
  }

  #beginServing(): void {
    this.#log("(Startup-6) LoadModelStage complete.  Printing loaded models:");
    this.#printCluster();
    this.#log("(Startup-end) Transitioning to scheduler");
    this.#phase = "serving";
    let gpuCount = 0;
    let totalPages = 0;
    const live = this.#live;
    for (const { peer, state } of live) {
      const pages = state!.gpus.map((gpu) => gpu.weights_cache_pages);
      gpuCount += pages.length;
      for (const count of pages) totalPages += count;
      this.#serving.addWorker(peer, pages);
    }
    for (const model of this.#models) this.#serving.addModel(model, model.specs);
    const modelPages = this.#models.reduce((sum, { facts }) => sum + facts.num_weights_pages, 0);
    const over = Math.max(0, Math.round(100 * (modelPages / Math.max(1, totalPages) - 1)));
    const perGpu = gpuCount === 0 ? 0 : Math.floor(totalPages / gpuCount);
    this.#log(`Created ${this.#models.length} models`);
    this.#log(`Created ${gpuCount} GPUs on ${live.length} Workers`);
    this.#log(`Total GPU capacity ${totalPages} pages (${perGpu} per GPU).`);
    this.#log(`Total model pages ${modelPages} (${over}% oversubscription).`);
    this.#log(" * Admitting inference requests");
    for (let gpu = 0; gpu < gpuCount; gpu++) this.#log(`GPU handler [ ${gpu} ] started`);
  }

  // Models.

  #load(
    path: string,
    copies: number,
    done: (firstId: number, facts: ModelFacts | null, problem: string) => void,
  ): void {
    if (this.#phase === "awaiting") {
      this.#phase = "loading";
      this.#log("(Startup-4) LoadModelStage has begun");
    }
    const firstId = this.#nextModelId;
    this.#nextModelId += copies;
    this.#loading++;
    this.#copiesLoading += copies;
    this.#loadStageTimer?.cancel();
    this.#loadOnWorkers(firstId, path, copies, (facts, specs, problem) => {
      this.#loading--;
      this.#copiesLoading -= copies;
      this.#awaitLoadStageEnd();
      if (facts !== null) this.#addModels(firstId, path, copies, facts, specs);
      done(firstId, facts, problem);
    });
  }

  /** Loads copies of a model on every worker; `done` gets what those that could report. */
  #loadOnWorkers(
    firstId: number,
    path: string,
    copies: number,
    done: (
      facts: ModelFacts | null,
      specs: ReadonlyMap<number, ModelSpec>,
      problem: string,
    ) => void,
  ): void {
    const workers = this.#live;
    const specs = new Map<number, ModelSpec>();
    let facts: ModelFacts | null = null;
    let problem = "";
    let waiting = workers.length;
    for (const { peer, state } of workers) {
      const nowNs = this.#clock.now();
      const header = {
        model_id: firstId,
        no_of_copies: copies,
        model_path: path,
        earliest_ns: nowNs,
        latest_ns: WHENEVER_NS,
        max_batch_size: this.#options.maxBatchSize,
        max_exec_duration_ns: this.#options.maxExecNs,
      };
      const id = peer.send("LoadModelFromDisk", header, (result) => {
        this.#log(`Worker  --> ${describeResult(result)}`);
        const failed = this.#checkLoaded(result, copies, facts, state!);
        if (failed === null) {
          const loaded = result as MessageOf<"LoadModelFromDiskResult">;
          facts ??= loaded.header;
          specs.set(peer.id, specOf(loaded.header));
        } else {
          problem ||= `worker ${peer.id}: ${failed}`;
          if (result.kind !== "ErrorResult") {
            this.#log(`Worker ${peer.id} cannot serve model ${firstId}: ${failed}`);
          }
        }
        if (--waiting === 0) done(facts, specs, problem);
      });
      this.#log(
        `Worker <--  ${describeAction({ kind: "LoadModelFromDisk", id, header }, nowNs)}`,
      );
    }
  }

  /** Why a result of LoadModelFromDisk is of no use; null if it is. */
  #checkLoaded(
    result: Result,
    copies: number,
    others: ModelFacts | null,
    { gpus }: WorkerState,
  ): string | null {
    if (result.kind === "ErrorResult") return result.header.message;
    if (result.kind !== "LoadModelFromDiskResult") return `it answered by ${result.kind}`;
    const { header } = result;
    const sizes = header.supported_batch_sizes;
    if (header.copies_created !== copies) {
      return `it made ${header.copies_created} copies of ${copies}`;
    }
    if (sizes[0] !== 1 || sizes.some((size, i) => i > 0 && size <= sizes[i - 1]!)) {
      return `its batch sizes do not ascend from 1: ${sizes.join(" ")}`;
    }
    const times = header.exec_times_ns;
    if (times.length !== sizes.length || !times.every((ns) => ns > 0)) {
      return `its execution times are not one for each batch size: ${times.join(" ")} ns`;
    }
    if (header.weights_load_time_ns < 0) {
      return `its weights take ${header.weights_load_time_ns} ns to load`;
    }
    const pages = Math.max(0, ...gpus.map((gpu) => gpu.weights_cache_pages));
    if (header.num_weights_pages > pages) {
      return `its weights take ${header.num_weights_pages} pages, and a GPU has ${pages}`;
    }
    if (
      others !== null &&
      (others.input_size !== header.input_size || others.output_size !== header.output_size)
    ) {
      return "its model of that path has other sizes than the first worker's: the files differ";
    }
    return null;
  }

  #addModels(
    firstId: number,
    path: string,
    copies: number,
    facts: ModelFacts,
    specs: ReadonlyMap<number, ModelSpec>,
  ): void {
    for (let id = firstId; id < firstId + copies; id++) {
      const model: LoadedModel = {
        id,
        path,
        inputBytes: facts.input_size,
        outputBytes: facts.output_size,
        execNs: facts.exec_times_ns[0]!,
        facts,
        specs,
      };
      this.#models.push(model);
      if (this.#phase === "serving") this.#serving.addModel(model, specs);
    }
  }

  #onWorkerLost(worker: Worker, reason: string): void {
    const { peer, state } = worker;
    this.#log(`Worker ${peer.id} (${peer.link.peer}) lost: ${reason}`);
    for (const key of Object.keys(this.#pastTraffic) as (keyof NetworkTotals)[]) {
      this.#pastTraffic[key] += peer.link.traffic[key];
    }
    if (this.#phase === "serving" && state !== null) this.#serving.removeWorker(peer.id);
    if (this.#live.length === 0 && this.#phase !== "connecting" && this.#phase !== "querying") {
      this.#log("No worker is connected any more: start them and this controller again");
    }
    this.#afterQuery();
  }

  // What is printed.

  #printCluster(): void {
    const live = this.#live;
    for (const pageSize of new Set(live.map(({ state }) => state!.page_size))) {
      this.#log(`Clockwork page_size=${pageSize}`);
    }
    for (const { peer, state } of live) {
      const models = state!.models.length +
        this.#models.filter(({ specs }) => specs.has(peer.id)).length;
      this.#log(`Worker ${peer.id} ${state!.gpus.length} GPUs ${models} models`);
      state!.gpus.forEach((gpu, i) =>
        this.#log(
          `GPU ${i} ${describeBytes(gpu.weights_cache_size)} (${gpu.weights_cache_pages} pages) ` +
            `${gpu.models.length} loaded models`,
        )
      );
    }
    for (const { id, path, facts } of this.#models) {
      this.#log(describeModel({ ...facts, model_id: id, model_path: path }));
    }
    this.#log("");
  }

  #printSummary(): void {
    const traffic = { ...this.#pastTraffic };
    for (const { peer } of this.#workers) {
      if (peer.lost) continue;
      for (const key of Object.keys(traffic) as (keyof NetworkTotals)[]) {
        traffic[key] += peer.link.traffic[key];
      }
    }
    const lines = this.#summary.take(this.#clock.now(), traffic);
    // Nothing is printed for a time in which nothing was done.
    if (!this.#active) return;
    this.#active = false;
    const status = describeInputs(this.#serving.takeInputOrigins());
    if (status !== "" && status !== this.#networkStatus) {
      this.#networkStatus = status;
      this.#log(status);
    }
    for (const line of lines) this.#log(line);
  }
}

/** Which way the inputs of requests go, marked by ticks, and where they come from; "" without any. */
function describeInputs(origins: ReadonlySet<InputOrigin>): string {
  if (origins.size === 0) return "";
  const marks = (sent: boolean) => (sent ? "✔" : "✘").repeat(5);
  const fromClient = origins.has("client");
  return `Network Status:  Client ${marks(fromClient)} ` +
    `Controller ${marks(fromClient || origins.has("controller"))} ` +
    `Workers (inputs generated by ${[...origins].sort().join(" and ")})`;
}

/** A worker's facts as the scheduler takes them: without batches that no message could carry. */
function specOf(facts: ModelFacts): ModelSpec {
  const largest = Math.max(facts.input_size, facts.output_size);
  const { maxPayloadBytes } = DEFAULT_FRAME_LIMITS;
  const count =
    facts.supported_batch_sizes.filter((size) => size * largest <= maxPayloadBytes).length;
  return {
    weightsPages: facts.num_weights_pages,
    batchSizes: facts.supported_batch_sizes.slice(0, Math.max(1, count)),
    execNs: facts.exec_times_ns.slice(0, Math.max(1, count)),
    loadWeightsNs: facts.weights_load_time_ns,
    inputBytes: facts.input_size,
    outputBytes: facts.output_size,
  };
}
