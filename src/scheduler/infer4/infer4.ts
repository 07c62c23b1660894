/**
 * INFER4, the scheduler: predicts every action and plans it so that requests meet their deadlines.
 *
 * Requests wait in their model's queue, earliest deadline first. A GPU gets its next action when its
 * predicted free time is so near that the action must be sent, at most schedule_ahead from now. Of the
 * models loaded on it, the GPU takes the one whose best batch must start first, or one that uses the GPU
 * better if that makes nobody late. There is no polling: a request, an outcome, or a timer at that moment
 * makes a GPU look for work. docs/scheduler.md describes all of this, with an example.
 */
import { type Clock, MS } from "../../core/clock.ts";
import { ActionStatus, RequestStatus } from "../../core/status.ts";
import type {
  ActionOutcome,
  GpuSpec,
  ModelSpec,
  Request,
  Scheduler,
  SchedulerAction,
  SchedulerHost,
} from "../scheduler.ts";
import { type Batch, chooseBatch } from "./batch.ts";
import { latestStartOf, pickNext, pressed } from "./choice.ts";
import { Expiry } from "./expiry.ts";
import { Loads } from "./loads.ts";
import { doubtEstimates, Prospects, SAFETY_NS } from "./prospects.ts";
import { DEFAULT_INFER4_OPTIONS, type Infer4Options } from "./options.ts";
import {
  Gpu,
  type InferWork,
  Model,
  type Placement,
  type Runs,
  type WeightsWork,
} from "./state.ts";

/** A GPU without news is not examined more often than this. */
const MIN_WAKE_NS = MS / 2;
/** How long before the GPU is free an action is sent, in addition to the travel time of its inputs. */
const LEAD_NS = 2 * MS;
/** How long before its latest start a request is first checked for whether it can still be in time. */
const BUSY_NS = 25 * MS;

export interface Holdings {
  readonly freePages: number;
  /** Models whose weights are on the GPU or on the way there, ascending. */
  readonly models: readonly number[];
}

export class Infer4<R extends Request> implements Scheduler<R> {
  readonly #clock: Clock;
  readonly #host: SchedulerHost<R>;
  readonly #options: Infer4Options;
  readonly #loads: Loads<R>;
  readonly #expiry: Expiry<R>;
  readonly #prospects: Prospects<R>;
  readonly #gpus = new Map<string, Gpu<R>>();
  readonly #models = new Map<number, Model<R>>();
  readonly #runsOf = new WeakMap<ReadonlyMap<number, ModelSpec>, Runs>();
  #closed: { status: Exclude<RequestStatus, 0>; message: string } | null = null;

