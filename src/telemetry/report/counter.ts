/** Counts by number, of so many numbers at most; the rest is counted together. */
export class Counter {
  readonly #counts = new Map<number, number>();
  readonly #maxKeys: number;
  #others = 0;

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys;
  }

  add(key: number): void {
    const count = this.#counts.get(key);
    if (count === undefined && this.#counts.size >= this.#maxKeys) this.#others++;
    else this.#counts.set(key, (count ?? 0) + 1);
  }

  get(key: number): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Counts of numbers for which there was no room. */
  get others(): number {
    return this.#others;
  }

  /** By number, ascending. */
  entries(): [key: number, count: number][] {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }
}
