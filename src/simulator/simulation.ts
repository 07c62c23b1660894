/**
 * A whole cluster in one process and in virtual time: the real controller, scheduler, workers, client
 * library and workloads, over links in memory and emulated GPUs, with faults. The same options give the
 * same run, to the nanosecond, on any machine.
 */
import { type Clock, MS, SECOND } from "../core/clock.ts";
import { Random } from "../core/random.ts";
import { ActionStatus } from "../core/status.ts";
import { SkewedClock } from "../core/skewed_clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Controller, type ControllerOptions } from "../controller/controller.ts";
import { MemoryRegistryFile } from "../controller/models/memory_registry.ts";
import type { PendingRequest, Telemetry } from "../controller/serving.ts";
import { Client } from "../client/client.ts";
import type { Dialer } from "../client/dialer.ts";
import { noInputs, seededInputs } from "../client/inputs.ts";
import { WorkloadRun } from "../client/workload_run.ts";
import type { Plan } from "../client/workloads/workload.ts";
import type { Scheduler, SchedulerHost } from "../scheduler/scheduler.ts";
import type { Accept } from "../wire/link.ts";
import { type BreakableLink, connectInMemory } from "../wire/memory_link.ts";
import { UPLOAD_PREFIX } from "../wire/upload.ts";
import type { BackendModel, Failure } from "../worker/backend.ts";
import type { WorkerConfig } from "../worker/config.ts";
import { EmulatedBackend } from "../worker/emulated/backend.ts";
import { WorkerServer } from "../worker/server.ts";
import { MemoryUploadStore } from "../worker/uploads/memory_store.ts";
import { DEFAULT_UPLOAD_LIMITS, Uploads } from "../worker/uploads/uploads.ts";
import type { Fault } from "./faults.ts";
import { type GpuModel, SimulatedGpus } from "./gpu_model.ts";
import { type NetworkModel, SimulatedNetwork } from "./network.ts";
import { ProcessClock } from "./process_clock.ts";
import { Uploader } from "./uploader.ts";

export interface SimulationOptions {
  readonly seed: number;
  readonly workers: number;
  readonly gpusPerWorker: number;
  readonly clients: number;
  readonly network: NetworkModel;
  readonly gpu: GpuModel;
  /** Nodes' clocks differ from the controller's by up to so much, and run fast or slow by up to so much. */
  readonly clockOffsetNs: number;
  readonly clockDriftPpm: number;
  readonly controller: ControllerOptions;
  /** Whether a controller keeps its models in a registry, for the one after it. */
  readonly registry: boolean;
  readonly workerConfig: WorkerConfig;
  readonly makeScheduler: (
    clock: Clock,
    host: SchedulerHost<PendingRequest>,
  ) => Scheduler<PendingRequest>;
  readonly readModel: (path: string, gpus: number) => BackendModel | Failure;
  /** What each client does. Called anew when one has crashed. */
  readonly makePlan: () => Plan;
  readonly pathOf: (model: string) => string;
  /** Time that clients allow for requests whose workload says nothing of it; left out, the controller's. */
  readonly sloNs?: number;
  /** Whether requests carry inputs: then their bytes take time on the network, and here. */
  readonly inputs: boolean;
  /**
   * When given, the first client also uploads models, and loads, serves and unloads them: with the sizes and
   * times of the model at this path.
   */
  readonly uploadsLike?: string;
  readonly faults: readonly Fault[];
  readonly telemetry: Telemetry;
  /** Takes what the nodes print. */
  readonly log: (node: string, line: string) => void;
}

/** How soon a controller connects again to a worker whose connection broke, if that is up. */
const RECONNECT_NS = 100 * MS;
/** How long a worker's disk takes for a piece of an upload, at most. */
const DISK_NS = 5 * MS;

interface SimulatedWorker {
  readonly name: string;
  /** Of its machine, its disk and its network, and of the process that runs there. */
  readonly clock: SkewedClock;
  readonly process: ProcessClock;
  readonly network: SimulatedNetwork;
  readonly gpus: SimulatedGpus;
  /** Its disk, which outlives it. */
  readonly store: MemoryUploadStore;
  /** Null while it is down. */
  server: WorkerServer | null;
  /** Its end of the connection; null while there is none. */
  link: BreakableLink | null;
  /** Its number at the controller that runs now: a new one for each connection. */
  id: number;
}

