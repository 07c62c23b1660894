/**
 * Quantiles of any number of values in bounded memory: counts in buckets that split each power of two into
 * 2^bits equal parts. A quantile is the middle of its bucket, so its error is at most 1 / 2^(bits + 1) of
 * its value: see {@link relativeError}. Smallest and largest are exact.
 */

/** Parts of each power of two, as a power of two, for totals: quantiles within 0.2 %. */
export const FINE_BITS = 8;
/** The same where there is a histogram for each of many models: within 1.6 %. */
export const COARSE_BITS = 5;

/** The most by which a quantile can be wrong, as a part of it. */
export function relativeError(bits: number): number {
  return 2 ** -(bits + 1);
}

/** A double's upper half holds its exponent and the first 20 bits of its fraction. */
const FRACTION_BITS = 20;
const scratch = new Float64Array(1);
const halves = new Uint32Array(scratch.buffer);
/** Where the upper half is: 1 on every machine that runs Deno today. */
const UPPER = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 1 : 0;
/** Buckets that are added at a time, at least. */
const GROWTH = 64;

/** Of values that are 0 or more; what is below 1 counts as 0. */
export class Histogram {
  readonly #shift: number;
  /** Counts of the buckets from `#first` on. */
  #counts = new Float64Array(0);
  #first = 0;
  #zeros = 0;
  #count = 0;
  #sum = 0;
  #min = Infinity;
  #max = -Infinity;

  constructor(bits: number) {
    this.#shift = FRACTION_BITS - bits;
  }

  get count(): number {
    return this.#count;
  }
  get mean(): number {
    return this.#sum / this.#count;
  }
  get min(): number {
    return this.#min;
  }
  get max(): number {
    return this.#max;
  }

  add(value: number): void {
    this.#count++;
    this.#sum += value;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
    if (value < 1) {
      this.#zeros++;
      return;
    }
    scratch[0] = value;
    const bucket = halves[UPPER]! >>> this.#shift;
    let index = bucket - this.#first;
    if (index < 0 || index >= this.#counts.length) {
      this.#grow(bucket);
      index = bucket - this.#first;
    }
    this.#counts[index]!++;
  }

  /**
   * The value that a share `q` of all do not exceed (0 ≤ q ≤ 1; the smallest for 0), within
   * {@link relativeError}. NaN when there are none.
   */
  quantile(q: number): number {
    return this.quantiles([q])[0]!;
  }

  /** Several quantiles, in ascending order of `q`, at the price of one. */
  quantiles(qs: readonly number[]): number[] {
    return this.atRanks(qs.map((q) => rankOf(q, this.#count)));
  }

  /** The values of these ranks, ascending and from 1 (the smallest), as {@link Histogram.quantile}. */
  atRanks(ranks: readonly number[]): number[] {
    if (this.#count === 0) return ranks.map(() => NaN);
    let index = -1;
    let seen = this.#zeros;
    return ranks.map((rank) => {
      while (seen < rank) seen += this.#counts[++index]!;
      if (rank === 1) return this.#min;
      if (rank === this.#count) return this.#max;
      const value = index < 0 ? 0 : this.#middle(this.#first + index);
      return Math.min(this.#max, Math.max(this.#min, value));
    });
  }

  /** How many values are at most each of these, which ascend; within {@link relativeError} of them. */
  countsUpTo(limits: readonly number[]): number[] {
    let index = 0;
    let seen = this.#zeros;
    return limits.map((limit) => {
      if (limit >= this.#max) return this.#count;
      while (index < this.#counts.length && this.#middle(this.#first + index) <= limit) {
        seen += this.#counts[index++]!;
      }
      return limit < this.#min ? 0 : seen;
    });
  }

  #middle(bucket: number): number {
    const edge = (of: number) => {
      halves[UPPER] = of << this.#shift;
      halves[1 - UPPER] = 0;
      return scratch[0]!;
    };
    return (edge(bucket) + edge(bucket + 1)) / 2;
  }

  #grow(bucket: number): void {
    const { length } = this.#counts;
    const end = length === 0 ? bucket : this.#first + length;
    const first = length === 0 ? bucket : this.#first;
    const from = bucket < first ? bucket - GROWTH : first;
    const to = bucket >= end ? bucket + GROWTH : end;
    const counts = new Float64Array(to - from);
    if (length > 0) counts.set(this.#counts, this.#first - from);
    this.#counts = counts;
    this.#first = from;
  }
}

/** Of values of either sign; quantiles are within {@link relativeError} of their magnitude. */
export class SignedHistogram {
  readonly #below: Histogram;
  readonly #above: Histogram;

  constructor(bits: number) {
    this.#below = new Histogram(bits);
    this.#above = new Histogram(bits);
  }

  get count(): number {
    return this.#below.count + this.#above.count;
  }
  get min(): number {
    return this.#below.count > 0 ? -this.#below.max : this.#above.min;
  }
  get max(): number {
    return this.#above.count > 0 ? this.#above.max : -this.#below.min;
  }

  add(value: number): void {
    if (value < 0) this.#below.add(-value);
    else this.#above.add(value);
  }

  /** How many values are at most so far from 0; as {@link Histogram.countsUpTo}. */
  countsWithin(limits: readonly number[]): number[] {
    const below = this.#below.countsUpTo(limits);
    return this.#above.countsUpTo(limits).map((count, i) => count + below[i]!);
  }

  /** As {@link Histogram.quantiles}. */
  quantiles(qs: readonly number[]): number[] {
    const { count } = this;
    if (count === 0) return qs.map(() => NaN);
    const below = this.#below.count;
    const ranks = qs.map((q) => rankOf(q, count));
    // The least of all is the largest below zero, so these are asked for in descending order.
    const negative = ranks.filter((rank) => rank <= below).map((rank) => below - rank + 1);
    const positive = ranks.filter((rank) => rank > below).map((rank) => rank - below);
    return [
      ...this.#below.atRanks(negative.reverse()).reverse().map((value) => -value),
      ...this.#above.atRanks(positive),
    ];
  }
}

/** The nearest rank: of `count` sorted values, which one a share `q` does not exceed, from 1. */
function rankOf(q: number, count: number): number {
  return Math.min(count, Math.max(1, Math.ceil(q * count)));
}
