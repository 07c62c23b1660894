import type { Request } from "../scheduler.ts";

/**
 * A model's waiting requests, earliest deadline first; equal deadlines in order of arrival. If all have the
 * same SLO, that is the order of arrival, so nearly every insertion is at the end: O(1).
 */
export class RequestQueue<R extends Request> {
  #items: (R | undefined)[] = [];
  #start = 0;

  get length(): number {
    return this.#items.length - this.#start;
  }

  /** The request at `index`, 0 being the most urgent; the index must be below `length`. */
  at(index: number): R {
    return this.#items[this.#start + index]!;
  }

  /** Returns the index at which it was inserted. */
  insert(request: R): number {
    let low = this.#start;
    let high = this.#items.length;
    if (high > low && this.#items[high - 1]!.deadlineNs > request.deadlineNs) {
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.#items[middle]!.deadlineNs <= request.deadlineNs) low = middle + 1;
        else high = middle;
      }
      this.#items.splice(low, 0, request);
      return low - this.#start;
    }
    this.#items.push(request);
    return high - this.#start;
  }

  /** The first index whose deadline is not before `ns`; `length` if there is none. */
  firstFrom(ns: number): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at(middle).deadlineNs < ns) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Removes and returns the `count` requests from `index` on. */
  take(index: number, count: number): R[] {
    if (index > 0) return this.#items.splice(this.#start + index, count) as R[];
    const taken = this.#items.slice(this.#start, this.#start + count) as R[];
    // Empty slots must not keep their former contents alive; they are cut off when they are the majority.
    this.#items.fill(undefined, this.#start, this.#start + count);
    this.#start += count;
    if (this.#start > 32 && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return taken;
  }
}
