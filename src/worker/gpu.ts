/**
 * One GPU of the worker: what is on it, and its two engines. Execution and transfers overlap; each does one
 * thing at a time, so that its duration can be predicted.
 */
import type { Clock } from "../core/clock.ts";
import type { Backend, GpuInfo } from "./backend.ts";
import type { WorkerConfig } from "./config.ts";
import type { Model } from "./model_registry.ts";
import { SerialExecutor } from "./serial_executor.ts";
import { WeightsCache } from "./weights_cache.ts";

/** Weights that take pages of a GPU. */
export interface Resident {
  readonly model: Model;
  /** `loading` and `evicting`: the pages are taken, the weights cannot be used. */
  state: "loading" | "loaded" | "evicting";
  /** An inference is using them. */
  executing: boolean;
}

export class Gpu {
  readonly id: number;
  readonly info: GpuInfo;
  readonly backend: Backend;
  readonly ioPoolBytes: number;
  readonly workspacePoolBytes: number;
  readonly cache: WeightsCache;
  /** Serves Infer. */
  readonly execution: SerialExecutor;
  /** Serves LoadWeights, EvictWeights and ClearCache. */
  readonly transfers: SerialExecutor;
  readonly #residents = new Map<number, Resident>();
  /** Why nothing can run on it; null while it works. */
  lost: string | null = null;

  constructor(clock: Clock, id: number, backend: Backend, config: WorkerConfig) {
    this.id = id;
    this.backend = backend;
    this.info = backend.gpus[id]!;
    this.ioPoolBytes = config.io_pool_size;
    this.workspacePoolBytes = config.workspace_pool_size;
    const cacheBytes = Math.min(config.weights_cache_size, this.info.weightsCacheBytes);
    this.cache = new WeightsCache(cacheBytes, config.weights_cache_page_size);
    this.execution = new SerialExecutor(clock, `GPU ${id} execution`, config.max_queued_actions);
    this.transfers = new SerialExecutor(clock, `GPU ${id} transfers`, config.max_queued_actions);
  }

  resident(modelId: number): Resident | undefined {
    return this.#residents.get(modelId);
  }

  /** Ids of the models whose weights can be used, ascending. */
  loadedModelIds(): number[] {
    const ids: number[] = [];
    for (const [id, { state }] of this.#residents) if (state === "loaded") ids.push(id);
    return ids.sort((a, b) => a - b);
  }

  /** Weights that take pages, in the order in which they were taken. */
  residents(): Iterable<Resident> {
    return this.#residents.values();
  }

  /** Takes pages for weights that are about to be loaded; null when too few are free. */
  admit(model: Model): Resident | null {
    if (!this.cache.reserve(model.pages)) return null;
    const resident: Resident = { model, state: "loading", executing: false };
    this.#residents.set(model.id, resident);
    return resident;
  }

  /** The device is gone, and all weights with it: what is on its way ends with a failure of its own. */
  lose(reason: string): void {
    this.lost = `the GPU is lost: ${reason}; it is tried again until it is back`;
    for (const resident of [...this.#residents.values()]) this.remove(resident);
  }

  /** Gives back the pages of weights that are gone, or were never loaded. */
  remove(resident: Resident): void {
    const { model } = resident;
    // Another one of the same model may have come since: only this very one may be taken out.
    if (this.#residents.get(model.id) !== resident) return;
    this.#residents.delete(model.id);
    this.cache.release(model.pages);
  }
}
