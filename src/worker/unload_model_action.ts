/**
 * UnloadModel: removes copies of a model. Their weights are removed from the GPUs first, and host memory is
 * freed with the last copy of a load. While an inference uses them, it is refused and may be repeated; no
 * new actions with these copies are accepted in the meantime.
 */
import { ActionStatus } from "../core/status.ts";
import type { Header } from "../wire/messages.ts";
import { Action, type Arrival, type Engine } from "./action.ts";
import type { Backend, Failure } from "./backend.ts";
import { clearCache } from "./clear_cache.ts";
import type { Gpu } from "./gpu.ts";
import type { ModelRegistry } from "./model_registry.ts";

/** What forgetting a model needs of the worker. */
export interface UnloadModelContext {
  readonly backend: Backend;
  readonly registry: ModelRegistry;
  readonly gpus: readonly Gpu[];
}

export class UnloadModelAction extends Action<"UnloadModel"> {
  readonly #header: Header<"UnloadModel">;
  readonly #context: UnloadModelContext;

  constructor(
    arrival: Arrival<"UnloadModel">,
    header: Header<"UnloadModel">,
    context: UnloadModelContext,
  ) {
    super(arrival);
    this.#header = header;
    this.#context = context;
  }

  get tooLateStatus(): Failure["status"] {
    return ActionStatus.couldNotStartInTime;
  }

  start(nowNs: number, engine: Engine): void {
    const { backend, registry, gpus } = this.#context;
    const { model_id, no_of_copies } = this.#header;
    const models = registry.inRange(model_id, no_of_copies);
    if (models.length === 0) {
      const last = model_id + no_of_copies - 1;
      this.fail(ActionStatus.unknownModel, `there is no model from ${model_id} to ${last}`);
      engine.release(this);
      return;
    }
    // From here on none is loaded onto a GPU, not even by what waits there already.
    for (const model of models) model.leaving = true;
    const leaving = new Set(models);
    const failed = (status: Failure["status"], message: string) => {
      if (this.ended) return;
      this.fail(status, message);
      engine.release(this);
    };
    const requester = {
      onSuccess: () => {
        if (this.ended) return;
        for (const model of leaving) {
          if (registry.remove(model)) backend.unloadModel(model.backendModel);
        }
        this.succeed({});
        engine.release(this);
      },
      onFailure: (_: unknown, status: Failure["status"], message: string) =>
        failed(status, message),
      onAbandoned: () => failed(ActionStatus.shuttingDown, "the worker is shutting down"),
    };
    clearCache(gpus, {
      kind: "ClearCache",
      id: this.id,
      requester,
      receivedNs: nowNs,
      earliestNs: nowNs,
      latestNs: Infinity,
    }, (model) => leaving.has(model));
  }
}
