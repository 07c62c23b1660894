/** Number of measurements on which an estimate is based. */
export const ESTIMATE_WINDOW = 10;

/**
 * Predicts a duration: the 99th percentile (nearest rank) of the last ten measurements, which is the
 * largest of them. The profile counts as the first measurement.
 */
export class Estimator {
  /** A plain array: there are several per model and worker, and typed arrays are large. */
  readonly #window: number[];
  #next = 0;
  #estimateNs: number;

  constructor(profileNs: number) {
    this.#window = [profileNs];
    this.#estimateNs = profileNs;
  }

  get ns(): number {
    return this.#estimateNs;
  }

  record(measuredNs: number): void {
    const window = this.#window;
    if (window.length < ESTIMATE_WINDOW) {
      window.push(measuredNs);
      this.#estimateNs = Math.max(this.#estimateNs, measuredNs);
      return;
    }
    const replacedNs = window[this.#next]!;
    window[this.#next] = measuredNs;
    this.#next = (this.#next + 1) % ESTIMATE_WINDOW;
    if (measuredNs >= this.#estimateNs) this.#estimateNs = measuredNs;
    else if (replacedNs === this.#estimateNs) this.#estimateNs = Math.max(...window);
  }

  /** Replaces the largest measurements by the next smaller one. */
  forgetLargest(): void {
    const smaller = this.#window.filter((ns) => ns < this.#estimateNs);
    if (smaller.length === 0) return;
    const nextNs = Math.max(...smaller);
    this.#window.forEach((ns, i) => this.#window[i] = Math.min(ns, nextNs));
    this.#estimateNs = nextNs;
  }
}
