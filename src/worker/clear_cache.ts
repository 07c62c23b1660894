/** ClearCache: removes all weights from all GPUs, except those that an inference is using. */
import type { ActionRef, Arrival, Requester } from "./action.ts";
import type { Failure } from "./backend.ts";
import type { Gpu } from "./gpu.ts";
import type { Model } from "./model_registry.ts";
import { ClearGpuAction } from "./weights_actions.ts";

/**
 * Clears each GPU after the transfers that it already has, and answers when all are clear. With
 * `concerns`, only of the weights of models for which that is so.
 */
export function clearCache(
  gpus: readonly Gpu[],
  arrival: Arrival<"ClearCache">,
  concerns?: (model: Model) => boolean,
): void {
  const gather = new Gather(gpus.length, arrival);
  for (const gpu of gpus) {
    gpu.transfers.add(new ClearGpuAction({ ...arrival, requester: gather }, gpu, concerns));
  }
}

/** Makes one result of those of all GPUs: the first failure, if there is one. */
class Gather implements Requester {
  readonly #arrival: Arrival<"ClearCache">;
  #outstanding: number;
  #failure: Failure | null = null;

  constructor(gpus: number, arrival: Arrival<"ClearCache">) {
    this.#outstanding = gpus;
    this.#arrival = arrival;
  }

  onSuccess(): void {
    this.#ended();
  }

  onFailure(_action: ActionRef, status: Failure["status"], message: string): void {
    this.#failure ??= { status, message };
    this.#ended();
  }

  onAbandoned(): void {
    this.#ended();
  }

  #ended(): void {
    if (--this.#outstanding > 0) return;
    const { requester } = this.#arrival;
    if (this.#failure === null) requester.onSuccess(this.#arrival, {});
    else requester.onFailure(this.#arrival, this.#failure.status, this.#failure.message);
  }
}
