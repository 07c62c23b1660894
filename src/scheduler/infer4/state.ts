/** What the scheduler knows of GPUs and models. */
import { MS, type Timer } from "../../core/clock.ts";
import { IndexedHeap } from "../../core/indexed_heap.ts";
import type { GpuSpec, InferAction, ModelSpec, Request, WeightsAction } from "../scheduler.ts";
import { Estimator } from "./estimator.ts";
import { Predictor } from "./predictor.ts";
import { RequestQueue } from "./request_queue.ts";

/** An Infer that was sent and has no outcome yet. */
export interface InferWork<R extends Request> extends InferAction<R> {
  readonly placement: Placement<R>;
  /** Index of its batch size in the model's list. */
  readonly batchIndex: number;
  /** Predicted arrival of its input at the worker. */
  readonly arrivesNs: number;
}

/** A LoadWeights or EvictWeights that was sent and has no outcome yet. */
export interface WeightsWork<R extends Request> extends WeightsAction {
  readonly placement: Placement<R>;
  readonly arrivesNs: number;
}

/** Predicted times of a model on the GPUs of one worker. */
export class Estimates {
  readonly exec: readonly Estimator[];
  readonly load: Estimator;
  /** When an execution was last measured. */
  #measuredNs = 0;

  constructor(spec: ModelSpec) {
    this.exec = spec.execNs.map((ns) => new Estimator(ns));
    this.load = new Estimator(spec.loadWeightsNs);
  }

  recordExec(index: number, measuredNs: number, nowNs: number): void {
    this.exec[index]!.record(measuredNs);
    this.#measuredNs = nowNs;
  }

  /**
   * Doubts estimates that let no request run. Otherwise one hiccup longer than the SLO would keep the model
   * from ever running here again, since only running corrects an estimate. So whenever nothing has been
   * measured for {@link DOUBT_NS}, the largest measurements are dropped.
   */
  doubt(nowNs: number): void {
    if (nowNs - this.#measuredNs < DOUBT_NS) return;
    this.#measuredNs = nowNs;
    for (const estimator of this.exec) estimator.forgetLargest();
  }
}

const DOUBT_NS = 50 * MS;

/** Where a model can run, and how fast at best. Shared by copies of a model. */
export interface Runs {
  /** By worker; a worker that is not listed cannot run it. */
  readonly specs: ReadonlyMap<number, ModelSpec>;
  /** Fastest batch-1 execution and weights load of all workers' profiles, in nanoseconds. */
  readonly execFloorNs: number;
  readonly loadFloorNs: number;
}

export class Gpu<R extends Request> {
  readonly spec: GpuSpec;
  freePages: number;
  readonly exec = new Predictor<InferWork<R>>();
  readonly loads = new Predictor<WeightsWork<R>>();
  /** Models whose weights are on the GPU or on the way there, least recently used first. */
  readonly placements = new Map<number, Placement<R>>();
  readonly inFlight = new Set<InferWork<R>>();
  /**
   * Placements whose model has waiting requests, most urgent first. A key may be too urgent, if another GPU
   * took the request that it was computed for: it is checked when it comes to the front.
   */
  readonly ready = new IndexedHeap<Placement<R>>(
    (a, b) => a.latestStartNs < b.latestStartNs,
    (placement, index) => placement.readyIndex = index,
  );
  /** Fraction of this GPU's time that the demand placed here would take. */
  load = 0;
  /** Its position among the GPUs that can take a load; -1 if it cannot. */
  loaderIndex = -1;
  /** After a failed load, no other is tried before this. */
  loadsBlockedUntilNs = 0;
  /** Set while requests wait and the GPU has enough to do for now. */
  timer: Timer | null = null;
  removed = false;

  constructor(spec: GpuSpec) {
    this.spec = spec;
    this.freePages = spec.pages;
  }
}

/** A model's weights on one GPU, or on the way there. */
export class Placement<R extends Request> {
  readonly gpu: Gpu<R>;
  readonly model: Model<R>;
  readonly spec: ModelSpec;
  readonly estimates: Estimates;
  /** Pages are in use from `loading` on, and free again from `evicting` on. */
  state: "loading" | "loaded" | "gone" = "loading";
  /** The latest start of the best batch that could be formed. */
  latestStartNs = 0;
  readyIndex = -1;
  /** Infers in flight on this GPU: weights in use are not evicted. */
  outstanding = 0;
  /** The part of the model's demand that is counted in `gpu.load`. */
  share = 0;

  constructor(gpu: Gpu<R>, model: Model<R>) {
    const { workerId } = gpu.spec;
    this.gpu = gpu;
    this.model = model;
    this.spec = model.specOn(workerId)!;
    this.estimates = model.estimatesOn(workerId);
  }
}

export class Model<R extends Request> {
  readonly id: number;
  #runs: Runs;
  readonly #estimates = new Map<number, Estimates>();
  readonly queue = new RequestQueue<R>();
  readonly placements: Placement<R>[] = [];
  /** Where to begin when looking for a free GPU among many. */
  probeFrom = 0;
  /** Where to begin when looking for a GPU to load it onto among many. */
  lookFrom = 0;
  /** Sum of 1 / (time allowed, in nanoseconds) over its unanswered requests. */
  urgency = 0;
  /** Number of requests in `urgency`, so that it can be reset to exactly 0. */
  demanding = 0;
  /** Demand that no GPU serves. */
  unserved = 0;
  /** Its position among the models that need to be loaded; -1 if it does not. */
  wantingIndex = -1;
  /** When it is next checked for hopeless requests, see expiry.ts; Infinity: never. */
  expiryBucket = Infinity;
  removed = false;

  constructor(id: number, runs: Runs) {
    this.id = id;
    this.#runs = runs;
  }

  get runs(): Runs {
    return this.#runs;
  }

  /**
   * The set of workers that can run it has changed. Measurements of those that no longer can are dropped.
   */
  set runs(runs: Runs) {
    this.#runs = runs;
    for (const workerId of this.#estimates.keys()) {
      if (!runs.specs.has(workerId)) this.#estimates.delete(workerId);
    }
  }

  /** Fraction of one GPU's time that its unanswered requests need to be in time. */
  get demand(): number {
    // No worker has the model, so it cannot be loaded.
    return this.runs.specs.size === 0 ? 0 : this.urgency * this.runs.execFloorNs;
  }

  /** The model's spec on this worker; undefined if the worker cannot run it. */
  specOn(workerId: number): ModelSpec | undefined {
    return this.runs.specs.get(workerId);
  }

  estimatesOn(workerId: number): Estimates {
    let estimates = this.#estimates.get(workerId);
    if (estimates === undefined) {
      estimates = new Estimates(this.specOn(workerId)!);
      this.#estimates.set(workerId, estimates);
    }
    return estimates;
  }
}
