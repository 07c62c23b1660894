/**
 * The controller: takes requests from clients, and plans every action on every GPU of its workers.
 *
 * Start-up goes through phases: (1) inference and LS requests are bounced, (2) the state of the workers
 * is asked for, (3) the first LoadModel of a client is awaited, (4) models are loaded on every worker,
 * (5) once a second passes without that, (6) the loaded models are printed, and serving begins. Models
 * may be loaded later too, and workers may come and go: a newcomer gets all models before its GPUs serve.
 */
import { type Clock, SECOND, type Timer } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { RequestStatus } from "../core/status.ts";
import type { Scheduler, SchedulerHost } from "../scheduler/scheduler.ts";
import type { Accept, Link, LinkHandler } from "../wire/link.ts";
import type { Header } from "../wire/messages.ts";
import { type ClientRequests, ClientSession } from "./client_session.ts";
import { clusterState } from "./cluster_state.ts";
import { ModelCatalogue } from "./model_catalogue.ts";
import {
  factsFromState,
  type LoadedModel,
  loadOnWorker,
  loadOnWorkers,
  sameSizes,
  specOf,
} from "./model_loading.ts";
import { type ModelGroup, ModelGroups } from "./model_groups.ts";
import type { ControllerOptions } from "./options.ts";
import { clusterLines, servingLines } from "./report.ts";
import { type PendingRequest, type ServedModel, Serving, type Telemetry } from "./serving.ts";
import { LiveState } from "../telemetry/live/live_state.ts";
import type { ControllerView, WorkerView } from "../telemetry/metrics/controller_metrics.ts";
import type { PeerTraffic } from "../telemetry/metrics/network_metrics.ts";
import { SummaryPrinter } from "./summary_printer.ts";
import { TrafficTotals } from "../wire/traffic_totals.ts";
import { unloadEverywhere, unloadOnWorker } from "./unloading.ts";
import { WorkerPeer } from "./worker_peer.ts";
import { queryWorker, type WorkerState } from "./worker_query.ts";

export { type ControllerOptions, DEFAULT_CONTROLLER_OPTIONS } from "./options.ts";

/** The load phase ends when this long has passed without load activity. */
const LOAD_STAGE_IDLE_NS = SECOND;
/** Ids are 32-bit unsigned on the wire. */
const MAX_MODEL_ID = 0xffff_ffff;

type Phase = "connecting" | "querying" | "awaiting" | "loading" | "serving";

interface Worker {
  readonly peer: WorkerPeer;
  /** Null until it has told it. */
  state: WorkerState | null;
}

