/**
 * The controller accepts requests from clients and plans every action on every GPU of its workers.
 *
 * Start-up has these phases: (1) inference and LS requests are bounced, (2) workers are asked for their
 * state, (3) the first LoadModel of a client is awaited, (4) models are loaded on every worker, (5) until a
 * second passes without a load, or ten seconds have passed, (6) the loaded models are printed, and serving
 * begins. Models may also be loaded later, and workers may come and go: a new worker gets all models before
 * its GPUs serve.
 */
import { type Clock, SECOND, type Timer } from "../core/clock.ts";
import { type Log, printable } from "../core/log.ts";
import { RequestStatus } from "../core/status.ts";
import type { Scheduler, SchedulerHost } from "../scheduler/scheduler.ts";
import type { Accept, Link, LinkHandler } from "../wire/link.ts";
import type { Header } from "../wire/messages.ts";
import { type ClientRequests, ClientSession } from "./client_session.ts";
import { clusterState } from "./cluster_state.ts";
import type { ModelGroup } from "./models/groups.ts";
import { INITIALIZING, ModelRequestHandler } from "./models/requests.ts";
import type { ReadyWorker, Worker } from "./models/host.ts";
import { Models } from "./models/models.ts";
import type { ControllerOptions } from "./options.ts";
import { clusterLines, servingLines } from "./report.ts";
import type { RegistryFile } from "./models/registry.ts";
import type { Refusal } from "./models/request_keys.ts";
import { type PendingRequest, type ServedModel, Serving, type Telemetry } from "./serving.ts";
import { LiveState } from "../telemetry/live/live_state.ts";
import type { ControllerView } from "../telemetry/metrics/controller_metrics.ts";
import type { PeerTraffic } from "../telemetry/metrics/network_metrics.ts";
import { SummaryPrinter } from "./summary_printer.ts";
import { viewOf } from "./view.ts";
import { TrafficTotals } from "../wire/traffic_totals.ts";
import { WorkerPeer } from "./worker_peer.ts";
import { queryWorker, type WorkerState } from "./worker_query.ts";

export { type ControllerOptions, DEFAULT_CONTROLLER_OPTIONS } from "./options.ts";

/** The load phase ends after this time without load activity. */
const LOAD_STAGE_IDLE_NS = SECOND;
/** It also ends after this time if there is a model: one client's loads must not block all others. */
const LOAD_STAGE_MAX_NS = 10 * SECOND;

type Phase = "connecting" | "querying" | "awaiting" | "loading" | "serving";

export class Controller implements ClientRequests {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: ControllerOptions;
  readonly #serving: Serving;
  readonly #summary: SummaryPrinter;
  readonly #live: LiveState;
  /** The connected ones. */
  readonly #workers = new Set<Worker>();
  #nextWorkerId = 0;
  readonly #sessions = new Set<ClientSession>();
  readonly #workerTraffic = new TrafficTotals();
  readonly #clientTraffic = new TrafficTotals();
  readonly #telemetry: Telemetry;
  readonly #models: Models;
  readonly #modelRequests: ModelRequestHandler;
  #phase: Phase = "connecting";
  #nextActionId = 0;
  #loadStageBeganNs = 0;
  #loadStageTimer: Timer | null = null;
  /** Why new requests are refused; null while they are accepted. */
  #draining: string | null = null;
  #closed = false;

