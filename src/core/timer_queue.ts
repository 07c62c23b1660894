import type { Timer } from "./clock.ts";
import { Heap } from "./heap.ts";

class Entry implements Timer {
  readonly dueNs: number;
  readonly sequence: number;
  fn: (() => void) | null;
  readonly #queue: TimerQueue;

  constructor(queue: TimerQueue, dueNs: number, sequence: number, fn: () => void) {
    this.#queue = queue;
    this.dueNs = dueNs;
    this.sequence = sequence;
    this.fn = fn;
  }

  cancel(): void {
    if (this.fn === null) return;
    this.fn = null;
    this.#queue.noteCancelled();
  }
}

/**
 * Pending calls in the order they are due; calls due together keep the order they were added in.
 * Both clocks are made of one.
 */
export class TimerQueue {
  readonly #heap = new Heap<Entry>((a, b) =>
    a.dueNs < b.dueNs || (a.dueNs === b.dueNs && a.sequence < b.sequence)
  );
  #sequence = 0;
  #cancelled = 0;

  add(dueNs: number, fn: () => void): Timer {
    if (Number.isNaN(dueNs)) throw new RangeError("a timer cannot be due at NaN");
    const entry = new Entry(this, dueNs, this.#sequence++, fn);
    this.#heap.push(entry);
    return entry;
  }

  /** Number of calls that are still to be made. */
  get size(): number {
    return this.#heap.size - this.#cancelled;
  }

  /** When the next call is due; Infinity when there is none. */
  get nextDueNs(): number {
    this.#dropCancelled();
    return this.#heap.peek()?.dueNs ?? Infinity;
  }

  /** Removes and returns the next call if it is due at `nowNs`. */
  takeDue(nowNs: number): (() => void) | undefined {
    if (this.nextDueNs > nowNs) return undefined;
    const entry = this.#heap.pop()!;
    const fn = entry.fn!;
    entry.fn = null;
    return fn;
  }

  /** @internal Cancelled entries stay where they are until they are many: removal would cost O(n). */
  noteCancelled(): void {
    this.#cancelled++;
    if (this.#cancelled > 64 && this.#cancelled > this.#heap.size / 2) {
      this.#heap.filter((entry) => entry.fn !== null);
      this.#cancelled = 0;
    }
  }

  #dropCancelled(): void {
    while (this.#heap.size > 0 && this.#heap.peek()!.fn === null) {
      this.#heap.pop();
      this.#cancelled--;
    }
  }
}
