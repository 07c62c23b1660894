/**
 * A metric has a name, a meaning, and a way to read its current values.
 *
 * Frequent events are counted in plain numbers, and turned into samples only on demand: a request costs a
 * few additions, however many metrics depend on it.
 */

/** One value of a metric, with a value for each of its labels. */
export type Sample<T = number> = readonly [labels: readonly string[], value: T];

interface Description {
  /** By the conventions of Prometheus: base units, `_total` for counters. */
  readonly name: string;
  /** What it means, in a sentence. docs/metrics.md says the same. */
  readonly help: string;
  readonly labels: readonly string[];
}

export interface NumberMetric extends Description {
  readonly type: "counter" | "gauge";
  read(): Iterable<Sample>;
}

export interface HistogramMetric extends Description {
  readonly type: "histogram";
  read(): Iterable<Sample<Histogram>>;
}

export type Metric = NumberMetric | HistogramMetric;

export function counter(
  name: string,
  help: string,
  labels: readonly string[],
  read: () => Iterable<Sample>,
): Metric {
  return { type: "counter", name, help, labels, read };
}

export function gauge(
  name: string,
  help: string,
  labels: readonly string[],
  read: () => Iterable<Sample>,
): Metric {
  return { type: "gauge", name, help, labels, read };
}

export function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  read: () => Iterable<Sample<Histogram>>,
): Metric {
  return { type: "histogram", name, help, labels, read };
}

/** The samples of a metric without labels. */
export function only<T>(value: T): Sample<T>[] {
  return [[[], value]];
}

/** How many values were at most so large. */
export class Histogram {
  /** Ascending upper bounds; a last one, infinity, goes without saying. */
  readonly bounds: readonly number[];
  /** One for each bound and one for what is above them all; not cumulative. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let low = 0;
    let high = this.bounds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value <= this.bounds[middle]!) high = middle;
      else low = middle + 1;
    }
    this.counts[low]!++;
    this.sum += value;
  }
}

/** Bounds for times of requests, actions and their parts, in seconds: 0.25 ms to 10 s. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
];

/** Bounds for how far times are off, in seconds: 10 µs to 1 s. */
export const ERROR_BOUNDS: readonly number[] = [
  0.00001,
  0.000025,
  0.00005,
  0.0001,
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.1,
  1,
];

/** Bounds for batch sizes. */
export const BATCH_BOUNDS: readonly number[] = [1, 2, 4, 8, 16, 32, 64];

/** The label's value of all that came when a {@link Limited} was full. */
export const OTHER = "other";

/**
 * Values by name, for as many names as the limit says, first come, first served; all later names share
 * one value. So no label takes more values than that, and a counter never goes back, as it would if the
 * names with the most were chosen anew each time.
 */
export class Limited<V> {
  readonly #limit: number;
  readonly #make: () => V;
  readonly #values = new Map<string, V>();
  #other: V | null = null;

  constructor(limit: number, make: () => V) {
    this.#limit = limit;
    this.#make = make;
  }

  /** The label's value for a name: the name itself, or {@link OTHER}. */
  labelOf(name: string): string {
    if (this.#values.has(name)) return name;
    if (name === OTHER || this.#values.size >= this.#limit) {
      this.#other ??= this.#make();
      return OTHER;
    }
    this.#values.set(name, this.#make());
    return name;
  }

  of(name: string): V {
    const label = this.labelOf(name);
    return label === OTHER ? this.#other! : this.#values.get(label)!;
  }

  *[Symbol.iterator](): Generator<readonly [string, V]> {
    yield* this.#values;
    if (this.#other !== null) yield [OTHER, this.#other];
  }
}
