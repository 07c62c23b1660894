/** Chooses which waiting requests run together. */
import type { Request } from "../scheduler.ts";
import type { RequestQueue } from "./request_queue.ts";

/** A choice: `count` requests from `from` on, run as batch size number `index`. */
export interface Batch {
  readonly from: number;
  readonly count: number;
  readonly index: number;
}

/** What is known of a model on the GPU in question. */
export interface BatchTimes {
  readonly batchSizes: readonly number[];
  /** Predicted execution time of batch size number `index`. */
  execNs(index: number): number;
  /** When its results would be with the controller, if it ran next. */
  finishNs(index: number): number;
}

/** Index of the largest batch size that `waiting` requests fill; -1 when none wait. */
export function largestFilled(batchSizes: readonly number[], waiting: number): number {
  let index = batchSizes.length - 1;
  while (index >= 0 && batchSizes[index]! > waiting) index--;
  return index;
}

/**
 * Chooses a batch from a model's queue for a GPU. Null when no request could be in time there.
 *
 * The most urgent request that can still be in time begins the batch, with as many after it as its
 * deadline allows and make good use of the GPU: the batch with most requests per unit of time, which
 * may have some places left empty (three requests as a batch of four, rather than two and one).
 *
 * When the most urgent request leaves time only for a batch that makes worse use of the GPU than one
 * without it, there is a choice. While the GPU keeps up, nobody need miss a deadline, and the request
 * is served. When that would make others late (`pressed`), somebody must be: batches that waste time
 * would cost most requests their deadlines, so the requests in the way are passed over.
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

/** The batch with most requests per unit of time, of those that begin at `begin(index)` and are in time. */
function bestBatch<R extends Request>(
  queue: RequestQueue<R>,
  { batchSizes, execNs, finishNs }: BatchTimes,
  head: number,
  begin: (index: number) => number,
): Batch | null {
  const waiting = queue.length;
  let best: Batch | null = null;
  let bestRate = 0;
  // One size larger than the waiting requests fill: beyond that, more than half the places are empty.
  const last = Math.min(largestFilled(batchSizes, waiting - head) + 1, batchSizes.length - 1);
  for (let index = last; index >= 0; index--) {
    const from = begin(index);
    if (from >= waiting || finishNs(index) > queue.at(from).deadlineNs) continue;
    const count = Math.min(batchSizes[index]!, waiting - from);
    // A batch that a smaller size holds too would be run as that one.
    if (index > 0 && count <= batchSizes[index - 1]!) continue;
    const rate = count / execNs(index);
    if (rate > bestRate) {
      bestRate = rate;
      best = { from, count, index };
    }
  }
  return best;
}
