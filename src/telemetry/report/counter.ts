/** Counts per number, for a limited set of numbers: first come, first served. */
export class Counter {
  readonly #counts = new Map<number, number>();
  readonly #maxKeys: number;

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys;
  }

  add(key: number): void {
    const count = this.#counts.get(key);
    if (count === undefined && this.#counts.size >= this.#maxKeys) return;
    this.#counts.set(key, (count ?? 0) + 1);
  }

  get(key: number): number {
    return this.#counts.get(key) ?? 0;
  }

  /** By number, ascending. */
  entries(): [key: number, count: number][] {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }
}
