/** Which models' weights are on which GPU, as far as the controller knows or has decided. */
import type { GpuSpec } from "../scheduler/scheduler.ts";

type Place = Pick<GpuSpec, "workerId" | "gpuId">;

export interface GpuUse {
  readonly models: number;
  readonly pages: number;
}

const NOTHING: GpuUse = { models: 0, pages: 0 };

/** A GPU: the pages of each model whose weights it holds, and their sum. */
interface Held {
  readonly pagesOf: Map<number, number>;
  pages: number;
}

export class Residency {
  readonly #gpus = new Map<string, Held>();
  /** GPUs that hold a model's weights; models that no GPU holds are not included. */
  readonly #holders = new Map<number, number>();

  /** Whether no GPU holds a model's weights. */
  isCold(modelId: number): boolean {
    return !this.#holders.has(modelId);
  }

  use(place: Place): GpuUse {
    const held = this.#gpus.get(nameOf(place));
    return held === undefined ? NOTHING : { models: held.pagesOf.size, pages: held.pages };
  }

  /** A GPU now has a model's weights, in this many pages. */
  loaded(place: Place, modelId: number, pages: number): void {
    const name = nameOf(place);
    let held = this.#gpus.get(name);
    if (held === undefined) this.#gpus.set(name, held = { pagesOf: new Map(), pages: 0 });
    if (held.pagesOf.has(modelId)) return;
    held.pagesOf.set(modelId, pages);
    held.pages += pages;
    this.#holders.set(modelId, (this.#holders.get(modelId) ?? 0) + 1);
  }

  /** It no longer has them, or has been told to drop them. */
  evicted(place: Place, modelId: number): void {
    const held = this.#gpus.get(nameOf(place));
    const pages = held?.pagesOf.get(modelId);
    if (held === undefined || pages === undefined) return;
    held.pagesOf.delete(modelId);
    held.pages -= pages;
    this.#release(modelId);
  }

  /** The GPU is lost, with all weights on it. */
  lost(place: Place): void {
    const name = nameOf(place);
    for (const modelId of this.#gpus.get(name)?.pagesOf.keys() ?? []) this.#release(modelId);
    this.#gpus.delete(name);
  }

  #release(modelId: number): void {
    const holders = this.#holders.get(modelId)! - 1;
    if (holders === 0) this.#holders.delete(modelId);
    else this.#holders.set(modelId, holders);
  }
}

function nameOf({ workerId, gpuId }: Place): string {
  return `${workerId}/${gpuId}`;
}
