/** A worker and controllers on one virtual clock, for tests. */
import type { Clock, Timer } from "../core/clock.ts";
import { VirtualClock } from "../core/virtual_clock.ts";
import { ActionStatus } from "../core/status.ts";
import type { ActionKind } from "../wire/describe.ts";
import type { Link } from "../wire/link.ts";
import { connectInMemory, type MemoryLinkOptions } from "../wire/memory_link.ts";
import type { AnyMessage, Header } from "../wire/messages.ts";
import type { Backend, BackendModel } from "./backend.ts";
import { DEFAULT_WORKER_CONFIG, type WorkerConfig } from "./config.ts";
import { EmulatedBackend } from "./emulated/backend.ts";
import { WorkerServer } from "./server.ts";

/** Every window that is not given is this wide: all of time. */
export const FOREVER = { earliest_ns: 0, latest_ns: Number.MAX_SAFE_INTEGER };

export const INPUT_BYTES = 12;
export const OUTPUT_BYTES = 8;
export const PAGE_BYTES = 1000;

/** A model whose path is `pages/NAME` with a number of pages; takes 10 ms to load, 2 + b ms to run. */
export function makeModel(path: string, gpus: number): BackendModel {
  const pages = Number(path.split("/")[0]);
  const batchSizes = [1, 2, 4];
  const profile = {
    loadWeightsNs: 10e6,
    execNs: batchSizes.map((size) => (2 + size) * 1e6),
  };
  return {
    source: `/models/${path}`,
    inputs: [{ name: "x", dtype: "float32", shape: [3], batched: true, bytes: INPUT_BYTES }],
    outputs: [{ name: "y", dtype: "float32", shape: [2], batched: true, bytes: OUTPUT_BYTES }],
    inputBytes: INPUT_BYTES,
    outputBytes: OUTPUT_BYTES,
    weightsBytes: pages * PAGE_BYTES - 1,
    batchSizes,
    profiles: new Array(gpus).fill(profile),
    notes: [],
  };
}

export interface RigOptions {
  readonly gpus?: number;
  /** Pages of each GPU. */
  readonly pages?: number;
  readonly config?: Partial<WorkerConfig>;
  /** Instead of the emulated one. */
  readonly backend?: (clock: Clock) => Backend;
  /** The worker's clock less the virtual one. */
  readonly workerOffsetNs?: number;
  /** How late the worker's clock makes its calls. */
  readonly workerLateNs?: number;
}

/** What a controller got, and when by the virtual clock. */
export type Received = AnyMessage & { readonly atNs: number };

export class Rig {
  readonly clock = new VirtualClock();
  readonly server: WorkerServer;
  readonly lines: string[] = [];
  /** Of the worker's side of links: the network is not late when the worker is. */
  readonly #linkClock: Clock;

