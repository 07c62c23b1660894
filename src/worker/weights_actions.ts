/** LoadWeights, EvictWeights and ClearCache: which weights are on a GPU, and the pages that they take. */
import { ActionStatus } from "../core/status.ts";
import { Action, type Arrival, type Engine } from "./action.ts";
import { type Failure, isFailure, type Span } from "./backend.ts";
import type { Gpu, Resident } from "./gpu.ts";
import { timing } from "./infer_action.ts";
import type { Model } from "./model_registry.ts";

/** Makes weights resident. Pages are taken when it starts, and given back if it fails. */
export class LoadWeightsAction extends Action<"LoadWeights"> {
  readonly #gpu: Gpu;
  readonly #model: Model;

  constructor(arrival: Arrival<"LoadWeights">, gpu: Gpu, model: Model) {
    super(arrival);
    this.#gpu = gpu;
    this.#model = model;
  }

  get tooLateStatus(): Failure["status"] {
    return ActionStatus.loadWeightsTooLate;
  }

  start(_nowNs: number, engine: Engine): void {
    const gpu = this.#gpu;
    const model = this.#model;
    if (gpu.lost !== null) {
      this.fail(ActionStatus.runtimeError, gpu.lost);
      engine.release(this);
      return;
    }
    if (model.leaving) {
      this.fail(ActionStatus.unknownModel, `model ${model.id} has been unloaded`);
      engine.release(this);
      return;
    }
    if (gpu.resident(model.id) !== undefined) {
      this.fail(
        ActionStatus.weightsAlreadyLoaded,
        `the weights of model ${model.id} are on GPU ${gpu.id} already`,
      );
      engine.release(this);
      return;
    }
    const resident = gpu.admit(model);
    if (resident === null) {
      this.fail(
        ActionStatus.loadWeightsInsufficientCache,
        `model ${model.id} takes ${model.pages} pages and GPU ${gpu.id} has ` +
          `${gpu.cache.freePages} of ${gpu.cache.totalPages} free; evict other models first`,
      );
      engine.release(this);
      return;
    }
    const done = (result: Span | Failure) => {
      // Once this has ended, the weights' fate is settled: a second report must not touch them.
      if (this.ended) return;
      if (isFailure(result)) {
        gpu.remove(resident);
        if (result.status === ActionStatus.loadWeightsInsufficientCache) {
          gpu.cache.refused(model.pages);
        }
        this.fail(result.status, result.message);
      } else {
        resident.state = "loaded";
        this.succeed(timing(result));
      }
      engine.release(this);
    };
    try {
      gpu.backend.loadWeights(gpu.id, model.backendModel, model.id, done);
    } catch (error) {
      gpu.remove(resident);
      throw error;
    }
  }
}

/** Takes weights off a GPU. Refused, not delayed, while an inference uses them. */
export class EvictWeightsAction extends Action<"EvictWeights"> {
  readonly #gpu: Gpu;
  readonly #modelId: number;

  constructor(arrival: Arrival<"EvictWeights">, gpu: Gpu, modelId: number) {
    super(arrival);
    this.#gpu = gpu;
    this.#modelId = modelId;
  }

  get tooLateStatus(): Failure["status"] {
    return ActionStatus.evictTooLate;
  }

  start(_nowNs: number, engine: Engine): void {
    const gpu = this.#gpu;
    const resident = gpu.resident(this.#modelId);
    const what = `the weights of model ${this.#modelId}`;
    if (gpu.lost !== null) {
      this.fail(ActionStatus.runtimeError, gpu.lost);
      engine.release(this);
    } else if (resident?.state !== "loaded") {
      this.fail(ActionStatus.evictNotInCache, `${what} are not on GPU ${gpu.id}`);
      engine.release(this);
    } else if (resident.executing) {
      this.fail(
        ActionStatus.weightsInUse,
        `${what} are in use on GPU ${gpu.id}; evict them when the inference has ended`,
      );
      engine.release(this);
    } else {
      evict(gpu, resident, (result) => {
        if (isFailure(result)) this.fail(result.status, result.message);
        else this.succeed(timing(result));
        engine.release(this);
      });
    }
  }
}

/** Takes weights off one GPU, except those in use; a part of ClearCache and of UnloadModel. */
export class ClearGpuAction extends Action<"ClearCache"> {
  readonly #gpu: Gpu;
  readonly #concerns: (model: Model) => boolean;

  /** `concerns` tells whose weights are to go. */
  constructor(
    arrival: Arrival<"ClearCache">,
    gpu: Gpu,
    concerns: (model: Model) => boolean = () => true,
  ) {
    super(arrival);
    this.#gpu = gpu;
    this.#concerns = concerns;
  }

  get tooLateStatus(): Failure["status"] {
    return ActionStatus.evictTooLate;
  }

  start(_nowNs: number, engine: Engine): void {
    const gpu = this.#gpu;
    const inUse: number[] = [];
    let failure: Failure | null = null;
    // One more than there are evictions, so that none can end the action before all have begun.
    let outstanding = 1;
    const ended = () => {
      if (--outstanding > 0) return;
      if (failure !== null) this.fail(failure.status, failure.message);
      else if (inUse.length > 0) {
        const shown = inUse.slice(0, 10).join(", ");
        this.fail(
          ActionStatus.weightsInUse,
          `models in use on GPU ${gpu.id} were kept: ${shown}; all others were evicted`,
        );
      } else this.succeed({});
      engine.release(this);
    };
    for (const resident of [...gpu.residents()]) {
      if (!this.#concerns(resident.model)) continue;
      if (resident.executing) {
        inUse.push(resident.model.id);
        continue;
      }
      outstanding++;
      evict(gpu, resident, (result) => {
        // With a GPU that is lost meanwhile they are gone all the same.
        if (isFailure(result) && gpu.resident(resident.model.id) === resident) failure ??= result;
        ended();
      });
    }
    ended();
  }
}

/** Takes loaded weights that are not in use off a GPU; `done` is called once. */
function evict(gpu: Gpu, resident: Resident, done: (result: Span | Failure) => void): void {
  resident.state = "evicting";
  let reported = false;
  const report = (result: Span | Failure) => {
    if (reported) return;
    reported = true;
    // If the backend could not free them, they stay: better to lose room than to promise it twice.
    if (isFailure(result)) resident.state = "loaded";
    else gpu.remove(resident);
    done(result);
  };
  try {
    gpu.backend.evictWeights(gpu.id, resident.model.backendModel, resident.model.id, report);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    report({ status: ActionStatus.runtimeError, message: `the worker failed: ${reason}` });
  }
}
