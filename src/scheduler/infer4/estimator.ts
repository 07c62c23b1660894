/** How many measurements an estimate looks back on. */
export const ESTIMATE_WINDOW = 10;

/**
 * Predicts a duration: the 99th percentile (nearest rank) of the last ten measurements. Of ten values
 * that is the largest. The profile counts as the first measurement.
 */
export class Estimator {
  readonly #window: Float64Array;
  #count: number;
  #estimateNs: number;

  constructor(profileNs: number) {
    this.#window = new Float64Array(ESTIMATE_WINDOW);
    this.#window[0] = profileNs;
    this.#count = 1;
    this.#estimateNs = profileNs;
  }

  get ns(): number {
    return this.#estimateNs;
  }

  record(measuredNs: number): void {
    const slot = this.#count++ % ESTIMATE_WINDOW;
    const replaced = this.#window[slot]!;
    this.#window[slot] = measuredNs;
    if (measuredNs >= this.#estimateNs) this.#estimateNs = measuredNs;
    else if (replaced === this.#estimateNs) this.#estimateNs = this.#largest();
  }

  /** Takes the largest measurements for as large as the next smaller one. */
  forgetLargest(): void {
    let next = 0;
    for (const ns of this.#filled()) if (ns < this.#estimateNs) next = Math.max(next, ns);
    if (next === 0) return;
    const filled = this.#filled();
    for (let i = 0; i < filled.length; i++) filled[i] = Math.min(filled[i]!, next);
    this.#estimateNs = next;
  }

  #filled(): Float64Array {
    return this.#window.subarray(0, Math.min(this.#count, ESTIMATE_WINDOW));
  }

  #largest(): number {
    return this.#filled().reduce((a, b) => Math.max(a, b));
  }
}
