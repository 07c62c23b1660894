/** When a model's requests could be answered, given the current state. */
import { US } from "../../core/clock.ts";
import type { Request, SchedulerHost } from "../scheduler.ts";
import type { Gpu, Model } from "./state.ts";

/** How many GPUs that hold a model are examined per request. If there are more, the choice varies. */
const MAX_PROBES = 8;
/** Time reserved before a deadline for what estimates do not cover: wake-ups, queues of messages. */
export const SAFETY_NS = 500 * US;

export class Prospects<R extends Request> {
  readonly #host: SchedulerHost<R>;
  readonly #gpuCount: () => number;

  constructor(host: SchedulerHost<R>, gpuCount: () => number) {
    this.#host = host;
    this.#gpuCount = gpuCount;
  }

  /**
   * The earliest time at which `model` could answer a new request that runs next, alone, on the best GPU.
   */
  soonestFinishNs(model: Model<R>, nowNs: number, inputBytes: number): number {
    let soonestNs = Infinity;
    const { placements } = model;
    for (let i = 0; i < placements.length && i < MAX_PROBES; i++) {
      const placement = placements[(model.probeFrom + i) % placements.length]!;
      const { gpu, estimates } = placement;
      const freeNs = placement.state === "loaded"
        ? gpu.exec.freeNs(nowNs)
        : gpu.loads.freeNs(nowNs);
      const arrivesNs = nowNs + this.#host.transferNs(gpu.spec.workerId, inputBytes);
      const finishNs = Math.max(freeNs, arrivesNs) + estimates.exec[0]!.ns +
        this.returnNs(gpu.spec.workerId);
      soonestNs = Math.min(soonestNs, finishNs);
    }
    if (placements.length > MAX_PROBES) return nowNs;
    // It could also be loaded on another GPU; which one is not known, so assume that none has to be waited
    // for.
    if (placements.length === this.#gpuCount()) return soonestNs;
    return Math.min(soonestNs, nowNs + model.runs.loadFloorNs + model.runs.execFloorNs);
  }

  /** Of some of the GPUs on which the model is loaded, the one that is free first. */
  freest(model: Model<R>, nowNs: number): Gpu<R> | undefined {
    const { placements } = model;
    let best: Gpu<R> | undefined;
    let bestNs = Infinity;
    for (let i = 0; i < placements.length && i < MAX_PROBES; i++) {
      const placement = placements[(model.probeFrom + i) % placements.length]!;
      if (placement.state !== "loaded") continue;
      const freeNs = placement.gpu.exec.freeNs(nowNs);
      if (freeNs < bestNs) {
        bestNs = freeNs;
        best = placement.gpu;
      }
    }
    model.probeFrom += 1;
    return best;
  }

  /** Time from a result on the GPU to the controller, including the reserve for surprises. */
  returnNs(workerId: number): number {
    return this.#host.transferNs(workerId, 0) + SAFETY_NS;
  }
}

/** Doubts the model's estimates (see Estimates in state.ts) for GPUs on which it is not running. */
export function doubtEstimates<R extends Request>(
  { placements }: Model<R>,
  nowNs: number,
): void {
  for (let i = 0; i < placements.length && i < MAX_PROBES; i++) {
    if (placements[i]!.outstanding === 0) placements[i]!.estimates.doubt(nowNs);
  }
}
