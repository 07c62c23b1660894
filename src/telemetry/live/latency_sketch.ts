/**
 * Latencies in a few hundred bytes, for display: a quantile is within 20 % of the exact value, and within 2
 * % if many values are spread evenly.
 */
import { US } from "../../core/clock.ts";

const FIRST_NS = 50 * US;
const GROWTH = 1.2;
/** The last begins at some 60 s. */
const BUCKETS = 78;
const LOG_GROWTH = Math.log(GROWTH);

export class LatencySketch {
  readonly #counts = new Uint32Array(BUCKETS);
  #count = 0;
  #maxNs = 0;

  get count(): number {
    return this.#count;
  }

  add(ns: number): void {
    const bucket = ns <= FIRST_NS ? 0 : Math.ceil(Math.log(ns / FIRST_NS) / LOG_GROWTH);
    this.#counts[Math.min(bucket, BUCKETS - 1)]!++;
    this.#count++;
    if (ns > this.#maxNs) this.#maxNs = ns;
  }

  /** Takes in all that another one has. */
  merge(other: LatencySketch): void {
    for (let i = 0; i < BUCKETS; i++) this.#counts[i]! += other.#counts[i]!;
    this.#count += other.#count;
    this.#maxNs = Math.max(this.#maxNs, other.#maxNs);
  }

  /** What a share `q` of all (0 < q <= 1) do not exceed, in nanoseconds; 0 when there are none. */
  quantileNs(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let below = 0;
    for (let i = 0; i < BUCKETS; i++) {
      const here = this.#counts[i]!;
      if (here > 0 && below + here >= rank) {
        // Within a bucket, as if its values were evenly spread.
        const part = (rank - below) / here;
        return Math.min(this.#maxNs, FIRST_NS * GROWTH ** (i - 1 + part));
      }
      below += here;
    }
    return 0;
  }
}
