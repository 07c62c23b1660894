/**
 * Decides which models are loaded onto which GPUs.
 *
 * A request adds demand to its model: its batch-1 execution time divided by the time that it has, which is
 * the fraction of a GPU that it needs; at most 33 ms count, so that weights are on their way long before
 * requests would be late. A model's demand is divided among the GPUs that hold it. Demand beyond a GPU's
 * full time is unserved, and so is the demand of a model that no GPU holds. The model with the most
 * unserved demand is loaded next, onto the least loaded GPU that may take a load and has room. Models
 * without unserved demand are never loaded.
 */
import type { Clock } from "../../core/clock.ts";
import { MS } from "../../core/clock.ts";
import { IndexedHeap } from "../../core/indexed_heap.ts";
import { ActionStatus } from "../../core/status.ts";
import type { ActionOutcome, Request, SchedulerHost } from "../scheduler.ts";
import type { Infer4Options } from "./options.ts";
import { Gpu, type Model, Placement, type WeightsWork } from "./state.ts";

/** Outstanding loads per GPU. */
const MAX_OUTSTANDING_LOADS = 2;
/** How long a GPU gets no loads after one has failed, and after one was only late. */
const FAILED_PAUSE_NS = 100 * MS;
const LATE_PAUSE_NS = 5 * MS;
/** How many models and GPUs are tried if the first ones do not fit together. */
const MAX_CANDIDATES = 4;
/**
 * A request with less time counts as if it had this much, so that a single one does not make a model seem
 * popular.
 */
const MIN_TIME_NS = MS;
/**
 * A request with more time counts as if it had this much. Else the queue for a GPU would be as long as
 * requests can wait before its model seemed to need another. With 25 ms, the value of the original
 * Clockwork, latencies are hardly lower, but a day of the Azure trace takes up to a third more loads.
 */
const MAX_TIME_NS = 33 * MS;

export class Loads<R extends Request> {
  readonly #clock: Clock;
  readonly #host: SchedulerHost<R>;
  readonly #options: Infer4Options;
  readonly #onLoaded: (placement: Placement<R>) => void;

