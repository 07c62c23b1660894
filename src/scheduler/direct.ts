import { type Clock, MS } from "../core/clock.ts";
import { ActionStatus, RequestStatus } from "../core/status.ts";
import type {
  ActionOutcome,
  GpuSpec,
  InferAction,
  ModelSpec,
  Request,
  Scheduler,
  SchedulerAction,
  SchedulerHost,
  WeightsAction,
} from "./scheduler.ts";
import { unplannedAction } from "./unplanned.ts";

/** If weights to evict are still in use, the eviction is repeated after this. */
const EVICT_RETRY_NS = 10 * MS;

interface Resident<R extends Request> {
  readonly spec: ModelSpec;
  /** Requests that wait for the weights; null once these are loaded. */
  waiting: R[] | null;
}

interface DirectGpu<R extends Request> {
  readonly spec: GpuSpec;
  freePages: number;
  /** Models whose weights are loaded or being loaded, oldest first. */
  readonly resident: Map<number, Resident<R>>;
  readonly inFlight: Set<InferAction<R>>;
}

/**
 * DIRECT forwards each request at once, alone, to its model's GPU. A model gets its GPU, and its weights
 * are loaded there, with its first request; the models loaded longest ago make room. DIRECT plans nothing
 * and waits only for weights: a yardstick for INFER4, and the simplest way to see a worker at work.
 */
export class Direct<R extends Request> implements Scheduler<R> {
  readonly #clock: Clock;
  readonly #host: SchedulerHost<R>;
  readonly #gpus: DirectGpu<R>[] = [];
  readonly #models = new Map<number, ReadonlyMap<number, ModelSpec>>();
  readonly #gpuOf = new Map<number, DirectGpu<R>>();
  #nextGpu = 0;
  #closed: { status: Exclude<RequestStatus, 0>; message: string } | null = null;

  constructor(clock: Clock, host: SchedulerHost<R>) {
    this.#clock = clock;
    this.#host = host;
  }

  addGpu(spec: GpuSpec): void {
    this.#gpus.push({ spec, freePages: spec.pages, resident: new Map(), inFlight: new Set() });
  }

