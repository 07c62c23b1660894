/** Chooses which waiting requests run together. */
import type { Request } from "../scheduler.ts";
import type { RequestQueue } from "./request_queue.ts";

/** A batch: `count` requests from position `from`, run at the model's batch size number `index`. */
export interface Batch {
  readonly from: number;
  readonly count: number;
  readonly index: number;
}

/** Predictions for a model on one GPU. */
export interface BatchTimes {
  readonly batchSizes: readonly number[];
  /** Predicted execution time of batch size number `index`. */
  execNs(index: number): number;
  /** When its results would reach the controller if it ran next. */
  finishNs(index: number): number;
}

/** Index of the largest batch size that `waiting` requests fill; -1 if none are waiting. */
export function largestFilled(batchSizes: readonly number[], waiting: number): number {
  let index = batchSizes.length - 1;
  while (index >= 0 && batchSizes[index]! > waiting) index--;
  return index;
}

/**
 * Chooses a batch from a model's queue for a GPU; null if no request could be in time there.
 *
 * The batch starts with the most urgent request that can still be in time, followed by as many others as
 * its deadline allows and as use the GPU best: the batch with the most requests per unit of time. Some
 * places may stay empty (three requests run as a batch of four, rather than as two and one).
 *
 * The most urgent request may leave time only for a batch that uses the GPU worse than one without it.
 * While the GPU keeps up, nobody has to miss a deadline, so the request is served. If that would make
 * others late (`pressed`), the requests in the way are passed over: somebody must be late, and inefficient
 * batches would make most requests miss their deadlines.
 */
export function chooseBatch<R extends Request>(
  queue: RequestQueue<R>,
  times: BatchTimes,
  pressed: (small: Batch, large: Batch) => boolean,
): Batch | null {
  const head = queue.firstFrom(times.finishNs(0));
  if (head === queue.length) return null;
  const withHead = bestBatch(queue, times, head, () => head);
  const withoutHead = bestBatch(
    queue,
    times,
    head,
    (index) => queue.firstFrom(times.finishNs(index)),
  );
  if (withoutHead!.from === head || !pressed(withHead!, withoutHead!)) return withHead;
  return withoutHead;
}

/**
 * The batch with the most requests per unit of time, of those that start at `begin(index)` and are in time.
 */
function bestBatch<R extends Request>(
  queue: RequestQueue<R>,
  { batchSizes, execNs, finishNs }: BatchTimes,
  head: number,
  begin: (index: number) => number,
): Batch | null {
  const waiting = queue.length;
  let best: Batch | null = null;
  let bestRate = 0;
  // At most one size larger than the waiting requests fill: beyond that, most places would be empty.
  const last = Math.min(largestFilled(batchSizes, waiting - head) + 1, batchSizes.length - 1);
  for (let index = last; index >= 0; index--) {
    const from = begin(index);
    if (from >= waiting || finishNs(index) > queue.at(from).deadlineNs) continue;
    const count = Math.min(batchSizes[index]!, waiting - from);
    // A batch that fits a smaller size is run at that size.
    if (index > 0 && count <= batchSizes[index - 1]!) continue;
    const rate = count / execNs(index);
    if (rate > bestRate) {
      bestRate = rate;
      best = { from, count, index };
    }
  }
  return best;
}
