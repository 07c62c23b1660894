import type { Clock, Timer } from "./clock.ts";

/**
 * Another node's clock, derived from the simulation's: it has its own origin and runs slightly fast or
 * slow, like the clocks of real machines.
 */
export class SkewedClock implements Clock {
  readonly #base: Clock;
  readonly #offsetNs: number;
  readonly #rate: number;

  /** @param driftPpm nanoseconds by which it gains on `base` in a millisecond. */
  constructor(base: Clock, offsetNs: number, driftPpm = 0) {
    this.#base = base;
    this.#offsetNs = offsetNs;
    this.#rate = 1 + driftPpm / 1e6;
  }

  now(): number {
    return Math.round(this.#base.now() * this.#rate) + this.#offsetNs;
  }

  at(timeNs: number, fn: () => void): Timer {
    // Rounded up, and one more: a call must not be made while this clock shows less than its time.
    return this.#base.at(Math.ceil((timeNs - this.#offsetNs) / this.#rate) + 1, fn);
  }
}