  constructor(options: RigOptions = {}) {
    const { gpus = 1, pages = 10, workerOffsetNs = 0, workerLateNs = 0 } = options;
    this.#linkClock = skewedClock(this.clock, workerOffsetNs);
    const clock = skewedClock(this.#linkClock, 0, workerLateNs);
    const config = {
      ...DEFAULT_WORKER_CONFIG,
      weights_cache_page_size: PAGE_BYTES,
      weights_cache_size: pages * PAGE_BYTES,
      ...options.config,
    };
    const backend = options.backend?.(clock) ?? new EmulatedBackend({
      clock,
      gpus,
      weightsCacheBytes: config.weights_cache_size,
      readModel: (path, gpus) =>
        /^\d+\//.test(path)
          ? makeModel(path, gpus)
          : { status: ActionStatus.invalidModelPath, message: `no model at ${path}` },
    });
    this.server = new WorkerServer({
      clock,
      backend,
      config,
      log: (line) => this.lines.push(line),
    });
  }

  connect(
    clock: Clock = this.clock,
    options: MemoryLinkOptions = {},
    name = "controller",
  ): TestController {
    const controller = new TestController(clock, this.clock);
    connectInMemory(
      { name, clock, accept: controller.accept },
      { name: "worker", clock: this.#linkClock, accept: this.server.accept },
      options,
    );
    return controller;
  }

  /** Makes everything happen that is due within `durationNs`, by default enough for all that is asked. */
  run(durationNs = 1e9): void {
    this.clock.advance(durationNs);
  }
}

export class TestController {
  readonly results: Received[] = [];
  closed: string | null = null;
  link!: Link;
  readonly #virtual: VirtualClock;
  readonly clock: Clock;
  #nextId = 0;

  constructor(clock: Clock, virtual: VirtualClock) {
    this.clock = clock;
    this.#virtual = virtual;
  }

  readonly accept = (link: Link) => {
    this.link = link;
    return {
      onMessage: (message: AnyMessage) => {
        this.results.push({ ...message, atNs: this.#virtual.now() });
      },
      onClose: (reason: string) => {
        this.closed = reason;
      },
    };
  };

  send<K extends ActionKind>(kind: K, header: Header<K>, payload: Uint8Array[] = []): number {
    const id = this.#nextId++;
    this.link.send(kind, id, header, payload);
    return id;
  }

  loadModel(
    model_id: number,
    model_path: string,
    no_of_copies = 1,
    more: Partial<Header<"LoadModelFromDisk">> = {},
  ): number {
    return this.send("LoadModelFromDisk", {
      model_id,
      model_path,
      no_of_copies,
      max_batch_size: 16,
      max_exec_duration_ns: 1e9,
      ...FOREVER,
      ...more,
    });
  }

  loadWeights(model_id: number, gpu_id = 0, window: Partial<Window> = {}): number {
    const header = { model_id, gpu_id, expected_duration_ns: 0, ...FOREVER, ...window };
    return this.send("LoadWeights", header);
  }

  evict(model_id: number, gpu_id = 0, window: Partial<Window> = {}): number {
    return this.send("EvictWeights", { model_id, gpu_id, ...FOREVER, ...window });
  }

  /** Infers one request with an input, unless `more` says otherwise. */
  infer(model_id: number, gpu_id = 0, more: Partial<Header<"Infer">> = {}): number {
    const header = {
      model_id,
      gpu_id,
      batch_size: 1,
      input_sizes: [INPUT_BYTES],
      expected_duration_ns: 0,
      ...FOREVER,
      ...more,
    };
    const bytes = header.input_sizes.reduce((sum, size) => sum + size, 0);
    return this.send("Infer", header, [new Uint8Array(bytes)]);
  }

  /** The only result of an action. */
  result(id: number): Received {
    const results = this.results.filter((result) => result.id === id);
    if (results.length !== 1) throw new Error(`action ${id} has ${results.length} results`);
    return results[0]!;
  }

  /** The status of an action's only result: 0 when it went well. */
  status(id: number): number {
    const result = this.result(id);
    return result.kind === "ErrorResult" ? result.header.status : 0;
  }

  /** The header of an action's only result, which must be of this kind. */
  header<K extends `${ActionKind}Result`>(id: number, kind: K): Header<K> {
    const result = this.result(id);
    if (result.kind !== kind) {
      throw new Error(`action ${id} has ${result.kind} ${JSON.stringify(result.header)}`);
    }
    return result.header as Header<K>;
  }

  /** Span of a good inference's execution. */
  execSpan(id: number): [number, number] {
    const { exec } = this.header(id, "InferResult");
    return [exec.begin_ns, exec.end_ns];
  }
}

interface Window {
  earliest_ns: number;
  latest_ns: number;
}

/** A clock of another origin, or one that wakes late. */
function skewedClock(clock: Clock, offsetNs: number, lateNs = 0): Clock {
  return {
    now: () => clock.now() + offsetNs,
    at: (timeNs: number, fn: () => void): Timer => {
      const dueNs = Math.max(timeNs - offsetNs, clock.now());
      return clock.at(dueNs + lateNs, fn);
    },
  };
}
