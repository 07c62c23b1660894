/**
 * The times at which requests of an open loop arrive. They depend only on the seed, not on actual wake-ups,
 * so that a run can be repeated and a late wake-up does not shift what follows.
 */
import { SECOND } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import type { Segment } from "./segments.ts";

/** How many expected arrivals lie between two arrivals: 1 on average. */
export type Gaps = () => number;

/** Equal gaps; the first arrival is at a random moment of its gap, so that loops do not coincide. */
export function fixedGaps(random: Random): Gaps {
  let first = true;
  return () => {
    if (!first) return 1;
    first = false;
    return random.float();
  };
}

/** Exponential gaps: a Poisson process. */
export function poissonGaps(random: Random): Gaps {
  return () => random.exponential(1);
}

/**
 * Arrivals at a rate that changes from segment to segment: a gap of the unit process is as long in time
 * as the rate takes to add up to it, which makes exponential gaps a Poisson process at any moment.
 */
export class Arrivals<T> {
  readonly #gaps: Gaps;
  readonly #segments: Iterator<Segment<T>>;
  #segment: Segment<T> | null = null;
  #timeNs = 0;

  constructor(gaps: Gaps, segments: Iterable<Segment<T>>) {
    this.#gaps = gaps;
    this.#segments = segments[Symbol.iterator]();
    this.#advance();
  }

  /** The next arrival, in nanoseconds from the start; Infinity when there are no more. */
  next(): number {
    let expected = this.#gaps();
    while (this.#segment !== null) {
      const { rate, endNs } = this.#segment;
      const timeNs = rate > 0 ? this.#timeNs + expected * SECOND / rate : Infinity;
      if (timeNs < endNs) return this.#timeNs = timeNs;
      if (endNs === Infinity) break;
      expected -= rate * (endNs - this.#timeNs) / SECOND;
      this.#advance();
    }
    return Infinity;
  }

  /** The segment of the last arrival. */
  get segment(): Segment<T> {
    if (this.#segment === null) throw new Error("there was no arrival");
    return this.#segment;
  }

  /** Once there are no more arrivals: when the last segment ends, in nanoseconds from the start. */
  get endNs(): number {
    return this.#segment === null ? this.#timeNs : Infinity;
  }

  #advance(): void {
    if (this.#segment !== null) this.#timeNs = this.#segment.endNs;
    const { done, value } = this.#segments.next();
    this.#segment = done === true ? null : value;
  }
}