  /** @param registry keeps the models for the controller after this one; null where nothing does. */
  constructor(
    clock: Clock,
    log: Log,
    options: ControllerOptions,
    telemetry: Telemetry,
    makeScheduler: (host: SchedulerHost<PendingRequest>) => Scheduler<PendingRequest>,
    registry: RegistryFile | null = null,
  ) {
    this.#clock = clock;
    this.#log = (line) => {
      // Links that end after shutdown are not reported.
      if (!this.#closed) log(printable(line));
    };
    this.#options = options;
    this.#telemetry = telemetry;
    this.#serving = new Serving(clock, options, {
      onRequest: (record) => {
        this.#summary.onRequest(record);
        this.#live.onRequest(record);
        telemetry.onRequest(record);
      },
      onAction: (record) => {
        this.#summary.onAction(record);
        this.#live.onAction(record);
        telemetry.onAction(record);
      },
      onSent: (sent) => {
        this.#live.onSent(sent);
        telemetry.onSent?.(sent);
      },
      onRejected: (status) => telemetry.onRejected?.(status),
    }, makeScheduler);
    this.#models = new Models({
      clock,
      log: this.#log,
      options,
      serving: this.#serving,
      refusal: (what) => this.#refusal(what),
      ready: () => this.#ready,
      serve: (group) => this.#serveModels(group),
      onLoad: () => this.#onLoad(),
    }, registry);
    this.#modelRequests = new ModelRequestHandler(this.#models, {
      starting: () => this.#starting,
      serving: () => this.#phase === "serving",
      refusal: (what) => this.#refusal(what),
    });
    this.#live = new LiveState(clock, (modelId) => this.pathOf(modelId));
    this.#summary = new SummaryPrinter(
      clock,
      this.#log,
      () => this.#trafficWithWorkers(),
      () => this.#serving.takeInputOrigins(),
    );
  }

  /** Accepts a link to a worker. Workers are numbered in order of arrival. */
  readonly acceptWorker: Accept = (link: Link): LinkHandler => {
    const peer = new WorkerPeer(
      this.#nextWorkerId++,
      link,
      this.#clock,
      () => this.#nextActionId++,
      (_, reason) => this.#onWorkerLost(worker, reason),
    );
    const worker: Worker = { peer, state: null };
    this.#workers.add(worker);
    if (this.#phase !== "connecting") {
      const come = `Worker ${peer.id} (${link.peer}) has come`;
      this.#log(come);
      this.#live.note(come, () => come);
      // Not within this call, since the link has no handler yet.
      this.#clock.at(this.#clock.now(), () => this.#query(worker));
    }
    return peer;
  };

  /** Accepts a link to a client. */
  readonly acceptClient: Accept = (link: Link): LinkHandler => {
    const session = new ClientSession(link, this, this.#modelRequests, this.#log);
    this.#sessions.add(session);
    return session;
  };

  /** Links to clients and workers that have not ended. */
  get openLinks(): number {
    return this.#sessions.size + this.#workers.size;
  }

  /** Workers that are connected. */
  get workers(): number {
    return this.#workers.size;
  }

  /** Starts the start-up phases, once all workers are connected. */
  start(): void {
    this.#log("(Startup) Running ControllerStartup");
    this.#log("(Startup-1) Bouncing LS and Infer requests until startup is complete");
    this.#log("(Startup-2) Querying current worker state");
    this.#phase = "querying";
    for (const worker of this.#workers) this.#query(worker);
    this.#afterQuery();
  }

  /** Refuses new requests; accepted requests and loads continue: see {@link pending}. */
  drain(reason: string): void {
    this.#draining = reason;
    this.#models.catalogue.changed();
    this.#serving.drain(reason);
  }

  /** Accepted, unanswered requests of clients, including loads and unloads. */
  get pending(): number {
    return this.#serving.unanswered + this.#models.pending;
  }

  /** Answers all waiting requests, says goodbye to clients and workers, and stops. */
  close(reason: string): void {
    this.#summary.close();
    this.#live.close();
    this.#loadStageTimer?.cancel();
    this.#serving.close(reason);
    this.#closed = true;
    for (const session of this.#sessions) session.close(reason);
    for (const { peer } of this.#workers) peer.link.close(reason);
  }

  // Requests of clients.

  infer(
    session: ClientSession,
    id: number,
    header: Header<"InferRequest">,
    input: Uint8Array,
  ): void {
    if (this.#phase !== "serving") {
      this.#telemetry.onRejected?.(RequestStatus.initializing);
      session.sendError(id, "InferRequest", INITIALIZING.status, INITIALIZING.message);
      return;
    }
    this.#serving.infer(session, id, header, input);
  }

  describeModels(
    session: ClientSession,
    id: number,
    { model_id, revision }: Header<"DescribeModelsRequest">,
  ): void {
    session.sendDescriptions(id, {
      ...this.#models.catalogue.from(model_id, revision),
      state: this.#state,
      default_slo_ns: this.#options.defaultSloNs,
    });
  }

  clusterState(
    session: ClientSession,
    id: number,
    { cursor }: Header<"ClusterStateRequest">,
  ): void {
    const nowNs = this.#clock.now();
    const state = this.#state;
    session.sendState(
      id,
      clusterState(this.#live, this.view(), this.#models.groups, state, nowNs, cursor),
    );
  }

  get #state(): "initializing" | "serving" | "draining" {
    if (this.#draining !== null) return "draining";
    return this.#phase === "serving" ? "serving" : "initializing";
  }

  left(session: ClientSession): void {
    this.#modelRequests.left(session);
    this.#sessions.delete(session);
    this.#clientTraffic.ended(session.traffic);
  }

  // Start-up.

  /** Whether the state of the workers is still unknown. */
  get #starting(): boolean {
    return this.#phase === "connecting" || this.#phase === "querying";
  }

  #refusal(what: "load" | "unload"): Refusal | null {
    const unavailable = (message: string) => ({ status: RequestStatus.unavailable, message });
    if (this.#draining !== null) return unavailable(this.#draining);
    if (what === "unload" || this.#ready.length > 0) return null;
    return this.#workers.size === 0
      ? unavailable("no worker is connected")
      : { status: RequestStatus.initializing, message: "no worker has told its state yet" };
  }

  get #ready(): ReadyWorker[] {
    return [...this.#workers].filter(isReady);
  }

  #query(worker: Worker): void {
    const told = (state: WorkerState) => this.#models.noteIds(state);
    queryWorker(this.#clock, this.#log, worker.peer, told, (state) => {
      worker.state = state;
      if (!isReady(worker)) return;
      if (this.#phase === "querying") this.#afterQuery();
      else {
        this.#models.dropUnknown(worker);
        this.#equip(worker);
      }
      this.#preload();
    });
  }

  #afterQuery(): void {
    if (this.#phase !== "querying") return;
    if ([...this.#workers].some(({ state }) => state === null)) return;
    this.#printCluster();
    // Nothing is in progress: the actions that matter in logs are numbered from here.
    this.#nextActionId = 0;
    const source = this.#models.restore();
    for (const worker of this.#ready) this.#models.dropUnknown(worker);
    if (source !== "") return this.#restore(source);
    this.#log("(Startup-3) Awaiting LoadModel requests from clients");
    this.#phase = "awaiting";
    this.#preload();
  }

  /** Serves an earlier controller's models, as soon as the workers have them. */
  #restore(source: string): void {
    const { copies } = this.#models.groups;
    this.#log(`(Startup-3) Restoring ${copies} models of an earlier controller from ${source}`);
    this.#beginLoading();
    const workers = this.#ready;
    let waiting = workers.length;
    const restored = () => {
      // A load in the meantime may have ended the stage.
      if (waiting === 0 && this.#phase === "loading") this.#beginServing();
    };
    for (const worker of workers) {
      this.#models.equip(worker, () => {
        waiting--;
        restored();
      });
    }
    if (workers.length === 0) restored();
  }

  /** Loads the model that needs no request, as soon as there is a worker. */
  #preload(): void {
    const { preload } = this.#options;
    if (preload === null || this.#phase !== "awaiting" || this.#ready.length === 0) return;
    this.#models.preload(preload.path, preload.copies);
  }

  #beginLoading(): void {
    this.#phase = "loading";
    this.#loadStageBeganNs = this.#clock.now();
  }

  /**
   * The load stage begins with the first load; each load that begins or ends postpones the stage's end.
   */
  #onLoad(): void {
    if (this.#phase === "awaiting") {
      this.#beginLoading();
      this.#log("(Startup-4) LoadModelStage has begun");
    }
    this.#loadStageTimer?.cancel();
    if (this.#phase !== "loading") return;
    const idleNs = this.#models.loading > 0 ? Infinity : this.#clock.now() + LOAD_STAGE_IDLE_NS;
    const endNs = Math.min(idleNs, this.#loadStageBeganNs + LOAD_STAGE_MAX_NS);
    this.#loadStageTimer = this.#clock.at(endNs, () => {
      if (this.#models.groups.copies > 0) return this.#beginServing();
      // Decided when the load ends.
      if (this.#models.loading > 0) return;
      // If every load failed there is nothing to serve yet: wait for another load.
      this.#log("(Startup-3) No model could be loaded.  Awaiting LoadModel requests from clients");
      this.#phase = "awaiting";
    });
  }

  #beginServing(): void {
    this.#log("(Startup-6) LoadModelStage complete.  Printing loaded models:");
    this.#printCluster();
    this.#log("(Startup-end) Transitioning to scheduler");
    this.#phase = "serving";
    this.#models.catalogue.changed();
    for (const worker of this.#ready) this.#serve(worker);
    for (const group of this.#models.groups) this.#serveModels(group);
    const lines = servingLines(this.#ready.map((worker) => this.#reported(worker)), [
      ...this.#models.groups.models(),
    ]);
    for (const line of lines) this.#log(line);
  }

  #serve({ peer, state }: ReadyWorker): void {
    this.#serving.addWorker(peer, state.gpus.map((gpu) => gpu.weights_cache_pages));
  }

  /** Gives a worker that connected later the models that it should have, and then lets it serve. */
  #equip(worker: ReadyWorker): void {
    const { peer, state } = worker;
    this.#models.equip(worker, () => {
      if (peer.lost || this.#phase !== "serving") return;
      this.#serve(worker);
      this.#log(`Worker ${peer.id} serves with ${state.gpus.length} GPUs`);
    });
  }

  // Models.

  #serveModels({ firstId, copies, path, facts, specs }: ModelGroup): void {
    if (this.#phase !== "serving") return;
    for (let id = firstId; id < firstId + copies; id++) {
      const model: ServedModel = {
        id,
        path,
        inputBytes: facts.input_size,
        outputBytes: facts.output_size,
        execNs: facts.exec_times_ns[0]!,
      };
      this.#serving.setModel(model, specs);
    }
  }

  #onWorkerLost(worker: Worker, reason: string): void {
    const { peer, state } = worker;
    this.#workers.delete(worker);
    const lost = `Worker ${peer.id} (${peer.link.peer}) lost: ${reason}`;
    this.#log(lost);
    this.#live.note(lost, () => lost);
    this.#workerTraffic.ended(peer.link.traffic);
    if (this.#phase === "serving" && state !== null) this.#serving.removeWorker(peer.id);
    this.#models.lost(worker);
    if (this.#ready.length === 0 && !this.#starting) {
      this.#log("No worker is connected any more: requests are refused until one is back");
    }
    this.#afterQuery();
  }

  // Reports of the present state.

  /** The cluster's present state. */
  view(): ControllerView {
    return viewOf(this.#ready, this.#models.groups, this.#serving);
  }

  /** The path of a model; "" if there is none with that id. */
  pathOf(modelId: number): string {
    return this.#serving.pathOf(modelId);
  }

  /** Connections with workers and clients. */
  peers(): PeerTraffic[] {
    const clients = Array.from(this.#sessions, ({ traffic }) => traffic);
    return [
      { role: "worker", connections: this.#workers.size, ...this.#trafficWithWorkers() },
      { role: "client", connections: clients.length, ...this.#clientTraffic.with(clients) },
    ];
  }

  #trafficWithWorkers() {
    return this.#workerTraffic.with(Array.from(this.#workers, ({ peer }) => peer.link.traffic));
  }

  // Output.

  #reported({ peer, state }: ReadyWorker) {
    let served = 0;
    for (const { specs, copies } of this.#models.groups) if (specs.has(peer.id)) served += copies;
    return { id: peer.id, state, models: Math.max(served, state.models.length) };
  }

  #printCluster(): void {
    const workers = this.#ready.map((worker) => this.#reported(worker));
    for (const line of clusterLines(workers, this.#models.groups.models())) this.#log(line);
  }
}

function isReady(worker: Worker): worker is ReadyWorker {
  return worker.state !== null;
}
