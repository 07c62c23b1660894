/** A whole cluster on one virtual clock, for tests: a controller, workers, clients, links in memory. */
import assert from "node:assert/strict";
import { type Clock, MS, SECOND } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { Client, type ClientOptions } from "../client/client.ts";
import type { InferOptions, Model } from "../client/model.ts";
import type { Result } from "../client/result.ts";
import { Infer4 } from "../scheduler/infer4/infer4.ts";
import type { Scheduler, SchedulerHost } from "../scheduler/scheduler.ts";
import { ControllerMetrics } from "../telemetry/metrics/controller_metrics.ts";
import { WorkerMetrics } from "../telemetry/metrics/worker_metrics.ts";
import type { ActionRecord, RequestRecord } from "../telemetry/records.ts";
import type { ActionKind, MessageOf, ResultKind } from "../wire/describe.ts";
import type { Link, LinkHandler } from "../wire/link.ts";
import {
  type BreakableLink,
  connectInMemory,
  type MemoryLinkOptions,
} from "../wire/memory_link.ts";
import {
  type AnyMessage,
  checkHeader,
  type Header,
  type ModelFacts,
  type Signature,
} from "../wire/messages.ts";
import type { BackendModel, Failure } from "../worker/backend.ts";
import { DEFAULT_WORKER_CONFIG, type WorkerConfig } from "../worker/config.ts";
import { EmulatedBackend } from "../worker/emulated/backend.ts";
import { WorkerServer } from "../worker/server.ts";
import type { UploadStore } from "../worker/uploads/store.ts";
import { DEFAULT_UPLOAD_LIMITS, Uploads } from "../worker/uploads/uploads.ts";
import { INPUT_BYTES, makeModel, OUTPUT_BYTES, PAGE_BYTES } from "../worker/test_rig.ts";
import { Controller, type ControllerOptions, DEFAULT_CONTROLLER_OPTIONS } from "./controller.ts";
import type { RegistryFile } from "./models/registry.ts";
import type { PendingRequest } from "./serving.ts";

export interface WorkerOptions {
  readonly gpus?: number;
  /** Pages of each GPU. */
  readonly pages?: number;
  readonly config?: Partial<WorkerConfig>;
  /** Finds models; by default those of {@link makeModel}, whose paths are `PAGES/NAME`. */
  readonly readModel?: (path: string, gpus: number) => BackendModel | Failure;
  /** The worker's clock less the controller's. */
  readonly offsetNs?: number;
  readonly link?: MemoryLinkOptions;
  /** Takes uploads, into a store that the test may look into. */
  readonly store?: UploadStore;
  /** What the controller takes for its address. */
  readonly name?: string;
}

export interface TestWorker {
  readonly server: WorkerServer;
  readonly metrics: WorkerMetrics;
  readonly lines: readonly string[];
  /** The worker's end. */
  readonly link: BreakableLink;
}

export interface TestClient {
  readonly client: Client;
  readonly link: BreakableLink;
  /** What the client was told while it waited for the controller to be ready. */
  readonly retries: string[];
}

const LINK: MemoryLinkOptions = { latencyNs: 50_000 };

export class Cluster {
  readonly clock = new VirtualClock();
  controller: Controller;
  readonly #makeController: () => Controller;
  readonly lines: string[] = [];
  readonly requests: RequestRecord[] = [];
  readonly actions: ActionRecord[] = [];
  /** With labels for three models, and three users. */
  readonly metrics = new ControllerMetrics(
    () => this.controller.view(),
    (id) => this.controller.pathOf(id),
    3,
  );

  constructor(
    options: Partial<ControllerOptions> = {},
    makeScheduler: (
      clock: Clock,
      host: SchedulerHost<PendingRequest>,
    ) => Scheduler<PendingRequest> = (clock, host) => new Infer4(clock, host),
    registry: RegistryFile | null = null,
  ) {
    this.#makeController = () =>
      new Controller(
        this.clock,
        (line) => this.lines.push(line),
        { ...DEFAULT_CONTROLLER_OPTIONS, ...options },
        {
          onRequest: (record) => {
            this.requests.push(record);
            this.metrics.onRequest(record);
          },
          onAction: (record) => {
            this.actions.push(record);
            this.metrics.onAction(record);
          },
          onSent: (sent) => this.metrics.onSent(sent),
          onRejected: (status) => this.metrics.onRejected(status),
        },
        (host) => makeScheduler(this.clock, host),
        registry,
      );
    this.controller = this.#makeController();
  }

  /** The controller dies, and another takes its place, which nobody is connected to. Start it. */
  replaceController(): void {
    this.controller.close("the controller is down");
    this.run(10 * MS);
    this.lines.length = 0;
    this.controller = this.#makeController();
  }

