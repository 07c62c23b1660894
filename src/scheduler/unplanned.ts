import { type Clock, SECOND } from "../core/clock.ts";
import type { GpuSpec } from "./scheduler.ts";

/** How long an unplanned action may wait on a worker, since long queues may build up. */
const PATIENCE_NS = 10 * SECOND;

/** The common fields of the actions of schedulers that do not plan: these may start now or much later. */
export function unplannedAction(
  clock: Clock,
  gpu: GpuSpec,
  modelId: number,
  expectedNs: number,
  counts: { readonly queued: number; readonly copiesLoaded: number },
) {
  const nowNs = clock.now();
  return {
    gpu,
    modelId,
    earliestNs: nowNs,
    latestNs: nowNs + PATIENCE_NS,
    expectedNs,
    expectedEndNs: nowNs + expectedNs,
    ...counts,
  };
}