  /** Models with unserved demand, largest demand first. */
  readonly #wanting = new IndexedHeap<Model<R>>(
    (a, b) => a.unserved > b.unserved || (a.unserved === b.unserved && a.id < b.id),
    (model, index) => model.wantingIndex = index,
  );
  /** GPUs that may take a load now: least loaded first, then most free pages first. */
  readonly #loaders = new IndexedHeap<Gpu<R>>(
    (a, b) => a.load < b.load || (a.load === b.load && a.freePages > b.freePages),
    (gpu, index) => gpu.loaderIndex = index,
  );

  constructor(
    clock: Clock,
    host: SchedulerHost<R>,
    options: Infer4Options,
    onLoaded: (placement: Placement<R>) => void,
  ) {
    this.#clock = clock;
    this.#host = host;
    this.#options = options;
    this.#onLoaded = onLoaded;
  }

  addGpu(gpu: Gpu<R>): void {
    this.#loaders.add(gpu);
    this.pump();
  }

  removeGpu(gpu: Gpu<R>): void {
    if (gpu.loaderIndex >= 0) this.#loaders.remove(gpu.loaderIndex);
    for (const placement of [...gpu.placements.values()]) this.forget(placement);
  }

  /** A request needs `model`, or, with sign -1, no longer does. */
  addDemand(model: Model<R>, request: R, sign: 1 | -1): void {
    // Computed from the request alone: the same amount is subtracted later, when the model may have other
    // times.
    const hasNs = request.deadlineNs - request.arrivalNs;
    const timeNs = Math.min(MAX_TIME_NS, Math.max(hasNs, MIN_TIME_NS));
    model.demanding += sign;
    model.urgency = model.demanding === 0 ? 0 : model.urgency + sign / timeNs;
    const count = model.placements.length;
    if (count > 0) {
      // Redistributing the demand costs a step per GPU, so it waits until the demand has changed enough.
      const share = model.demand / count;
      const appliedShare = model.placements[0]!.share;
      const threshold = Math.max(0.02, appliedShare / 4);
      if (Math.abs(share - appliedShare) < threshold && share > 0) return;
    }
    this.distribute(model);
  }

  /**
   * Starts loads while a model needs one and a GPU can take it. `asked` is a model with a new request: it
   * is tried even if models with more demand, which no GPU can take, come before it.
   */
  pump(asked?: Model<R>): void {
    if (this.#wanting.size === 0 || this.#loaders.size === 0) return;
    const passed: Model<R>[] = [];
    while (this.#loaders.size > 0 && passed.length < MAX_CANDIDATES) {
      const model = this.#wanting.first;
      if (model === undefined) break;
      if (!this.#place(model)) {
        this.#wanting.remove(model.wantingIndex);
        passed.push(model);
      }
    }
    if (asked !== undefined && asked.wantingIndex >= 0) this.#place(asked);
    for (const model of passed) if (model.wantingIndex < 0) this.#wanting.add(model);
  }

  onOutcome(work: WeightsWork<R>, { status, beginNs, endNs }: ActionOutcome): void {
    const { placement } = work;
    const { gpu } = placement;
    if (work.type === "EvictWeights") {
      this.#onEvicted(placement, status);
      return;
    }
    const ok = status === ActionStatus.success;
    gpu.loads.remove(work, ok ? endNs : null);
    if (placement.state === "loading") {
      if (ok || status === ActionStatus.weightsAlreadyLoaded) {
        if (ok) placement.estimates.load.record(endNs - beginNs);
        placement.state = "loaded";
        if (placement.model.removed) this.evict(placement);
        else this.#onLoaded(placement);
      } else {
        this.forget(placement);
        const late = status === ActionStatus.loadWeightsTooLate ||
          status === ActionStatus.couldNotStartInTime;
        this.#blockLoads(gpu, late ? LATE_PAUSE_NS : FAILED_PAUSE_NS);
      }
    }
    this.#offer(gpu);
    this.pump();
  }

  /** The model has been removed: its weights leave the GPUs as soon as nothing uses them. */
  evictRemoved(model: Model<R>): void {
    if (model.wantingIndex >= 0) this.#wanting.remove(model.wantingIndex);
    for (const placement of [...model.placements]) {
      if (placement.state === "loaded" && placement.outstanding === 0) this.evict(placement);
    }
  }

  /**
   * The pages count as free from the moment that the eviction was sent. If it failed, the weights are still
   * there, and would stay forever if it were not repeated.
   */
  #onEvicted(placement: Placement<R>, status: ActionStatus): void {
    const { gpu, model } = placement;
    if (status === ActionStatus.success || status === ActionStatus.evictNotInCache) return;
    // A worker that has unloaded the model has also freed its pages.
    if (status === ActionStatus.unknownModel) return;
    this.#clock.at(this.#clock.now() + LATE_PAUSE_NS, () => {
      if (!gpu.removed && !gpu.placements.has(model.id)) this.#sendEvict(placement);
    });
  }

  /** The weights are not, or no longer, on the GPU. */
  forget(placement: Placement<R>): void {
    const { gpu, model } = placement;
    if (placement.state === "gone") return;
    placement.state = "gone";
    if (placement.readyIndex >= 0) gpu.ready.remove(placement.readyIndex);
    gpu.placements.delete(model.id);
    gpu.freePages += placement.spec.weightsPages;
    this.#setShare(placement, 0);
    model.placements.splice(model.placements.indexOf(placement), 1);
    this.distribute(model);
  }

  /** Loads the model onto one more GPU, if one can take it. */
  #place(model: Model<R>): boolean {
    const gpu = this.#findGpu(model);
    if (gpu === undefined) return false;
    const placement = new Placement(gpu, model);
    gpu.freePages -= placement.spec.weightsPages;
    gpu.placements.set(model.id, placement);
    model.placements.push(placement);
    this.#sendLoad(placement);
    this.#offer(gpu);
    this.distribute(model);
    return true;
  }

  /** The least loaded GPU that can take the model, or nearly so, after making room for it. */
  #findGpu(model: Model<R>): Gpu<R> | undefined {
    const maxLoad = maxLoadFor(model);
    const passed: Gpu<R>[] = [];
    let found: Gpu<R> | undefined;
    while (found === undefined && passed.length < MAX_CANDIDATES) {
      const gpu = this.#loaders.first;
      if (gpu === undefined || gpu.load >= maxLoad) break;
      if (canHold(gpu, model) && this.#makeRoom(gpu, model)) {
        found = gpu;
      } else {
        this.#loaders.remove(gpu.loaderIndex);
        passed.push(gpu);
      }
    }
    found ??= this.#findElsewhere(model, maxLoad);
    for (const gpu of passed) this.#loaders.add(gpu);
    return found;
  }

  /**
   * Searches all GPUs that may take a load, because the least loaded ones may not know the model, or be
   * full. Tries to make room on some of those that could hold it, on different ones each time.
   */
  #findElsewhere(model: Model<R>, maxLoad: number): Gpu<R> | undefined {
    const gpus = this.#loaders.items();
    const start = model.lookFrom;
    let tries = 0;
    for (let i = 0; i < gpus.length && tries < MAX_CANDIDATES; i++) {
      const gpu = gpus[(start + i) % gpus.length]!;
      if (gpu.load >= maxLoad || !canHold(gpu, model)) continue;
      tries++;
      model.lookFrom = (start + i + 1) % gpus.length;
      if (this.#makeRoom(gpu, model)) return gpu;
    }
    return undefined;
  }

  #sendLoad(placement: Placement<R>): void {
    const { gpu, model } = placement;
    const nowNs = this.#clock.now();
    const arrivesNs = nowNs + this.#host.transferNs(gpu.spec.workerId, 0);
    const startNs = Math.max(gpu.loads.freeNs(nowNs), arrivesNs);
    const expectedNs = placement.estimates.load.ns;
    const work: WeightsWork<R> = {
      type: "LoadWeights",
      gpu: gpu.spec,
      modelId: model.id,
      earliestNs: nowNs,
      // The load before it may take longer than its profile says, and weights are useful even if they are
      // late.
      latestNs: startNs + expectedNs + this.#options.latestDeltaNs,
      expectedNs,
      expectedEndNs: startNs + expectedNs,
      queued: model.queue.length,
      copiesLoaded: model.placements.length,
      placement,
      arrivesNs,
    };
    gpu.loads.add(work);
    this.#host.send(work);
  }

  /**
   * Evicts until there are enough free pages for the model: first models without demand, least recently
   * used first.
   */
  #makeRoom(gpu: Gpu<R>, wanting: Model<R>): boolean {
    const pages = wanting.specOn(gpu.spec.workerId)!.weightsPages;
    if (gpu.freePages >= pages) return true;
    const idle: Placement<R>[] = [];
    const lesser: Placement<R>[] = [];
    let found = gpu.freePages;
    for (const placement of gpu.placements.values()) {
      if (placement.state !== "loaded" || placement.outstanding > 0) continue;
      const { model } = placement;
      if (model.demand === 0) {
        idle.push(placement);
        found += placement.spec.weightsPages;
        if (found >= pages) break;
      } else if (placement.share < wanting.unserved && model.placements.length > 1) {
        lesser.push(placement);
      }
    }
    const victims: Placement<R>[] = [];
    found = gpu.freePages;
    for (const placement of idle.concat(lesser)) {
      if (found >= pages) break;
      found += placement.spec.weightsPages;
      victims.push(placement);
    }
    if (found < pages) return false;
    for (const victim of victims) this.evict(victim);
    return true;
  }

  /** Removes a model's weights from a GPU; from now on the pages count as free. */
  evict(placement: Placement<R>): void {
    this.forget(placement);
    this.#sendEvict(placement);
  }

  #sendEvict(placement: Placement<R>): void {
    const { gpu, model } = placement;
    const nowNs = this.#clock.now();
    const arrivesNs = nowNs + this.#host.transferNs(gpu.spec.workerId, 0);
    const work: WeightsWork<R> = {
      type: "EvictWeights",
      gpu: gpu.spec,
      modelId: model.id,
      earliestNs: nowNs,
      // A late eviction is still useful: the load behind it needs the pages.
      latestNs: arrivesNs + 100 * this.#options.latestDeltaNs,
      expectedNs: 0,
      expectedEndNs: arrivesNs,
      queued: model.queue.length,
      copiesLoaded: model.placements.length,
      placement,
      arrivesNs,
    };
    this.#host.send(work);
  }

  /** Distributes a model's demand to its GPUs, and records what stays unserved. */
  distribute(model: Model<R>): void {
    const count = model.placements.length;
    let unserved = model.demand;
    if (count > 0) {
      const share = model.demand / count;
      unserved = 0;
      for (const placement of model.placements) {
        this.#setShare(placement, share);
        const { load } = placement.gpu;
        if (load > 1) unserved += share * (1 - 1 / load);
      }
    }
    model.unserved = unserved;
    if (unserved > 0 && !model.removed) {
      if (model.wantingIndex >= 0) this.#wanting.update(model.wantingIndex);
      else this.#wanting.add(model);
    } else if (model.wantingIndex >= 0) {
      this.#wanting.remove(model.wantingIndex);
    }
  }

  #setShare(placement: Placement<R>, share: number): void {
    const { gpu } = placement;
    gpu.load = Math.max(0, gpu.load + share - placement.share);
    placement.share = share;
    if (gpu.loaderIndex >= 0) this.#loaders.update(gpu.loaderIndex);
  }

  /** Adds the GPU to, or removes it from, those that may take a load. */
  #offer(gpu: Gpu<R>): void {
    const nowNs = this.#clock.now();
    const may = !gpu.removed && nowNs >= gpu.loadsBlockedUntilNs &&
      gpu.loads.outstanding < MAX_OUTSTANDING_LOADS &&
      gpu.loads.freeNs(nowNs) - nowNs < this.#options.scheduleAheadNs;
    if (may && gpu.loaderIndex < 0) this.#loaders.add(gpu);
    else if (!may && gpu.loaderIndex >= 0) this.#loaders.remove(gpu.loaderIndex);
    else if (may) this.#loaders.update(gpu.loaderIndex);
  }

  #blockLoads(gpu: Gpu<R>, pauseNs: number): void {
    gpu.loadsBlockedUntilNs = this.#clock.now() + pauseNs;
    this.#clock.at(gpu.loadsBlockedUntilNs, () => {
      this.#offer(gpu);
      this.pump();
    });
  }
}

/**
 * A further copy is worth its pages only on a GPU whose load is below this, where the model is better off
 * than on the others.
 */
function maxLoadFor<R extends Request>({ placements, demand }: Model<R>): number {
  let least = Infinity;
  for (const { gpu } of placements) least = Math.min(least, gpu.load);
  return least - demand / (placements.length + 1);
}

function canHold<R extends Request>(gpu: Gpu<R>, model: Model<R>): boolean {
  const spec = model.specOn(gpu.spec.workerId);
  return spec !== undefined && spec.weightsPages <= gpu.spec.pages &&
    !gpu.placements.has(model.id);
}
