/**
 * Any number of latencies in constant memory: counts in buckets whose width is at most 1/1024 of their
 * value, so that a quantile is exact below 2 µs and within 0.1 % above.
 */

/** Buckets of each power of two. */
const SUB = 1024;
const SUB_BITS = 10;
/** Values up to 2^53 - 1. */
const BUCKETS = (53 - SUB_BITS + 1) * SUB;

export class LatencyHistogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #max = 0;

  add(ns: number): void {
    const value = Math.max(0, Math.floor(ns));
    this.#counts[bucketOf(value)]!++;
    this.#count++;
    if (value > this.#max) this.#max = value;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * The latency in nanoseconds that a share `q` of all (0 < q <= 1) do not exceed: the largest value
   * that its bucket can hold, but never more than the largest seen. NaN when there are none.
   */
  quantile(q: number): number {
    if (this.#count === 0) return NaN;
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.#counts[i]!;
      if (seen >= rank) return Math.min(largestIn(i), this.#max);
    }
    return this.#max;
  }
}

/** Below 2 * SUB a bucket is one nanosecond wide; each further power of two doubles the width. */
function bucketOf(value: number): number {
  if (value < SUB) return value;
  const exponent = Math.floor(Math.log2(value));
  // log2 can round up to the next whole number just below a power of two.
  const power = 2 ** exponent > value ? exponent - 1 : exponent;
  const shift = power - SUB_BITS;
  return (shift + 1) * SUB + (Math.floor(value / 2 ** shift) - SUB);
}

function largestIn(bucket: number): number {
  if (bucket < SUB) return bucket;
  const shift = Math.floor(bucket / SUB) - 1;
  return (bucket % SUB + SUB + 1) * 2 ** shift - 1;
}