  removeGpu({ workerId, gpuId }: GpuSpec): void {
    const index = this.#gpus.findIndex(({ spec }) =>
      spec.workerId === workerId && spec.gpuId === gpuId
    );
    const [gpu] = index < 0 ? [] : this.#gpus.splice(index, 1);
    if (gpu === undefined) return;
    for (const modelId of [...gpu.resident.keys()]) {
      this.#forget(gpu, modelId, "the worker was lost");
    }
    const inFlight = [...gpu.inFlight];
    gpu.inFlight.clear();
    for (const action of inFlight) this.#refuseAll(action, "the worker was lost");
  }

  setModel(modelId: number, specs: ReadonlyMap<number, ModelSpec>): void {
    this.#models.set(modelId, specs);
  }

  removeModel(modelId: number): void {
    this.#models.delete(modelId);
    const gpu = this.#gpuOf.get(modelId);
    if (gpu !== undefined) this.#evict(gpu, modelId);
  }

  submit(request: R): void {
    const { modelId } = request;
    if (this.#closed !== null) {
      return this.#host.refuse(request, this.#closed.status, this.#closed.message);
    }
    if (!this.#models.has(modelId)) {
      return this.#host.refuse(
        request,
        RequestStatus.invalidRequest,
        `unknown model ${modelId}: load it first, or list the models with LS`,
      );
    }
    const gpu = this.#gpuOf.get(modelId) ?? this.#place(modelId);
    if (gpu === undefined) {
      return this.#host.refuse(
        request,
        RequestStatus.error,
        "no GPU can take the model: none is connected, or its weights are larger than their caches",
      );
    }
    const { waiting } = gpu.resident.get(modelId)!;
    if (waiting === null) this.#forward(gpu, request);
    else waiting.push(request);
  }

  onOutcome(action: SchedulerAction<R>, { status, message }: ActionOutcome): void {
    const gpu = this.#gpuOf.get(action.modelId);
    if (action.type === "Infer") {
      const holder = this.#gpus.find(({ inFlight }) => inFlight.has(action));
      if (holder === undefined) return;
      holder.inFlight.delete(action);
      if (status === ActionStatus.success) this.#host.succeed(action);
      else this.#refuseAll(action, message);
    } else if (action.type === "LoadWeights") {
      const resident = gpu?.spec === action.gpu ? gpu.resident.get(action.modelId) : undefined;
      if (gpu === undefined || resident === undefined) return;
      if (status !== ActionStatus.success) {
        // The next request loads it again.
        this.#forget(gpu, action.modelId, message);
        return;
      }
      const waiting = resident.waiting ?? [];
      resident.waiting = null;
      for (const request of waiting) this.#forward(gpu, request);
    } else if (status === ActionStatus.weightsInUse) {
      const holder = this.#gpus.find(({ spec }) => spec === action.gpu);
      this.#clock.at(this.#clock.now() + EVICT_RETRY_NS, () => {
        if (holder === undefined || !this.#gpus.includes(holder)) return;
        if (holder.resident.has(action.modelId)) return;
        this.#host.send({ ...this.#action(holder, action.modelId, 0), type: "EvictWeights" });
      });
    }
  }

  close(status: Exclude<RequestStatus, 0>, message: string): void {
    this.#closed = { status, message };
    for (const { resident } of this.#gpus) {
      for (const one of resident.values()) {
        const waiting = one.waiting ?? [];
        one.waiting = null;
        for (const request of waiting) this.#host.refuse(request, status, message);
      }
    }
  }

  /** Chooses the next GPU, in turn, on which the model fits, and loads the weights there. */
  #place(modelId: number): DirectGpu<R> | undefined {
    const specs = this.#models.get(modelId)!;
    for (let i = 0; i < this.#gpus.length; i++) {
      const gpu = this.#gpus[this.#nextGpu++ % this.#gpus.length]!;
      const spec = specs.get(gpu.spec.workerId);
      if (spec === undefined || spec.weightsPages > gpu.spec.pages) continue;
      for (const oldest of gpu.resident.keys()) {
        if (gpu.freePages >= spec.weightsPages) break;
        this.#evict(gpu, oldest);
      }
      gpu.freePages -= spec.weightsPages;
      gpu.resident.set(modelId, { spec, waiting: [] });
      this.#gpuOf.set(modelId, gpu);
      this.#host.send({
        ...this.#action(gpu, modelId, spec.loadWeightsNs),
        type: "LoadWeights",
      });
      return gpu;
    }
    return undefined;
  }

  #evict(gpu: DirectGpu<R>, modelId: number): void {
    this.#forget(gpu, modelId, "its model was evicted before its weights were there");
    const action: WeightsAction = { ...this.#action(gpu, modelId, 0), type: "EvictWeights" };
    this.#host.send(action);
  }

  /** The weights are no longer there; requests that wait for them are refused with `message`. */
  #forget(gpu: DirectGpu<R>, modelId: number, message: string): void {
    const resident = gpu.resident.get(modelId);
    if (resident === undefined) return;
    gpu.resident.delete(modelId);
    gpu.freePages += resident.spec.weightsPages;
    this.#gpuOf.delete(modelId);
    for (const request of resident.waiting ?? []) {
      this.#host.refuse(request, RequestStatus.error, message);
    }
  }

  #forward(gpu: DirectGpu<R>, request: R): void {
    const { modelId } = request;
    const expectedNs = gpu.resident.get(modelId)!.spec.execNs[0]!;
    const action: InferAction<R> = {
      ...this.#action(gpu, modelId, expectedNs),
      type: "Infer",
      batchSize: 1,
      requests: [request],
    };
    gpu.inFlight.add(action);
    this.#host.send(action);
  }

  #action({ spec, inFlight }: DirectGpu<R>, modelId: number, expectedNs: number) {
    return unplannedAction(this.#clock, spec, modelId, expectedNs, {
      queued: inFlight.size,
      copiesLoaded: this.#gpuOf.has(modelId) ? 1 : 0,
    });
  }

  #refuseAll({ requests }: InferAction<R>, message: string): void {
    for (const request of requests) this.#host.refuse(request, RequestStatus.error, message);
  }
}
