/** Chooses which waiting requests run together. */
import type { Request } from "../scheduler.ts";
import type { RequestQueue } from "./request_queue.ts";

/** A choice: `size` requests from `from` on, run as batch size number `index`. */
export interface Batch {
  readonly from: number;
  readonly size: number;
  readonly index: number;
}

/** Index of the largest batch size that `waiting` requests fill; -1 when none wait. */
export function largestFilled(batchSizes: readonly number[], waiting: number): number {
  let index = batchSizes.length - 1;
  while (index >= 0 && batchSizes[index]! > waiting) index--;
  return index;
}

/**
 * Chooses a batch from a model's queue, for a GPU on which a batch of size number i would have its
 * results with the controller at `finishNs(i)`. Null when no request could be in time there.
 *
 * The most urgent request that can still be in time begins the batch, with as many after it as its
 * deadline allows: waiting requests that run together cost the GPU less. When that request leaves
 * time for a small batch only, though more wait, there is a choice. While the GPU keeps up, the small
 * batch runs: nobody need miss a deadline. When the GPU has more work than it can do in time
 * (`overloaded`), somebody must; small batches would then cost most requests their deadlines, so the
 * requests in the way are passed over in favour of the largest batch that can be in time.
 */
export function chooseBatch<R extends Request>(
  queue: RequestQueue<R>,
  batchSizes: readonly number[],
  finishNs: (index: number) => number,
  overloaded: (lastDeadlineNs: number) => boolean,
): Batch | null {
  const waiting = queue.length;
  const from = queue.firstFrom(finishNs(0));
  if (from === waiting) return null;
  const headDeadlineNs = queue.at(from).deadlineNs;
  const filled = largestFilled(batchSizes, waiting - from);
  let index = filled;
  while (index > 0 && finishNs(index) > headDeadlineNs) index--;
  if (index < filled && overloaded(queue.at(waiting - 1).deadlineNs)) {
    for (let larger = filled; larger > index; larger--) {
      const first = queue.firstFrom(finishNs(larger));
      const size = batchSizes[larger]!;
      if (waiting - first >= size) return { from: first, size, index: larger };
    }
  }
  return { from, size: batchSizes[index]!, index };
}
