/** When a model's requests could be answered, as things stand. */
import { US } from "../../core/clock.ts";
import type { Request, SchedulerHost } from "../scheduler.ts";
import type { Gpu, Model } from "./state.ts";

/** Holders of a model that are looked at for a request; with more than that, chance spreads the rest. */
const MAX_PROBES = 8;
/** Time kept free before a deadline for what estimates do not cover: wake-ups, queues of messages. */
export const SAFETY_NS = 500 * US;

export class Prospects<R extends Request> {
  readonly #host: SchedulerHost<R>;
  readonly #gpuCount: () => number;

  constructor(host: SchedulerHost<R>, gpuCount: () => number) {
    this.#host = host;
    this.#gpuCount = gpuCount;
  }

  /** When `model` could have answered a newcomer at best: run next, alone, where it is soonest. */
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
    // Where it is not, it could be loaded; which GPU that would be is not known, so none is waited for.
    if (placements.length === this.#gpuCount()) return soonestNs;
    return Math.min(soonestNs, nowNs + model.runs.loadFloorNs + model.runs.execFloorNs);
  }

  /** Of some GPUs on which the model is loaded, the one that is free first. */
  freest(model: Model<R>, nowNs: number): Gpu<R> | undefined {
    const { placements } = model;
    let best: Gpu<R> | undefined;
    let bestNs = Infinity;
    if (model.probeFrom >= placements.length) model.probeFrom = 0;
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

  /** Time from a result at the GPU to the controller, with what is kept for surprises. */
  returnNs(workerId: number): number {
    return this.#host.transferNs(workerId, 0) + SAFETY_NS;
  }
}

/** Doubts the model's estimates (see Estimates in state.ts) for GPUs on which it does not run now. */
export function doubtEstimates<R extends Request>(
  { placements }: Model<R>,
  nowNs: number,
): void {
  for (let i = 0; i < placements.length && i < MAX_PROBES; i++) {
    if (placements[i]!.outstanding === 0) placements[i]!.estimates.doubt(nowNs);
  }
}