  addWorker(options: WorkerOptions = {}): TestWorker {
    const { gpus = 1, pages = 10, offsetNs = 0 } = options;
    const clock = offsetClock(this.clock, offsetNs);
    const config = {
      ...DEFAULT_WORKER_CONFIG,
      weights_cache_page_size: PAGE_BYTES,
      weights_cache_size: pages * PAGE_BYTES,
      ...options.config,
    };
    const lines: string[] = [];
    const metrics = new WorkerMetrics(() => server.view());
    const server: WorkerServer = new WorkerServer({
      clock,
      backend: new EmulatedBackend({
        clock,
        gpus,
        weightsCacheBytes: config.weights_cache_size,
        readModel: options.readModel ?? readTestModel,
      }),
      config,
      log: (line) => lines.push(line),
      telemetry: metrics,
      uploads: options.store === undefined
        ? null
        : new Uploads(clock, options.store, DEFAULT_UPLOAD_LIMITS),
    });
    return {
      server,
      metrics,
      lines,
      link: this.connectWorker(server.accept, clock, options.link, options.name),
    };
  }

  /** Connects the controller to a worker, and returns the worker's end. */
  connectWorker(
    accept: (link: Link) => LinkHandler,
    clock: Clock = this.clock,
    options: MemoryLinkOptions = {},
    name = "worker",
  ): BreakableLink {
    const [, link] = connectInMemory(
      { name: "controller", clock: this.clock, accept: this.controller.acceptWorker },
      { name, clock, accept },
      { ...LINK, ...options },
    );
    return link;
  }

  addClient(options: ClientOptions = {}, clock: Clock = this.clock): TestClient {
    const retries: string[] = [];
    let client!: Client;
    const [, link] = connectInMemory(
      { name: "controller", clock: this.clock, accept: this.controller.acceptClient },
      {
        name: "client",
        clock,
        accept: (link) =>
          client = new Client(link, clock, {
            onRetry: (message) => retries.push(message),
            ...options,
          }),
      },
      LINK,
    );
    return { client, link, retries };
  }

  /** A client that may say what the client library would not. */
  addRawClient(): RawClient {
    const raw = new RawClient();
    connectInMemory(
      { name: "controller", clock: this.clock, accept: this.controller.acceptClient },
      { name: "raw client", clock: this.clock, accept: raw.accept },
      LINK,
    );
    return raw;
  }

  /** Makes everything happen that is due within `durationNs`. */
  run(durationNs = SECOND): void {
    this.clock.advance(durationNs);
  }

  /** Loads models, waits until the controller serves, and returns them. */
  serve(client: Client, ...paths: string[]): Model[] {
    this.controller.start();
    this.run();
    const models = paths.map((path) => this.load(client, path)).flat();
    this.run(2 * SECOND);
    assert.ok(this.lines.includes(" * Admitting inference requests"), "the controller serves");
    return models;
  }

  /** Loads copies of a model, which must succeed. */
  load(client: Client, path: string, copies = 1): readonly Model[] {
    const loaded = outcome<readonly Model[]>((done) => client.loadModel(path, copies, done));
    this.run(10 * MS);
    return value(loaded);
  }

  /** Asks for an inference with an input of the right size; see what became of it after `run`. */
  infer(client: Client, model: Model, options: InferOptions = {}): Outcome<Uint8Array> {
    const input = new Uint8Array(model.inputBytes);
    return outcome<Uint8Array>((done) => client.infer(model, [input], options, done));
  }
}

export class RawClient implements LinkHandler {
  link!: Link;
  readonly received: AnyMessage[] = [];
  closed: string | null = null;

  readonly accept = (link: Link): LinkHandler => {
    this.link = link;
    return this;
  };

  onMessage(message: AnyMessage): void {
    this.received.push(message);
  }

  onClose(reason: string): void {
    this.closed = reason;
  }

  infer(id: number, header: Partial<Header<"InferRequest">> = {}, input?: Uint8Array): void {
    this.link.send(
      "InferRequest",
      id,
      { user_id: 7, model_id: 0, batch_size: 1, deadline_ns: 0, slo_factor: 0, ...header },
      [input ?? new Uint8Array(INPUT_BYTES)],
    );
  }

  /** The status of the only answer to a request, and its message. */
  answer(id: number): string {
    const answers = this.received.filter((message) => message.id === id);
    assert.equal(answers.length, 1, `request ${id} has ${answers.length} answers`);
    const { kind, header } = answers[0]!;
    return kind === "ErrorResponse" ? `${header.status} ${header.message}` : "0";
  }
}

/** What became of a request. A request that settles twice fails the test at once. */
export interface Outcome<T> {
  result: Result<T> | null;
}

export function outcome<T>(ask: (done: (result: Result<T>) => void) => void): Outcome<T> {
  const outcome: Outcome<T> = { result: null };
  ask((result) => {
    assert.equal(outcome.result, null, "a request settled twice");
    outcome.result = result;
  });
  return outcome;
}

/** What a request that went well got. */
export function value<T>({ result }: Outcome<T>): T {
  assert.ok(result !== null, "the request has not settled");
  assert.ok(result.ok, result.ok ? "" : `${result.status}: ${result.message}`);
  return result.value;
}

/** The status of a request: 0 when it went well. */
export function status({ result }: Outcome<unknown>): number {
  assert.ok(result !== null, "the request has not settled");
  return result.ok ? 0 : result.status;
}

