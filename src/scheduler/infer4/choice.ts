/** Chooses which model a GPU runs next, and whether a batch would make others late. */
import { MS } from "../../core/clock.ts";
import type { Request } from "../scheduler.ts";
import { type Batch, largestFilled } from "./batch.ts";
import type { Placement } from "./state.ts";

/** How many batches to look ahead to see whether a GPU is pressed. */
const MAX_LOOKAHEAD = 32;
/** Slack that remains for models which wait while another one uses the GPU better. */
const REGRET_NS = 7 * MS;
/** How much better a less urgent model must use the GPU to go first. */
const WORTHWHILE = 1.05;

/** The latest moment at which the largest waiting batch could start and still be in time. */
export function latestStartOf<R extends Request>(
  { model: { queue }, estimates, spec }: Placement<R>,
): number {
  const index = largestFilled(spec.batchSizes, queue.length);
  return queue.at(0).deadlineNs - estimates.exec[index]!.ns;
}

/**
 * The placement to run next: the most urgent one, or one that uses the GPU better, if running that first
 * makes nobody late. Models with many waiting requests are thus served while requests for others
 * accumulate.
 */
export function pickNext<R extends Request>(urgent: Placement<R>, freeNs: number): Placement<R> {
  const { ready } = urgent.gpu;
  let best = urgent;
  let bestRate = WORTHWHILE * bestUse(urgent).rate;
  const items = ready.items();
  for (let i = 1; i < items.length && i < MAX_LOOKAHEAD; i++) {
    const { rate } = bestUse(items[i]!);
    if (rate > bestRate) {
      best = items[i]!;
      bestRate = rate;
    }
  }
  if (best === urgent) return urgent;
  const endNs = freeNs + best.estimates.exec[bestUse(best).index]!.ns;
  return othersLate(best, endNs) ? urgent : best;
}

/**
 * Whether requests would be late if this GPU ran a small batch next, which ends at `endNs`: those of the
 * same model behind it, in batches like `large`, or the best batches of the GPU's other models. Assumes
 * that the GPUs that hold a model share its work evenly.
 */
export function pressed<R extends Request>(
  placement: Placement<R>,
  small: Batch,
  large: Batch,
  endNs: number,
): boolean {
  const { model, estimates } = placement;
  const { queue } = model;
  const batchNs = estimates.exec[large.index]!.ns;
  let timeNs = endNs;
  const behind = small.from + small.count;
  const lastLooked = Math.min(queue.length, behind + MAX_LOOKAHEAD * large.count);
  for (let i = behind; i < lastLooked; i += large.count) {
    if (timeNs + batchNs > queue.at(i).deadlineNs) return true;
    timeNs += batchNs / model.placements.length;
  }
  return othersLate(placement, endNs);
}

/** Whether the GPU's other models would be late if this one ran next, until `endNs`. */
function othersLate<R extends Request>(placement: Placement<R>, endNs: number): boolean {
  // The head of a heap is not sorted, but has nearly all of the most urgent ones; more would be too
  // expensive.
  const others = placement.gpu.ready.items().slice(0, 2 * MAX_LOOKAHEAD)
    .filter((other) => other !== placement && other.model.queue.length > 0)
    .sort((a, b) => a.latestStartNs - b.latestStartNs);
  let timeNs = endNs;
  for (let i = 0; i < others.length && i < MAX_LOOKAHEAD; i++) {
    const other = others[i]!;
    if (timeNs + REGRET_NS > latestStartOf(other)) return true;
    const index = largestFilled(other.spec.batchSizes, other.model.queue.length);
    timeNs += other.estimates.exec[index]!.ns / other.model.placements.length;
  }
  return false;
}

/**
 * The batch size with the most requests per unit of time for the waiting requests, and that rate; 0 if none
 * wait.
 */
function bestUse<R extends Request>(
  { spec, estimates, model }: Placement<R>,
): { readonly index: number; readonly rate: number } {
  const { batchSizes } = spec;
  const waiting = model.queue.length;
  const index = largestFilled(batchSizes, waiting);
  if (index < 0) return { index: 0, rate: 0 };
  const rate = batchSizes[index]! / estimates.exec[index]!.ns;
  const next = index + 1;
  if (next === batchSizes.length) return { index, rate };
  const nextRate = waiting / estimates.exec[next]!.ns;
  return nextRate > rate ? { index: next, rate: nextRate } : { index, rate };
}