  constructor(clock: Clock, host: SchedulerHost<R>, options: Partial<Infer4Options> = {}) {
    this.#clock = clock;
    this.#host = host;
    this.#options = { ...DEFAULT_INFER4_OPTIONS, ...options };
    this.#prospects = new Prospects(host, () => this.#gpus.size);
    this.#expiry = new Expiry(clock, (model) => this.#expire(model));
    this.#loads = new Loads(clock, host, this.#options, (placement) => {
      this.#makeReady(placement);
      this.#schedule(placement.gpu);
    });
  }

  addGpu(spec: GpuSpec): void {
    if (this.#gpus.size >= this.#options.maxGpus || this.#gpus.has(gpuKey(spec))) return;
    const gpu = new Gpu<R>(spec);
    this.#gpus.set(gpuKey(spec), gpu);
    this.#noteNetwork(gpu);
    this.#loads.addGpu(gpu);
  }

  removeGpu(spec: GpuSpec): void {
    const gpu = this.#gpus.get(gpuKey(spec));
    if (gpu === undefined) return;
    gpu.removed = true;
    gpu.timer?.cancel();
    this.#gpus.delete(gpuKey(spec));
    this.#loads.removeGpu(gpu);
    for (const work of gpu.inFlight) {
      this.#retry(work, RequestStatus.error, "the worker was lost while it ran the request");
    }
    gpu.inFlight.clear();
    this.#loads.pump();
  }

  /** What INFER4 believes is on a GPU; null if the GPU is not used. For comparison with the truth. */
  holdings({ workerId, gpuId }: Omit<GpuSpec, "pages">): Holdings | null {
    const gpu = this.#gpus.get(gpuKey({ workerId, gpuId, pages: 0 }));
    if (gpu === undefined) return null;
    return { freePages: gpu.freePages, models: [...gpu.placements.keys()].sort((a, b) => a - b) };
  }

  setModel(modelId: number, specs: ReadonlyMap<number, ModelSpec>): void {
    const runs = this.#runs(specs);
    const model = this.#models.get(modelId);
    if (model === undefined) {
      this.#models.set(modelId, new Model(modelId, runs));
    } else {
      model.runs = runs;
      this.#loads.distribute(model);
    }
    this.#loads.pump();
  }

  removeModel(modelId: number): void {
    const model = this.#models.get(modelId);
    if (model === undefined) return;
    this.#models.delete(modelId);
    model.removed = true;
    const message = `model ${modelId} has been unloaded`;
    this.#refuseFirst(model, model.queue.length, RequestStatus.invalidRequest, message);
    this.#loads.evictRemoved(model);
    this.#loads.pump();
  }

  submit(request: R): void {
    const model = this.#models.get(request.modelId);
    if (this.#closed !== null) {
      this.#host.refuse(request, this.#closed.status, this.#closed.message);
    } else if (model === undefined) {
      const message = `unknown model ${request.modelId}: load it first, or list the models with LS`;
      this.#host.refuse(request, RequestStatus.invalidRequest, message);
    } else if (this.#gpus.size === 0) {
      this.#host.refuse(
        request,
        RequestStatus.unavailable,
        "no worker is connected: try again later",
      );
    } else {
      this.#enqueue(model, request);
    }
  }

  onOutcome(action: SchedulerAction<R>, outcome: ActionOutcome): void {
    if (action.type !== "Infer") {
      const work = action as WeightsWork<R>;
      if (!work.placement.gpu.removed) this.#loads.onOutcome(work, outcome);
      return;
    }
    const work = action as InferWork<R>;
    const { gpu } = work.placement;
    // The GPU was lost, or this is a duplicate: its requests have been taken care of.
    if (!gpu.inFlight.delete(work)) return;
    work.placement.outstanding--;
    this.#noteNetwork(gpu);
    if (outcome.status === ActionStatus.success) {
      const durationNs = outcome.endNs - outcome.beginNs;
      work.placement.estimates.recordExec(work.batchIndex, durationNs, this.#clock.now());
      gpu.exec.remove(work, outcome.endNs);
      for (const request of work.requests) this.#loads.addDemand(work.placement.model, request, -1);
      this.#host.succeed(work);
    } else {
      gpu.exec.remove(work, null);
      this.#onInferFailed(work, outcome);
    }
    // Weights that are no longer in use may make room for others.
    if (work.placement.outstanding === 0) {
      if (work.placement.model.removed) this.#loads.evictRemoved(work.placement.model);
      this.#loads.pump();
    }
    this.#schedule(gpu);
  }

  close(status: Exclude<RequestStatus, 0>, message: string): void {
    this.#closed = { status, message };
    for (const model of this.#models.values()) {
      this.#refuseFirst(model, model.queue.length, status, message);
    }
    for (const gpu of this.#gpus.values()) gpu.timer?.cancel();
  }

  /** The network is measured all the time; each result is an occasion to read its estimate. */
  #noteNetwork({ spec, exec, loads }: Gpu<R>): void {
    exec.resultDelayNs = loads.resultDelayNs = this.#host.transferNs(spec.workerId, 0);
  }

  /** The part of a model's specs that the options allow. Copies share the map, and thus the result. */
  #runs(specs: ReadonlyMap<number, ModelSpec>): Runs {
    let runs = this.#runsOf.get(specs);
    if (runs === undefined) {
      const usable = new Map<number, ModelSpec>();
      let execFloorNs = Infinity;
      let loadFloorNs = Infinity;
      for (const [workerId, spec] of specs) {
        usable.set(workerId, this.#usable(spec));
        execFloorNs = Math.min(execFloorNs, spec.execNs[0]!);
        loadFloorNs = Math.min(loadFloorNs, spec.loadWeightsNs);
      }
      runs = { specs: usable, execFloorNs, loadFloorNs };
      this.#runsOf.set(specs, runs);
    }
    return runs;
  }

  #usable(spec: ModelSpec): ModelSpec {
    const count = spec.batchSizes.filter((size) => size <= this.#options.maxBatchSize).length;
    const batchSizes = spec.batchSizes.slice(0, count);
    return { ...spec, batchSizes, execNs: spec.execNs.slice(0, count) };
  }

  #enqueue(model: Model<R>, request: R): void {
    const nowNs = this.#clock.now();
    const hopelessNs = this.#prospects.soonestFinishNs(model, nowNs, request.inputBytes) -
      request.deadlineNs;
    this.#loads.addDemand(model, request, 1);
    if (hopelessNs > 0) {
      doubtEstimates(model, nowNs);
      // Its demand counts until its deadline anyway: a model whose first requests cannot be in time would
      // otherwise never be loaded for later ones.
      this.#clock.at(request.deadlineNs, () => {
        this.#loads.addDemand(model, request, -1);
      });
      this.#host.refuse(
        request,
        RequestStatus.couldNotStartInTime,
        `it would be ${(hopelessNs / 1e6).toFixed(1)} ms late`,
      );
      this.#loads.pump(model);
      return;
    }
    const wasEmpty = model.queue.length === 0;
    const index = model.queue.insert(request);
    const gpu = this.#prospects.freest(model, nowNs);
    if (gpu !== undefined) {
      const placement = gpu.placements.get(model.id)!;
      this.#makeReady(placement);
      // A GPU with a timer has been examined. Only a batch that must be sent earlier can change that: one
      // that is now full, or has larger inputs.
      const due = gpu.exec.freeNs(nowNs) - nowNs <= this.#leadNs(placement);
      if (gpu.timer === null || due) this.#schedule(gpu);
    }
    const waiting = model.queue.length;
    if (waiting > 0) {
      if (wasEmpty || index === 0) this.#armExpiry(model);
      const batchSizes = model.placements[0]?.spec.batchSizes;
      // Only now has the best batch changed, and with it its latest start.
      if (wasEmpty || index === 0 || batchSizes?.includes(waiting)) {
        for (const placement of model.placements) this.#wake(placement);
      }
    }
    this.#loads.pump(model);
  }

  /** Tells the placement's GPU that its model has waiting requests, and how urgent they are. */
  #makeReady(placement: Placement<R>): void {
    const { gpu, model } = placement;
    if (placement.state !== "loaded" || model.queue.length === 0) return;
    const latestStartNs = latestStartOf(placement);
    if (placement.readyIndex < 0) {
      placement.latestStartNs = latestStartNs;
      gpu.ready.add(placement);
    } else if (latestStartNs < placement.latestStartNs) {
      placement.latestStartNs = latestStartNs;
      gpu.ready.update(placement.readyIndex);
    }
  }

  /** As makeReady; also makes the GPU look for work when it may. */
  #wake(placement: Placement<R>): void {
    this.#makeReady(placement);
    const { gpu } = placement;
    if (gpu.timer !== null || gpu.ready.size === 0) return;
    const nowNs = this.#clock.now();
    this.#armTimer(gpu, gpu.exec.freeNs(nowNs) - this.#options.scheduleAheadNs, nowNs);
  }

  /** Gives the GPU work for as long as it will be free within schedule_ahead. */
  #schedule(gpu: Gpu<R>): void {
    if (gpu.removed) return;
    gpu.timer?.cancel();
    gpu.timer = null;
    const nowNs = this.#clock.now();
    while (gpu.ready.size > 0) {
      const freeNs = gpu.exec.freeNs(nowNs);
      if (freeNs - nowNs >= this.#options.scheduleAheadNs) {
        this.#armTimer(gpu, freeNs - this.#options.scheduleAheadNs, nowNs);
        return;
      }
      const placement = gpu.ready.first!;
      if (placement.model.queue.length === 0) {
        gpu.ready.remove(placement.readyIndex);
        continue;
      }
      const latestStartNs = latestStartOf(placement);
      if (latestStartNs > placement.latestStartNs) {
        placement.latestStartNs = latestStartNs;
        gpu.ready.update(placement.readyIndex);
        if (gpu.ready.first !== placement) continue;
      }
      const picked = pickNext(placement, freeNs);
      const leadNs = this.#leadNs(picked);
      if (freeNs - nowNs > leadNs) {
        this.#armTimer(gpu, freeNs - leadNs, nowNs);
        return;
      }
      this.#dispatch(picked, freeNs, nowNs);
    }
  }

  /**
   * How long before the GPU is free the placement's next batch is sent. A full batch gains nothing by
   * waiting; any other batch is sent as late as possible, since requests may still join it.
   */
  #leadNs({ gpu, model, spec }: Placement<R>): number {
    const { scheduleAheadNs } = this.#options;
    const size = Math.min(model.queue.length, spec.batchSizes.at(-1)!);
    if (size === spec.batchSizes.at(-1)) return scheduleAheadNs;
    const transferNs = this.#host.transferNs(
      gpu.spec.workerId,
      size * model.queue.at(0).inputBytes,
    );
    return Math.min(scheduleAheadNs, transferNs + LEAD_NS);
  }

  /** Makes the GPU look for work at `wakeNs`. */
  #armTimer(gpu: Gpu<R>, wakeNs: number, nowNs: number): void {
    // An overdue GPU gets no nearer to being free with time, so it is examined repeatedly, but with pauses.
    gpu.timer = this.#clock.at(Math.max(wakeNs, nowNs + MIN_WAKE_NS), () => {
      gpu.timer = null;
      this.#schedule(gpu);
    });
  }

  /** Runs one batch of the placement's model, or takes it from the GPU's list if none can be in time. */
  #dispatch(placement: Placement<R>, freeNs: number, nowNs: number): void {
    const { gpu, model, estimates } = placement;
    const { batchSizes } = placement.spec;
    // The size of the requests' inputs, which is 0 if workers make them up. Usually all are the same.
    const { inputBytes } = model.queue.at(0);
    const { workerId } = gpu.spec;
    const returnNs = this.#prospects.returnNs(workerId);
    const arrivesNs = (index: number) =>
      nowNs + this.#host.transferNs(workerId, batchSizes[index]! * inputBytes);
    const execNs = (index: number) => estimates.exec[index]!.ns;
    const finishNs = (index: number) =>
      Math.max(freeNs, arrivesNs(index)) + execNs(index) + returnNs;
    const batch = chooseBatch(
      model.queue,
      { batchSizes, execNs, finishNs },
      (small, large) => pressed(placement, small, large, finishNs(small.index)),
    );
    if (batch === null) {
      gpu.ready.remove(placement.readyIndex);
      doubtEstimates(model, nowNs);
      this.#expire(model);
      return;
    }
    this.#send(placement, batch, freeNs, arrivesNs(batch.index), returnNs, nowNs);
  }

  #send(
    placement: Placement<R>,
    batch: Batch,
    freeNs: number,
    arrivesNs: number,
    returnNs: number,
    nowNs: number,
  ): void {
    const { gpu, model, estimates } = placement;
    const queued = model.queue.length;
    const requests = model.queue.take(batch.from, batch.count);
    const expectedNs = estimates.exec[batch.index]!.ns;
    const startNs = Math.max(freeNs, arrivesNs);
    // A later start would miss the deadline. The worker then rejects the action, and the GPU is free for
    // requests that can still be in time.
    const lastStartNs = requests[0]!.deadlineNs - expectedNs - (returnNs - SAFETY_NS);
    const work: InferWork<R> = {
      type: "Infer",
      gpu: gpu.spec,
      modelId: model.id,
      batchSize: batch.count,
      requests,
      earliestNs: nowNs,
      latestNs: Math.max(startNs, Math.min(startNs + this.#options.latestDeltaNs, lastStartNs)),
      expectedNs,
      expectedEndNs: startNs + expectedNs,
      queued,
      copiesLoaded: model.placements.length,
      placement,
      batchIndex: batch.index,
      arrivesNs,
    };
    placement.outstanding++;
    gpu.inFlight.add(work);
    gpu.exec.add(work);
    // Most recently used: last in the map's order.
    gpu.placements.delete(model.id);
    gpu.placements.set(model.id, placement);
    this.#host.send(work);
  }

  #onInferFailed(work: InferWork<R>, { status, message }: ActionOutcome): void {
    switch (status) {
      case ActionStatus.weightsNotPresent:
      case ActionStatus.execWeightsMissing:
      case ActionStatus.weightsChanged:
        this.#loads.forget(work.placement);
        this.#retry(work, RequestStatus.error, message);
        this.#loads.pump();
        break;
      case ActionStatus.couldNotStartInTime:
      case ActionStatus.execTooLate:
      case ActionStatus.copyInputTooLate:
        work.placement.gpu.exec.distrust(this.#clock.now());
        this.#retry(work, RequestStatus.couldNotStartInTime, message);
        break;
      case ActionStatus.shuttingDown:
        // It accepts nothing more: others must get what it rejects.
        work.placement.gpu.exec.distrust(this.#clock.now());
        this.#retry(work, RequestStatus.error, message);
        break;
      case ActionStatus.sendTooLate:
      case ActionStatus.cancelled:
        this.#retry(work, RequestStatus.couldNotStartInTime, message);
        break;
      default:
        // A GPU that fails immediately is also free immediately: it must not attract all requests.
        if (status === ActionStatus.runtimeError) {
          work.placement.gpu.exec.distrust(this.#clock.now());
        }
        for (const request of work.requests) {
          this.#loads.addDemand(work.placement.model, request, -1);
          this.#host.refuse(request, RequestStatus.error, message);
        }
    }
  }

  /** Queues an action's requests again if there is time, and refuses the others. */
  #retry(
    { requests, placement }: InferWork<R>,
    status: Exclude<RequestStatus, 0>,
    message: string,
  ): void {
    const { model } = placement;
    const nowNs = this.#clock.now();
    const closed = this.#closed !== null || this.#gpus.size === 0 || model.removed;
    for (const request of requests) {
      const finishNs = this.#prospects.soonestFinishNs(model, nowNs, request.inputBytes);
      if (closed || finishNs > request.deadlineNs) {
        this.#loads.addDemand(model, request, -1);
        this.#host.refuse(request, status, message);
      } else {
        model.queue.insert(request);
      }
    }
    if (model.queue.length === 0) return;
    this.#armExpiry(model);
    for (const other of model.placements) this.#wake(other);
    const gpu = this.#prospects.freest(model, nowNs);
    if (gpu !== undefined && gpu !== placement.gpu) this.#schedule(gpu);
  }

  /** Schedules a check for when the most urgent request may be hopeless, given how busy GPUs are. */
  #armExpiry(model: Model<R>): void {
    const hopelessNs = model.queue.at(0).deadlineNs - model.runs.execFloorNs;
    this.#expiry.note(model, hopelessNs - BUSY_NS);
  }

  /** Refuses the requests that can no longer be in time. */
  #expire(model: Model<R>): void {
    const nowNs = this.#clock.now();
    if (model.queue.length > 0) {
      // Uses the state of the GPUs, so that a request for which all are too busy is refused now.
      const { inputBytes } = model.queue.at(0);
      const finishNs = Math.max(
        this.#prospects.soonestFinishNs(model, nowNs, inputBytes),
        nowNs + model.runs.execFloorNs + 1,
      );
      const held = model.placements.some((placement) => placement.state === "loaded");
      this.#refuseFirst(
        model,
        model.queue.firstFrom(finishNs),
        held ? RequestStatus.skipped : RequestStatus.timeout,
        held ? "passed over: it could no longer be in time" : "its model was not loaded in time",
      );
    }
    if (model.queue.length > 0) this.#armExpiry(model);
  }

  #refuseFirst(
    model: Model<R>,
    count: number,
    status: Exclude<RequestStatus, 0>,
    message: string,
  ): void {
    if (count === 0) return;
    for (const request of model.queue.take(0, count)) {
      this.#loads.addDemand(model, request, -1);
      this.#host.refuse(request, status, message);
    }
  }
}

function gpuKey({ workerId, gpuId }: GpuSpec): string {
  return `${workerId}/${gpuId}`;
}