/** The status and the message of a request that did not go well. */
export function refusal({ result }: Outcome<unknown>): string {
  assert.ok(result !== null, "the request has not settled");
  assert.ok(!result.ok, "the request went well");
  return `${result.status} ${result.message}`;
}

export function readTestModel(path: string, gpus: number): BackendModel | Failure {
  return /^\d+\//.test(path)
    ? makeModel(path, gpus)
    : { status: ActionStatus.invalidModelPath, message: `no model at ${path}` };
}

/** Answers an action with whatever kind of result. */
export type Answer = <K extends ResultKind>(
  kind: K,
  header: Omit<Header<K>, "action_received_ns" | "result_sent_ns">,
  payload?: Uint8Array,
) => void;

/** What {@link makeModel} has, as a worker reports it. */
export const FACTS: ModelFacts = {
  input_size: INPUT_BYTES,
  output_size: OUTPUT_BYTES,
  weights_size: 2 * PAGE_BYTES - 1,
  num_weights_pages: 2,
  weights_load_time_ns: 10e6,
  supported_batch_sizes: [1, 2, 4],
  exec_times_ns: [3e6, 4e6, 6e6],
};

/** Its inputs and outputs, likewise. */
export const SIGNATURE: Signature = {
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 3] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
};

/**
 * A worker that behaves well, except where `script` says otherwise: it takes care of an action by
 * returning true.
 */
export class ScriptedWorker implements LinkHandler {
  link!: Link;
  readonly actions: MessageOf<ActionKind>[] = [];
  readonly #clock: Clock;
  readonly #script: (action: MessageOf<ActionKind>, answer: Answer) => boolean;

  constructor(
    clock: Clock,
    script: (action: MessageOf<ActionKind>, answer: Answer) => boolean,
  ) {
    this.#clock = clock;
    this.#script = script;
  }

  readonly accept = (link: Link): LinkHandler => {
    this.link = link;
    return this;
  };

  onMessage(message: AnyMessage): void {
    const action = message as MessageOf<ActionKind>;
    this.actions.push(action);
    const receivedNs = this.#clock.now();
    const answer: Answer = (kind, header, payload) => {
      const times = { action_received_ns: receivedNs, result_sent_ns: this.#clock.now() };
      // A script that breaks the protocol would test nothing.
      const checked = checkHeader(kind, { ...header, ...times });
      this.link.send(kind, action.id, checked, payload === undefined ? [] : [payload]);
    };
    if (!this.#script(action, answer)) this.behave(action, answer);
  }

  onClose(): void {}

  /** Answers as a worker with one GPU does. */
  behave(action: MessageOf<ActionKind>, answer: Answer): void {
    switch (action.kind) {
      case "GetWorkerState":
        return answer("GetWorkerStateResult", {
          page_size: PAGE_BYTES,
          gpus: [{
            name: "scripted",
            weights_cache_size: 10 * PAGE_BYTES,
            weights_cache_pages: 10,
            io_pool_size: 0,
            workspace_pool_size: 0,
            models: [],
          }],
          signatures: [],
          models: [],
        });
      case "ClearCache":
        return answer("ClearCacheResult", {});
      case "UnloadModel":
        return answer("UnloadModelResult", {});
      case "LoadModelFromDisk":
        return answer("LoadModelFromDiskResult", {
          ...FACTS,
          ...SIGNATURE,
          ...this.took(0),
          copies_created: action.header.no_of_copies,
        });
      case "LoadWeights":
        return this.after(10e6, () => answer("LoadWeightsResult", this.took(10e6)));
      case "EvictWeights":
        return answer("EvictWeightsResult", this.took(0));
      case "Infer": {
        const { batch_size } = action.header;
        const ns = (2 + batch_size) * 1e6;
        return this.after(ns, () => this.finish(action, answer, ns));
      }
    }
  }

  /** Ends an inference that took `ns`, with outputs of the right size. */
  finish(action: MessageOf<ActionKind>, answer: Answer, ns: number): void {
    const count = action.kind === "Infer" ? action.header.batch_size : 1;
    answer(
      "InferResult",
      { ...this.inferred(ns), output_sizes: new Array(count).fill(OUTPUT_BYTES) },
      new Uint8Array(count * OUTPUT_BYTES),
    );
  }

  /** An inference that ends now. */
  inferred(ns: number) {
    return {
      gpu_id: 0,
      copy_input: this.took(0),
      exec: this.took(ns),
      copy_output: this.took(0),
      gpu_clock_before: 0,
      gpu_clock: 0,
    };
  }

  /** Something that ends now. */
  took(ns: number) {
    const end_ns = this.#clock.now();
    return { begin_ns: end_ns - ns, end_ns, duration_ns: ns };
  }

  after(ns: number, fn: () => void): void {
    this.#clock.at(this.#clock.now() + ns, fn);
  }
}

/** The clock of a process that began at another time. */
export function offsetClock(clock: Clock, offsetNs: number): Clock {
  return {
    now: () => clock.now() + offsetNs,
    at: (timeNs, fn) => clock.at(timeNs - offsetNs, fn),
  };
}