interface SimulatedClient {
  readonly name: string;
  readonly clock: SkewedClock;
  readonly process: ProcessClock;
  readonly network: SimulatedNetwork;
  client: Client | null;
  run: WorkloadRun | null;
  uploader: Uploader | null;
  link: BreakableLink | null;
}

interface SimulatedRun {
  readonly client: Client;
  readonly run: WorkloadRun;
  /** Null while it goes on. */
  endedNs: number | null;
}

export class Simulation {
  readonly clock = new VirtualClock();
  readonly workers: readonly SimulatedWorker[];
  readonly clients: readonly SimulatedClient[];
  /** Of the controller that runs now; null while it is down. */
  scheduler: Scheduler<PendingRequest> | null = null;
  /** Runs of workloads, those of crashed clients included, and when they ended, by their own clocks. */
  readonly runs: SimulatedRun[] = [];
  /** Answers to requests that nobody waited for: a request answered twice is among them. */
  strayAnswers = 0;
  /** Why workloads could not be run, or models uploaded, when no fault was the reason. */
  readonly errors: string[] = [];
  /** Models that were uploaded, loaded, served and unloaded; and after all faults, those or too late. */
  readonly uploads = { served: 0, servedAfterFaults: 0, lateAfterFaults: 0 };
  /** Paths of uploads that were removed and not uploaded again. */
  readonly removed = new Set<string>();
  /** Whether controllers know what earlier ones did. */
  readonly remembers: boolean;
  readonly #options: SimulationOptions;
  readonly #random: Random;
  readonly #registry = new MemoryRegistryFile();
  #controller: Controller | null = null;
  #controllerProcess: ProcessClock;
  /** Connections to workers that the controller has had. */
  #connections = 0;
  #stopped = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.remembers = options.registry;
    this.#random = new Random(options.seed);
    this.#controllerProcess = new ProcessClock(this.clock);
    this.workers = Array.from(
      { length: options.workers },
      (_, i) => this.#makeWorker(`worker ${i}`),
    );
    this.clients = Array.from({ length: options.clients }, (_, i) => ({
      ...this.#makeNode(`client ${i}`),
      client: null,
      run: null,
      uploader: null,
      link: null,
    }));
    this.#startController();
    for (const client of this.clients) this.#startClient(client);
    for (const fault of options.faults) this.clock.at(fault.atNs, () => this.#inject(fault));
  }

  /** Ends the workloads, and lets the clients get the answers they wait for. */
  stop(): void {
    this.#stopped = true;
    for (const { run, uploader } of this.clients) {
      run?.stop();
      uploader?.stop();
    }
  }

  // Nodes.

