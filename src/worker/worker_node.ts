/**
 * A worker: models, GPUs, and the handling of every action that a controller sends.
 *
 * Errors that can be seen when an action arrives are reported then; whatever depends on the time of its
 * start is decided by the action itself. Nothing that a controller sends can crash a worker.
 */
import type { Clock } from "../core/clock.ts";
import { ActionStatus } from "../core/status.ts";
import type { ClockSync } from "../wire/clock_sync.ts";
import type { ActionKind, MessageOf } from "../wire/describe.ts";
import type { Header } from "../wire/messages.ts";
import { payloads } from "../wire/payload_pool.ts";
import type { Arrival, Requester, ResultOf } from "./action.ts";
import { type Backend, isFailure } from "./backend.ts";
import { clearCache } from "./clear_cache.ts";
import type { WorkerConfig } from "./config.ts";
import { Gpu } from "./gpu.ts";
import { HostMemory } from "./host_memory.ts";
import { type BatchLimits, InferAction, readBatch } from "./infer_action.ts";
import { LoadModelAction, type LoadModelContext, loadModelProblem } from "./load_model_action.ts";
import { type Model, ModelRegistry } from "./model_registry.ts";
import { SerialExecutor } from "./serial_executor.ts";
import { UnloadModelAction } from "./unload_model_action.ts";
import type { UploadAction, Uploads } from "./uploads/uploads.ts";
import { EvictWeightsAction, LoadWeightsAction } from "./weights_actions.ts";

export interface WorkerNodeOptions {
  readonly clock: Clock;
  readonly backend: Backend;
  readonly config: WorkerConfig;
  /** See {@link LoadModelContext.onNote}. */
  readonly onNote?: (note: string) => void;
  /** Takes uploads; null or absent where none are taken. */
  readonly uploads?: Uploads | null | undefined;
}

export class WorkerNode {
  readonly registry: ModelRegistry;
  readonly gpus: readonly Gpu[];
  readonly #clock: Clock;
  readonly #backend: Backend;
  readonly #uploads: Uploads | null;
  readonly #pageBytes: number;
  readonly #memory: HostMemory;
  readonly #batchLimits: BatchLimits;
  readonly #loadModelContext: LoadModelContext;
  /** Reads one model at a time. */
  readonly #loader: SerialExecutor;
  #draining = false;
  #closed = false;

