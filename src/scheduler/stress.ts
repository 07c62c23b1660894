import { type Clock, MS } from "../core/clock.ts";
import { ActionStatus, RequestStatus } from "../core/status.ts";
import type {
  ActionOutcome,
  GpuSpec,
  ModelSpec,
  Request,
  Scheduler,
  SchedulerAction,
  SchedulerHost,
} from "./scheduler.ts";
import { unplannedAction } from "./unplanned.ts";

/** Executions that each GPU always has outstanding. */
const INFERS = 2;
/** Pause after a failed action, so that a lasting fault does not cause a busy loop. */
const PAUSE_NS = 10 * MS;

interface StressGpu {
  readonly spec: GpuSpec;
  freePages: number;
  /** Models whose weights are loaded, oldest first. */
  readonly loaded: Map<number, ModelSpec>;
  /** The model of the transfer in progress, a load or the eviction that makes room for one. */
  transferring: ModelSpec | null;
  /** Models of its outstanding executions. */
  readonly running: number[];
  /** Next model to load, and next to run. */
  nextLoad: number;
  nextInfer: number;
  removed: boolean;
}

/**
 * STRESS drives workers as hard as it can, without clients: each GPU always has executions of the largest
 * batch outstanding, and a transfer of weights, for which the model loaded longest ago is evicted.
 */
export class Stress<R extends Request> implements Scheduler<R> {
  readonly #clock: Clock;
  readonly #host: SchedulerHost<R>;
  readonly #gpus: StressGpu[] = [];
  readonly #models: { readonly id: number; readonly specs: ReadonlyMap<number, ModelSpec> }[] = [];
  #closed = false;

  constructor(clock: Clock, host: SchedulerHost<R>) {
    this.#clock = clock;
    this.#host = host;
  }

  addGpu(spec: GpuSpec): void {
    const gpu: StressGpu = {
      spec,
      freePages: spec.pages,
      loaded: new Map(),
      transferring: null,
      running: [],
      nextLoad: 0,
      nextInfer: 0,
      removed: false,
    };
    this.#gpus.push(gpu);
    this.#feed(gpu);
  }

  removeGpu({ workerId, gpuId }: GpuSpec): void {
    const index = this.#gpus.findIndex(({ spec }) =>
      spec.workerId === workerId && spec.gpuId === gpuId
    );
    for (const gpu of index < 0 ? [] : this.#gpus.splice(index, 1)) gpu.removed = true;
  }

  setModel(id: number, specs: ReadonlyMap<number, ModelSpec>): void {
    this.#forget(id);
    this.#models.push({ id, specs });
    for (const gpu of this.#gpus) this.#feed(gpu);
  }

  removeModel(id: number): void {
    for (const gpu of this.#gpus) {
      const spec = gpu.loaded.get(id);
      if (spec === undefined) continue;
      gpu.loaded.delete(id);
      // The worker removes the model and its weights.
      gpu.freePages += spec.weightsPages;
    }
    this.#forget(id);
  }

  #forget(id: number): void {
    const index = this.#models.findIndex((model) => model.id === id);
    if (index >= 0) this.#models.splice(index, 1);
  }

  submit(request: R): void {
    const message = "this controller runs STRESS, which serves no clients";
    this.#host.refuse(request, RequestStatus.invalidRequest, message);
  }

  onOutcome(action: SchedulerAction<R>, { status }: ActionOutcome): void {
    const gpu = this.#gpus.find(({ spec }) => spec === action.gpu);
    if (gpu === undefined) return;
    const ok = status === ActionStatus.success;
    if (action.type === "Infer") gpu.running.splice(gpu.running.indexOf(action.modelId), 1);
    else this.#onTransferred(gpu, action.type, action.modelId, ok);
    if (ok) this.#feed(gpu);
    else this.#clock.at(this.#clock.now() + PAUSE_NS, () => this.#feed(gpu));
  }

  close(): void {
    this.#closed = true;
  }

  #onTransferred(gpu: StressGpu, type: string, modelId: number, ok: boolean): void {
    const spec = gpu.transferring!;
    gpu.transferring = null;
    const there = (type === "LoadWeights") === ok;
    // After a failed eviction it counts as the newest, and another is evicted next. The weights of a model
    // that was removed meanwhile are removed with it.
    if (there && this.#specOn(gpu, modelId) !== undefined) gpu.loaded.set(modelId, spec);
    else gpu.freePages += spec.weightsPages;
  }

  #feed(gpu: StressGpu): void {
    if (this.#closed || gpu.removed) return;
    if (gpu.transferring === null) this.#transfer(gpu);
    while (gpu.running.length < INFERS && gpu.loaded.size > 0) {
      const [modelId, { batchSizes, execNs }] = [...gpu.loaded][gpu.nextInfer++ % gpu.loaded.size]!;
      gpu.running.push(modelId);
      this.#host.send({
        ...this.#action(gpu, modelId, execNs.at(-1)!),
        type: "Infer",
        batchSize: batchSizes.at(-1)!,
        requests: [],
      });
    }
  }

  /** Loads the next model that is not loaded, or first evicts one if it does not fit or all are loaded. */
  #transfer(gpu: StressGpu): void {
    for (let i = 0; i < this.#models.length; i++) {
      const { id } = this.#models[gpu.nextLoad % this.#models.length]!;
      const spec = this.#specOn(gpu, id);
      const fits = spec !== undefined && spec.weightsPages <= gpu.spec.pages;
      if (!fits || (gpu.loaded.has(id) && gpu.loaded.size < this.#models.length)) {
        gpu.nextLoad++;
        continue;
      }
      if (gpu.loaded.has(id) || spec.weightsPages > gpu.freePages) {
        this.#evictOldest(gpu);
        return;
      }
      gpu.nextLoad++;
      gpu.freePages -= spec.weightsPages;
      gpu.transferring = spec;
      this.#host.send({ ...this.#action(gpu, id, spec.loadWeightsNs), type: "LoadWeights" });
      return;
    }
  }

  #evictOldest(gpu: StressGpu): void {
    // The last one stays, because executions need a model.
    if (gpu.loaded.size < 2) return;
    const modelId = [...gpu.loaded.keys()].find((id) => !gpu.running.includes(id));
    if (modelId === undefined) return;
    gpu.transferring = gpu.loaded.get(modelId)!;
    gpu.loaded.delete(modelId);
    this.#host.send({ ...this.#action(gpu, modelId, 0), type: "EvictWeights" });
  }

  #specOn({ spec }: StressGpu, modelId: number): ModelSpec | undefined {
    return this.#models.find(({ id }) => id === modelId)?.specs.get(spec.workerId);
  }

  #action({ spec, loaded }: StressGpu, modelId: number, expectedNs: number) {
    return unplannedAction(this.#clock, spec, modelId, expectedNs, {
      queued: 0,
      copiesLoaded: loaded.size,
    });
  }
}
