import { type Clock, SECOND } from "../core/clock.ts";
import type { GpuSpec } from "./scheduler.ts";

/** How long a worker may take to come to an action that is not planned: long queues may build up. */
const PATIENCE_NS = 10 * SECOND;

/** What all actions of a scheduler have that does not plan: they may start now, or much later. */
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