  #makeNode(name: string) {
    const { clockOffsetNs, clockDriftPpm, network } = this.#options;
    const random = this.#random.fork();
    const spread = () => 2 * random.float() - 1;
    const clock = new SkewedClock(
      this.clock,
      Math.round(spread() * clockOffsetNs),
      spread() * clockDriftPpm,
    );
    return {
      name,
      clock,
      process: new ProcessClock(clock),
      network: new SimulatedNetwork(this.clock, random.fork(), network),
    };
  }

  #makeWorker(name: string): SimulatedWorker {
    const node = this.#makeNode(name);
    const gpus = new SimulatedGpus(node.clock, this.#random.fork(), this.#options.gpu);
    const store = this.#makeStore(node.process);
    const worker: SimulatedWorker = { ...node, gpus, store, server: null, link: null, id: -1 };
    this.#startWorker(worker);
    return worker;
  }

  /** A disk that does one thing after the other, and takes a while for each. */
  #makeStore(clock: Clock): MemoryUploadStore {
    const random = new Random(this.#options.seed);
    let freeNs = -Infinity;
    return new MemoryUploadStore((then) => {
      freeNs = Math.max(freeNs, clock.now()) + random.below(DISK_NS);
      clock.at(freeNs, then);
    });
  }

  #startWorker(worker: SimulatedWorker): void {
    const { workerConfig: config, gpusPerWorker: gpus, log } = this.#options;
    const { process: clock, store } = worker;
    worker.server = new WorkerServer({
      clock,
      config,
      log: (line) => log(worker.name, line),
      backend: new EmulatedBackend({
        clock,
        gpus,
        readModel: (path, gpus) => this.#readModel(store, path, gpus),
        weightsCacheBytes: config.weights_cache_size,
        behavior: worker.gpus,
      }),
      uploads: new Uploads(clock, store, DEFAULT_UPLOAD_LIMITS),
    });
  }

  #readModel(store: MemoryUploadStore, path: string, gpus: number): BackendModel | Failure {
    const { readModel, uploadsLike } = this.#options;
    if (!path.startsWith(UPLOAD_PREFIX)) return readModel(path, gpus);
    if (store.filesOf(path) === null || uploadsLike === undefined) {
      return { status: ActionStatus.invalidModelPath, message: `${path} is not here` };
    }
    return readModel(uploadsLike, gpus);
  }

  #startController(): void {
    const { controller: options, telemetry, makeScheduler, log } = this.#options;
    const clock = this.#controllerProcess = new ProcessClock(this.clock);
    const controller = new Controller(
      clock,
      (line) => log("controller", line),
      options,
      telemetry,
      (host) => this.scheduler = makeScheduler(clock, host),
      this.#options.registry ? this.#registry : null,
    );
    this.#controller = controller;
    this.#connections = 0;
    for (const worker of this.workers) this.#connectWorker(worker);
    controller.start();
  }

  #connectWorker(worker: SimulatedWorker): void {
    const controller = this.#controller;
    const { server } = worker;
    if (controller === null || worker.link !== null) return;
    // A machine that is down refuses, and is tried again; a controller that stands still tries nothing.
    if (server === null || this.#controllerProcess.asleep) return this.#connectLater(worker);
    const accept: Accept = (link) => {
      const handler = this.#controllerProcess.handling(controller.acceptWorker(link));
      worker.id = this.#connections++;
      return {
        onMessage: (message) => handler.onMessage(message),
        onClose: (reason) => {
          handler.onClose(reason);
          worker.link = null;
          this.#connectLater(worker);
        },
      };
    };
    const [, link] = connectInMemory(
      { name: "controller", clock: this.clock, accept },
      {
        name: worker.name,
        clock: worker.clock,
        accept: (link) => worker.process.handling(server.accept(link)),
      },
      worker.network,
    );
    worker.link = link;
  }

  #connectLater(worker: SimulatedWorker): void {
    this.clock.at(this.clock.now() + RECONNECT_NS, () => this.#connectWorker(worker));
  }

  /** Begins a client's life, as soon as there is a controller. */
  #startClient(node: SimulatedClient): void {
    if (this.#stopped) return;
    const again = () =>
      void this.clock.at(this.clock.now() + RECONNECT_NS, () => this.#startClient(node));
    const dialer = this.#dialerOf(node);
    dialer.dial((link) => {
      const random = this.#random.fork();
      const client = new Client(link, node.process, {
        reconnect: { dialer, random: random.fork(), limitNs: Infinity },
      });
      // Once the link has its handler.
      node.process.at(node.process.now(), () => this.#startRun(node, client, random, again));
      return client;
    }, again);
  }

  #startRun(node: SimulatedClient, client: Client, random: Random, again: () => void): void {
    const record: SimulatedRun = {
      client,
      run: new WorkloadRun(
        {
          client,
          clock: node.process,
          random: random.fork(),
          inputs: this.#options.inputs ? seededInputs(random.fork()) : noInputs,
          pathOf: this.#options.pathOf,
          ...(this.#options.sloNs === undefined ? {} : { sloNs: this.#options.sloNs }),
        },
        this.#options.makePlan(),
        {
          onStart: () => {},
          onEnd: (error) => {
            record.endedNs = node.clock.now();
            if (error === null || this.#stopped) return;
            // While faults last, an error is an answer as good as any; then another try must succeed.
            if (this.clock.now() > this.healedNs) {
              this.errors.push(`a workload could not be run: ${error}`);
            }
            node.uploader?.stop();
            client.close(again);
          },
        },
      ),
      endedNs: null,
    };
    node.client = client;
    node.run = record.run;
    this.runs.push(record);
    record.run.start();
    if (node === this.clients[0] && this.#options.uploadsLike !== undefined) {
      node.uploader = this.#makeUploader(node, client);
      node.uploader.start();
    }
  }

  #makeUploader(node: SimulatedClient, client: Client): Uploader {
    return new Uploader(client, node.process, new Random(this.#options.seed), {
      onUpload: (path) => this.removed.delete(path),
      onRemoved: (path) => this.removed.add(path),
      onRound: () => {
        this.uploads.served++;
        if (this.clock.now() > this.healedNs) this.uploads.servedAfterFaults++;
      },
      onFailure: (message, late) => {
        if (this.clock.now() <= this.healedNs) return;
        if (late) this.uploads.lateAfterFaults++;
        else this.errors.push(message);
      },
    });
  }

  /** Connects a client to whichever controller runs. */
  #dialerOf(node: SimulatedClient): Dialer {
    return {
      dial: (accept, failed) =>
        node.process.at(node.process.now() + 2 * node.network.latencyNs, () => {
          const controller = this.#controller;
          const process = this.#controllerProcess;
          if (controller === null) return failed("nothing listens there");
          if (process.asleep) return failed("it does not answer");
          const [, link] = connectInMemory(
            {
              name: "controller",
              clock: this.clock,
              accept: (link) => process.handling(controller.acceptClient(link)),
            },
            {
              name: node.name,
              clock: node.clock,
              accept: (link) => node.process.handling(accept(link)),
            },
            node.network,
          );
          node.link = link;
        }),
    };
  }

  /** Models that the controller that runs now has; null while there is none. */
  get models(): number | null {
    return this.#controller?.view().models ?? null;
  }

  // Faults.

  #inject(fault: Fault): void {
    const { kind, target, durationNs } = fault;
    const worker = this.workers[target % this.workers.length]!;
    const gpuId = Math.floor(target / this.workers.length) % this.#options.gpusPerWorker;
    const later = (fn: () => void) => this.clock.at(this.clock.now() + durationNs, fn);
    switch (kind) {
      case "worker-crash":
        if (worker.server === null) return;
        worker.link?.cut();
        // A dead process says nothing more: what it would still send has nowhere to go.
        worker.process.kill();
        worker.server.close();
        worker.server = null;
        later(() => this.#startWorker(worker));
        return;
      case "worker-pause":
        return worker.process.pause(durationNs);
      case "client-pause":
        return this.clients[target % this.clients.length]!.process.pause(durationNs);
      case "controller-pause":
        return this.#controllerProcess.pause(durationNs);
      case "gpu-stuck":
        return worker.gpus.stick(gpuId, durationNs);
      case "device-lost":
        return worker.gpus.lose(gpuId, durationNs);
      case "slow-link":
        return worker.network.slowDown(durationNs);
      case "partition":
        return worker.network.block(durationNs);
      case "corrupted-frame":
        worker.link?.cut();
        return;
      case "reordered-clients":
        for (const { network } of this.clients) network.unsettle(durationNs);
        return;
      case "client-crash":
        return this.#crash(this.clients[target % this.clients.length]!, later);
      case "client-cut":
        return this.clients[target % this.clients.length]!.link?.cut();
      case "controller-restart":
        return this.#restartController(later);
    }
  }

  #crash(node: SimulatedClient, later: (fn: () => void) => void): void {
    const { client, link, run } = node;
    if (client === null || run === null) return;
    link?.cut();
    this.strayAnswers += client.strayAnswers;
    node.client = null;
    node.run = null;
    // A dead process asks for nothing more, and nobody is told what became of what it had asked.
    node.process.kill();
    run.stop();
    node.uploader?.stop();
    client.close();
    later(() => this.#startClient(node));
  }

  #restartController(later: (fn: () => void) => void): void {
    const controller = this.#controller;
    if (controller === null) return;
    this.#controller = null;
    this.scheduler = null;
    for (const { link } of this.workers) link?.cut();
    for (const { link } of this.clients) link?.cut();
    this.#controllerProcess.kill();
    controller.close("the controller is down");
    later(() => this.#startController());
  }

  /** When all faults are over, from which on the cluster should work as if nothing had been. */
  get healedNs(): number {
    return this.#options.faults.reduce(
      (latest, { atNs, durationNs }) => Math.max(latest, atNs + durationNs),
      0,
    ) + (this.#options.faults.length > 0 ? SECOND : 0);
  }
}
