import { setImmediate } from "node:timers";
import type { Clock, Timer } from "./clock.ts";
import { TimerQueue } from "./timer_queue.ts";

/**
 * A clock whose time jumps from one due call to the next, so that hours of a cluster's life take seconds,
 * and the same program always does the same.
 */
export class VirtualClock implements Clock {
  readonly #queue = new TimerQueue();
  #nowNs: number;

  constructor(startNs = 0) {
    this.#nowNs = startNs;
  }

  now(): number {
    return this.#nowNs;
  }

  at(timeNs: number, fn: () => void): Timer {
    return this.#queue.add(Math.max(timeNs, this.#nowNs), fn);
  }

  /** Number of calls that are still to be made. */
  get pending(): number {
    return this.#queue.size;
  }

  /** Makes all calls due up to and including `untilNs`, which is then the present. */
  run(untilNs: number): void {
    while (true) {
      const dueNs = this.#queue.nextDueNs;
      if (dueNs > untilNs) break;
      this.#nowNs = dueNs;
      this.#queue.takeDue(dueNs)!();
    }
    this.#nowNs = Math.max(this.#nowNs, untilNs);
  }

  /** Makes all calls due within the next `durationNs`. */
  advance(durationNs: number): void {
    this.run(this.#nowNs + durationNs);
  }

  /**
   * As {@link run}, and lets promises settle between calls: for code that awaits. Costs a turn of the
   * event loop a call, so prefer `run` where nothing awaits.
   */
  async runAsync(untilNs: number): Promise<void> {
    await settle();
    while (true) {
      const dueNs = this.#queue.nextDueNs;
      if (dueNs > untilNs) break;
      this.#nowNs = dueNs;
      this.#queue.takeDue(dueNs)!();
      await settle();
    }
    this.#nowNs = Math.max(this.#nowNs, untilNs);
  }
}

/** Resolves in a later turn of the event loop, when all promises that can settle have. */
function settle(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