  constructor({ clock, backend, config, onNote, uploads }: WorkerNodeOptions) {
    this.#clock = clock;
    this.#uploads = uploads ?? null;
    this.#backend = backend;
    this.#pageBytes = config.weights_cache_page_size;
    this.registry = new ModelRegistry(config.max_models);
    this.gpus = backend.gpus.map((_, id) => new Gpu(clock, id, backend, config));
    backend.watch?.({
      onLost: (gpuId, reason) => {
        this.gpus[gpuId]?.lose(reason);
        onNote?.(`GPU ${gpuId} is lost: ${reason}`);
      },
      onRestored: (gpuId) => {
        const gpu = this.gpus[gpuId];
        if (gpu !== undefined) gpu.lost = null;
        onNote?.(`GPU ${gpuId} is back; its weights have to be loaded again`);
      },
    });
    this.#memory = new HostMemory(config.host_io_pool_size);
    this.#batchLimits = {
      allowZeroSizeInputs: config.allow_zero_size_inputs,
      ioPoolBytes: config.io_pool_size,
    };
    this.#loader = new SerialExecutor(clock, "loading of models", config.max_queued_actions);
    this.#loadModelContext = {
      clock,
      backend,
      registry: this.registry,
      pageBytes: this.#pageBytes,
      onNote: onNote ?? (() => {}),
    };
  }

  /**
   * Takes an action; exactly one call of `requester` will follow.
   *
   * @param sync translates the action's window, which is in the controller's clock, to ours.
   */
  submit(message: MessageOf<ActionKind>, requester: Requester, sync: ClockSync): void {
    const receivedNs = this.#clock.now();
    if (this.#draining) {
      requester.onFailure(
        { kind: message.kind, id: message.id, receivedNs },
        ActionStatus.shuttingDown,
        "the worker is shutting down",
      );
      return;
    }
    switch (message.kind) {
      case "Infer":
        return this.#infer(message, arrivalOf("Infer", message, requester, receivedNs, sync));
      case "LoadWeights":
        return this.#loadWeights(
          message,
          arrivalOf("LoadWeights", message, requester, receivedNs, sync),
        );
      case "EvictWeights":
        return this.#evictWeights(
          message,
          arrivalOf("EvictWeights", message, requester, receivedNs, sync),
        );
      case "LoadModelFromDisk":
        return this.#loadModel(
          message,
          arrivalOf("LoadModelFromDisk", message, requester, receivedNs, sync),
        );
      case "ClearCache":
        return clearCache(this.gpus, {
          kind: "ClearCache",
          id: message.id,
          requester,
          receivedNs,
          earliestNs: receivedNs,
          latestNs: Infinity,
        });
      case "UnloadModel":
        // In the same queue as loads: of two actions on one model, the first comes first.
        return this.#loader.add(
          new UnloadModelAction(
            {
              kind: "UnloadModel",
              id: message.id,
              requester,
              receivedNs,
              earliestNs: receivedNs,
              latestNs: Infinity,
            },
            message.header,
            { backend: this.#backend, registry: this.registry, gpus: this.gpus },
          ),
        );
      case "BeginUpload":
      case "UploadChunk":
      case "EndUpload":
      case "ReadUpload":
      case "ListUploads":
      case "RemoveUploads":
        if (this.#uploads !== null) {
          return this.#uploads.submit(message, requester, () => this.registry.uploads());
        }
        return refuseUpload(message, requester, receivedNs);
      case "GetWorkerState":
        requester.onSuccess({ kind: "GetWorkerState", id: message.id, receivedNs }, this.state());
    }
  }

  /** Everything this worker holds. */
  state(): ResultOf<"GetWorkerState"> {
    return {
      page_size: this.#pageBytes,
      gpus: this.gpus.map((gpu) => ({
        name: gpu.info.name.slice(0, 256),
        weights_cache_size: gpu.cache.bytes,
        weights_cache_pages: gpu.cache.totalPages,
        io_pool_size: gpu.ioPoolBytes,
        workspace_pool_size: gpu.workspacePoolBytes,
        models: gpu.loadedModelIds(),
      })),
      ...this.registry.state(),
    };
  }

  /** Forgets what waits on behalf of a controller that is gone. What runs is left to end. */
  abandon(requester: Requester): void {
    this.#uploads?.abandon(requester);
    for (const executor of this.#executors()) {
      executor.abandon((action) => action.requester === requester);
    }
  }

  /** Refuses every further action with `shuttingDown`; those that it has go on. */
  drain(): void {
    this.#draining = true;
  }

  /** Closes the backend. Every action that has not ended fails with `shuttingDown`, as do later ones. */
  close(): void {
    if (this.#closed) return;
    this.#closed = this.#draining = true;
    this.#uploads?.close();
    for (const executor of this.#executors()) executor.close();
    this.#backend.close();
    for (const executor of this.#executors()) executor.failRunning();
  }

  *#executors(): Iterable<SerialExecutor> {
    yield this.#loader;
    for (const gpu of this.gpus) {
      yield gpu.execution;
      yield gpu.transfers;
    }
  }

  #loadModel(
    { header }: MessageOf<"LoadModelFromDisk">,
    arrival: Arrival<"LoadModelFromDisk">,
  ): void {
    if (!this.#windowIsSensible(arrival)) return;
    const problem = loadModelProblem(header);
    if (problem !== null) {
      arrival.requester.onFailure(arrival, problem.status, problem.message);
      return;
    }
    this.#loader.add(new LoadModelAction(arrival, header, this.#loadModelContext));
  }

  #infer({ header, payload }: MessageOf<"Infer">, arrival: Arrival<"Infer">): void {
    const action = this.#inferAction(header, payload, arrival);
    if (action === null) payloads.release(payload);
    else this.gpus[header.gpu_id]!.execution.add(action);
  }

  /** Null when it has been refused. */
  #inferAction(
    header: Header<"Infer">,
    payload: Uint8Array,
    arrival: Arrival<"Infer">,
  ): InferAction | null {
    const gpu = this.#gpuOf(header.gpu_id, arrival);
    const model = gpu && this.#modelOf(header.model_id, arrival);
    if (!gpu || !model || !this.#windowIsSensible(arrival)) return null;
    const batch = readBatch(header, payload, model, this.#batchLimits);
    if (isFailure(batch)) {
      arrival.requester.onFailure(arrival, batch.status, batch.message);
      return null;
    }
    if (!this.#memory.take(batch.hostBytes)) {
      arrival.requester.onFailure(
        arrival,
        ActionStatus.copyInputHostAllocation,
        `no host memory for ${batch.hostBytes} bytes of inputs and outputs: ` +
          `${this.#memory.usedBytes} of ${this.#memory.limitBytes} are taken; send actions later ` +
          "or raise host_io_pool_size in the worker's configuration",
      );
      return null;
    }
    return new InferAction(arrival, gpu, model, batch, this.#memory);
  }

  #loadWeights({ header }: MessageOf<"LoadWeights">, arrival: Arrival<"LoadWeights">): void {
    const gpu = this.#gpuOf(header.gpu_id, arrival);
    const model = gpu && this.#modelOf(header.model_id, arrival);
    if (!gpu || !model || !this.#windowIsSensible(arrival)) return;
    gpu.transfers.add(new LoadWeightsAction(arrival, gpu, model));
  }

  #evictWeights({ header }: MessageOf<"EvictWeights">, arrival: Arrival<"EvictWeights">): void {
    const gpu = this.#gpuOf(header.gpu_id, arrival);
    const model = gpu && this.#modelOf(header.model_id, arrival);
    if (!gpu || !model || !this.#windowIsSensible(arrival)) return;
    gpu.transfers.add(new EvictWeightsAction(arrival, gpu, model.id));
  }

  #gpuOf(gpuId: number, arrival: Arrival): Gpu | undefined {
    const gpu = this.gpus[gpuId];
    if (gpu === undefined) {
      arrival.requester.onFailure(
        arrival,
        ActionStatus.invalidGpu,
        `there is no GPU ${gpuId}: this worker has GPUs 0 to ${this.gpus.length - 1}`,
      );
    }
    return gpu;
  }

  #modelOf(modelId: number, arrival: Arrival): Model | undefined {
    const model = this.registry.get(modelId);
    if (model === undefined || model.leaving) {
      arrival.requester.onFailure(
        arrival,
        ActionStatus.unknownModel,
        `there is no model ${modelId} among this worker's ${this.registry.size}; send ` +
          "LoadModelFromDisk, and wait for its result",
      );
      return undefined;
    }
    return model;
  }

  #windowIsSensible(arrival: Arrival): boolean {
    if (arrival.earliestNs <= arrival.latestNs) return true;
    arrival.requester.onFailure(
      arrival,
      ActionStatus.invalidAction,
      `its window is empty: earliest is ${arrival.earliestNs - arrival.latestNs} ns after latest`,
    );
    return false;
  }
}

/** Answers for a worker that takes no uploads: it has none. */
function refuseUpload(message: UploadAction, requester: Requester, receivedNs: number): void {
  const ref = <K extends ActionKind>(kind: K) => ({ kind, id: message.id, receivedNs });
  switch (message.kind) {
    case "ListUploads":
      return requester.onSuccess(ref("ListUploads"), { uploads: [] });
    case "RemoveUploads":
      return requester.onSuccess(ref("RemoveUploads"), { no_of_uploads: 0, message: "" });
    default:
      requester.onFailure(
        ref(message.kind),
        ActionStatus.invalidAction,
        "this worker takes no uploads: start it with --upload-dir, or with --model-dir",
      );
  }
}

function arrivalOf<K extends ActionKind>(
  kind: K,
  message: { readonly id: number; readonly header: { earliest_ns: number; latest_ns: number } },
  requester: Requester,
  receivedNs: number,
  sync: ClockSync,
): Arrival<K> {
  const { earliest_ns, latest_ns } = message.header;
  return {
    kind,
    id: message.id,
    requester,
    receivedNs,
    earliestNs: sync.toLocal(earliest_ns),
    latestNs: sync.toLocal(latest_ns),
  };
}