export class Controller implements ClientRequests {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: ControllerOptions;
  readonly #serving: Serving;
  readonly #summary: SummaryPrinter;
  readonly #live: LiveState;
  /** Those that are connected. */
  readonly #workers = new Set<Worker>();
  #nextWorkerId = 0;
  readonly #sessions = new Set<ClientSession>();
  readonly #workerTraffic = new TrafficTotals();
  readonly #clientTraffic = new TrafficTotals();
  readonly #telemetry: Telemetry;
  readonly #groups = new ModelGroups();
  readonly #catalogue = new ModelCatalogue(this.#groups);
  #phase: Phase = "connecting";
  #nextActionId = 0;
  #nextModelId = 0;
  /** LoadModel requests that have not been answered, and the copies that they ask for. */
  #loading = 0;
  #copiesLoading = 0;
  #unloading = 0;
  #loadStageTimer: Timer | null = null;
  /** Why nothing new is taken; null while it is. */
  #draining: string | null = null;
  #closed = false;

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
    this.#live = new LiveState(clock, (modelId) => this.pathOf(modelId));
    this.#summary = new SummaryPrinter(
      clock,
      this.#log,
      () => this.#trafficWithWorkers(),
      () => this.#serving.takeInputOrigins(),
    );
  }

  /** Takes a link to a worker. Workers are numbered in the order in which they come. */
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
      // Not within this call: the link has no handler yet.
      this.#clock.at(this.#clock.now(), () => this.#query(worker));
    }
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
    return this.#sessions.size + this.#workers.size;
  }

  /** Workers that are connected. */
  get workers(): number {
    return this.#workers.size;
  }

  /** Begins the start-up, once all workers are connected. */
  start(): void {
    this.#log("(Startup) Running ControllerStartup");
    this.#log("(Startup-1) Bouncing LS and Infer requests until startup is complete");
    this.#log("(Startup-2) Querying current worker state");
    this.#phase = "querying";
    for (const worker of this.#workers) this.#query(worker);
    this.#afterQuery();
  }

  /** Takes no more requests; those that it has go on, and so do loads: see {@link pending}. */
  drain(reason: string): void {
    this.#draining = reason;
    this.#catalogue.changed();
    this.#serving.drain(reason);
  }

  /** Requests of clients, loads and unloads included, that have been taken and not been answered. */
  get pending(): number {
    return this.#serving.unanswered + this.#loading + this.#unloading;
  }

  /** Answers all that waits, tells clients and workers, and stops. */
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
      Array.from(this.#groups.models(), ({ id, path, facts }) => ({
        model_id: id,
        model_path: path,
        input_size: facts.input_size,
        output_size: facts.output_size,
      })),
    );
  }

  describeModels(
    session: ClientSession,
    id: number,
    { model_id, revision }: Header<"DescribeModelsRequest">,
  ): void {
    session.sendDescriptions(id, {
      ...this.#catalogue.from(model_id, revision),
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
      clusterState(this.#live, this.view(), this.#groups, state, nowNs, cursor),
    );
  }

  get #state(): "initializing" | "serving" | "draining" {
    if (this.#draining !== null) return "draining";
    return this.#phase === "serving" ? "serving" : "initializing";
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
    if (this.#draining !== null) return fail(RequestStatus.unavailable, this.#draining);
    if (copies < 1) {
      return fail(RequestStatus.invalidRequest, "no_of_copies must be at least 1, got 0");
    }
    const room = Math.min(
      this.#options.maxModels - this.#groups.copies - this.#copiesLoading,
      MAX_MODEL_ID + 1 - this.#nextModelId,
    );
    if (copies > room) {
      return fail(
        RequestStatus.invalidRequest,
        `no_of_copies is ${copies}, but this controller has room for ${room} more models`,
      );
    }
    if (this.#ready.length === 0) {
      return this.#workers.size === 0
        ? fail(RequestStatus.unavailable, "no worker is connected")
        : fail(RequestStatus.initializing, "no worker has told its state yet");
    }
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

  unloadModel(session: ClientSession, id: number, header: Header<"UnloadModelRequest">): void {
    const { model_id: firstId, no_of_copies: copies } = header;
    const fail = (status: Exclude<RequestStatus, 0>, message: string) =>
      session.sendError(id, "UnloadModelRequest", status, message);
    if (this.#phase === "connecting" || this.#phase === "querying") {
      return fail(RequestStatus.initializing, "Controller initializing");
    }
    if (this.#draining !== null) return fail(RequestStatus.unavailable, this.#draining);
    if (copies < 1) {
      return fail(RequestStatus.invalidRequest, "no_of_copies must be at least 1, got 0");
    }
    const leaving = this.#groups.take(firstId, copies);
    if (leaving === null) {
      const message = copies === 1
        ? `model ${firstId} is not loaded: list the models with LS`
        : `models ${firstId} to ${firstId + copies - 1} are not all loaded: list them with LS`;
      return fail(RequestStatus.invalidRequest, message);
    }
    let waiting = leaving.length;
    let problem = "";
    this.#unloading++;
    const peers = () => this.#ready.map(({ peer }) => peer);
    for (const group of leaving) {
      this.#catalogue.leaves(group);
      unloadEverywhere(this.#clock, this.#log, this.#serving, peers, group, (found) => {
        this.#catalogue.left(group);
        problem ||= found;
        if (--waiting > 0) return;
        this.#unloading--;
        if (problem !== "") fail(RequestStatus.error, problem);
        else session.sendUnloaded(id);
      });
    }
  }

  left(session: ClientSession): void {
    this.#sessions.delete(session);
    this.#clientTraffic.ended(session.traffic);
  }

  // Start-up.

  get #ready(): Worker[] {
    return [...this.#workers].filter(({ state }) => state !== null);
  }

  #query(worker: Worker): void {
    const told = ({ models }: WorkerState) => {
      // The ids of models that it kept from an earlier controller are not to be given out again.
      for (const { model_id } of models) {
        this.#nextModelId = Math.max(this.#nextModelId, model_id + 1);
      }
    };
    queryWorker(this.#clock, this.#log, worker.peer, told, (state) => {
      worker.state = state;
      for (const range of this.#groups.unloadedAmong(state.models)) {
        unloadOnWorker(this.#clock, this.#log, worker.peer, range, () => {});
      }
      if (this.#phase === "querying") this.#afterQuery();
      else this.#equip(worker);
      this.#preload();
    });
  }

  #afterQuery(): void {
    if (this.#phase !== "querying") return;
    if ([...this.#workers].some(({ state }) => state === null)) return;
    this.#printCluster();
    this.#log("(Startup-3) Awaiting LoadModel requests from clients");
    this.#phase = "awaiting";
    // Nothing is under way: the actions that people look for in logs are numbered from here.
    this.#nextActionId = 0;
    this.#preload();
  }

  /** Loads what nobody has to ask for, as soon as there is a worker. */
  #preload(): void {
    const { preload } = this.#options;
    if (preload === null || this.#phase !== "awaiting" || this.#ready.length === 0) return;
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
      if (this.#groups.copies === 0) {
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
    this.#catalogue.changed();
    for (const worker of this.#ready) this.#serve(worker);
    for (const group of this.#groups) this.#serveModels(group);
    const lines = servingLines(this.#ready.map((worker) => this.#reported(worker)), [
      ...this.#groups.models(),
    ]);
    for (const line of lines) this.#log(line);
  }

  #serve({ peer, state }: Worker): void {
    this.#serving.addWorker(peer, state!.gpus.map((gpu) => gpu.weights_cache_pages));
  }

  /**
   * Gives a worker that came later the models that the others have, and then lets it serve. Models that
   * it has from before, as when only the connection was lost, need not be loaded.
   */
  #equip(worker: Worker): void {
    const { peer } = worker;
    const state = worker.state!;
    const groups = [...this.#groups];
    let waiting = groups.length;
    const ready = () => {
      if (peer.lost || this.#phase !== "serving") return;
      this.#serve(worker);
      this.#log(`Worker ${peer.id} serves with ${state.gpus.length} GPUs`);
    };
    if (waiting === 0) return ready();
    for (const group of groups) {
      this.#equipWith(group, worker, () => {
        if (--waiting === 0) ready();
      });
    }
  }

  #equipWith(group: ModelGroup, { peer, state }: Worker, done: () => void): void {
    const take = (facts: LoadedModel | null, problem: string) => {
      if (facts === null || !sameSizes(facts, group.facts)) {
        const why = problem || "its model of that path has other sizes: the files differ";
        this.#log(`Worker ${peer.id} cannot serve ${group.path}: ${why}`);
      } else if (!peer.lost) {
        const spec = specOf(facts);
        // Some of its copies, or all, may have been unloaded meanwhile.
        for (const part of this.#groups.within(group)) {
          part.specs = new Map(part.specs).set(peer.id, spec);
          this.#catalogue.changed();
          if (this.#phase === "serving") this.#serveModels(part);
        }
      }
      done();
    };
    let held: LoadedModel | null;
    try {
      held = factsFromState(state!, group);
    } catch (error) {
      return take(null, (error as Error).message);
    }
    if (held !== null) take(held, "");
    else loadOnWorker(this.#clock, this.#log, this.#options, peer, state!, group, take);
  }

  // Models.

  #load(
    path: string,
    copies: number,
    done: (firstId: number, facts: LoadedModel | null, problem: string) => void,
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
    const asked = this.#ready;
    const range = { firstId, copies, path };
    const limits = this.#options;
    loadOnWorkers(this.#clock, this.#log, limits, asked, range, (facts, specs, problem) => {
      this.#loading--;
      this.#copiesLoading -= copies;
      this.#awaitLoadStageEnd();
      if (facts !== null) this.#addGroup({ ...range, facts, specs }, asked);
      done(firstId, facts, problem);
    });
  }

  /** `asked` are the workers that were asked to load it: those that came meanwhile were not. */
  #addGroup(group: ModelGroup, asked: readonly Worker[]): void {
    this.#groups.add(group);
    this.#catalogue.changed();
    if (this.#phase === "serving") this.#serveModels(group);
    for (const worker of this.#ready) {
      if (!asked.includes(worker)) this.#equipWith(group, worker, () => {});
    }
  }

  #serveModels({ firstId, copies, path, facts, specs }: ModelGroup): void {
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
    this.#catalogue.changed();
    const lost = `Worker ${peer.id} (${peer.link.peer}) lost: ${reason}`;
    this.#log(lost);
    this.#live.note(lost, () => lost);
    this.#workerTraffic.ended(peer.link.traffic);
    if (this.#phase === "serving" && state !== null) this.#serving.removeWorker(peer.id);
    for (const group of this.#groups) {
      if (!group.specs.has(peer.id)) continue;
      group.specs = new Map([...group.specs].filter(([id]) => id !== peer.id));
      if (this.#phase === "serving") this.#serveModels(group);
    }
    if (this.#ready.length === 0 && this.#phase !== "connecting" && this.#phase !== "querying") {
      this.#log("No worker is connected any more: requests are refused until one is back");
    }
    this.#afterQuery();
  }

  // What is told of the present.

  /** The cluster as it is now. */
  view(): ControllerView {
    return {
      workers: this.#ready.map((worker) => this.#viewOf(worker)),
      models: this.#groups.copies,
      unanswered: this.#serving.unanswered,
      unansweredByModel: () => this.#serving.unansweredByPath(),
    };
  }

  /** The path of a model; "" when there is none of that id. */
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

  #viewOf({ peer, state }: Worker): WorkerView {
    const { id, link: { peer: address, sync } } = peer;
    return {
      id,
      address,
      clockOffsetNs: sync.offsetNs,
      roundTripNs: sync.rttNs,
      gpus: state!.gpus.map(({ name, weights_cache_pages: pages }, gpuId) => {
        const { pages: usedPages, models } = this.#serving.gpuUse(id, gpuId);
        return { name, pages, usedPages, models };
      }),
    };
  }

  // What is printed.

  #reported({ peer, state }: Worker) {
    let served = 0;
    for (const { specs, copies } of this.#groups) if (specs.has(peer.id)) served += copies;
    return { id: peer.id, state: state!, models: state!.models.length + served };
  }

  #printCluster(): void {
    const workers = this.#ready.map((worker) => this.#reported(worker));
    for (const line of clusterLines(workers, this.#groups.models())) this.#log(line);
  }
}
